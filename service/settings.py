"""Settings from the environment (`CONSENT_*`), read once at start and passed on.

Secrets are files or environment variables, never command-line arguments: each setting that is not
in the environment is taken from the file `/run/secrets/consent_<name>`, where there is one. A
relative path is relative to the working folder.
"""

import os
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.errors import Misconfigured

HERE = Path(__file__).resolve().parent.parent
SECRETS = Path("/run/secrets")


class Settings(BaseSettings):
    """All that an operator can set; each field is the environment variable `CONSENT_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="CONSENT_", frozen=True, extra="forbid")

    database_url: Annotated[
        str, Field(description="SQLAlchemy URL; `postgresql+psycopg://...` in production")
    ] = "sqlite:///.consent/ledger.db"
    state_dir: Annotated[Path, Field(description="folder of keys and outbox of the embedded default")] = Path(
        ".consent"
    )
    kek_file: Annotated[
        Path | None,
        Field(description="key-encryption key, 32 bytes base64, mode 0600; default: state_dir/kek"),
    ] = None
    keys_file: Annotated[
        Path | None,
        Field(
            description="log, ingest, directory and token keys, wrapped by the KEK; default: state_dir/keys"
        ),
    ] = None
    fence_file: Annotated[
        Path | None,
        Field(
            description="newest known checkpoint, and beside it the list of erasures, outside the database's "
            "backups; default: consent-ledger-fence/<digest>/fence in XDG_STATE_HOME (~/.local/state)"
        ),
    ] = None
    kms_key: Annotated[
        str,
        Field(
            description="AWS KMS key (id, ARN or alias) that wraps the KEK; empty: the KEK file is the key"
        ),
    ] = ""
    kms_endpoint_url: Annotated[
        str | None, Field(description="where AWS KMS is reached, if not at the region's own address")
    ] = None
    backup_days: Annotated[
        int, Field(ge=0, le=3650, description="how long backups are kept; erasure certificates say so")
    ] = 30
    policies_dir: Annotated[Path, Field(description="purposes, mapping, enforcement and law as TOML")] = (
        HERE / "policies"
    )
    origin: Annotated[str, Field(description="name of the log, a URL without scheme, at most 255 bytes")] = (
        "ledger.localhost/demo-1"
    )
    public_url: Annotated[str, Field(description="where recipients and auditors reach this service")] = (
        "http://127.0.0.1:8080"
    )
    host: Annotated[str, Field(description="address that `serve` listens on")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="port that `serve` listens on")] = 8080
    trusted_proxies: Annotated[
        str,
        Field(
            description="addresses of our own reverse proxies, comma separated; "
            "only their X-Forwarded-For is believed"
        ),
    ] = ""
    zoho_accounts_url: Annotated[str, Field(description="Zoho accounts host of your data centre")] = (
        "https://accounts.zoho.eu"
    )
    zoho_crm_url: Annotated[str, Field(description="Zoho CRM API host of your data centre")] = (
        "https://www.zohoapis.eu"
    )
    zoho_campaigns_url: Annotated[str, Field(description="Zoho Campaigns host of your data centre")] = (
        "https://campaigns.zoho.eu"
    )
    zoho_client_id: Annotated[
        str, Field(description="OAuth client id; empty: what `consent-ledger connect` stored")
    ] = ""
    zoho_client_secret: Annotated[SecretStr, Field(description="OAuth client secret")] = SecretStr("")
    zoho_refresh_token: Annotated[
        SecretStr, Field(description="OAuth refresh token; wins over what `consent-ledger connect` stored")
    ] = SecretStr("")
    hooks_url: Annotated[
        str,
        Field(
            description="where Zoho reaches this service, if not at the public URL; "
            "CRM is asked for notifications where either is https"
        ),
    ] = ""
    hook_token: Annotated[
        SecretStr,
        Field(
            description="what webhooks of CRM workflows and Campaigns carry, 32 characters or more; "
            "empty: none are taken"
        ),
    ] = SecretStr("")
    sweep_seconds: Annotated[
        int,
        Field(ge=5, le=3600, description="how rarely CRM is asked while its notifications can be relied on"),
    ] = 300
    mail_to: Annotated[str, Field(description="who gets the drift report, comma separated")] = (
        "legal@example.org"
    )
    mail_from: Annotated[str, Field(description="sender of the drift report")] = "consent-ledger@example.org"
    smtp_url: Annotated[
        SecretStr | None,
        Field(
            description="`smtp://user:password@host:port` (STARTTLS) or `smtps://...`; "
            "unset: .eml files in state_dir/outbox"
        ),
    ] = None
    report_hour: Annotated[
        int, Field(ge=0, le=23, description="hour (UTC) after which the nightly mail is due")
    ] = 4
    scrub_days: Annotated[
        int,
        Field(ge=1, le=90, description="within how many nights the worker looks at every stored row again"),
    ] = 7
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], Field(description="least level logged")
    ] = "INFO"

    @property
    def kek_path(self) -> Path:
        """Return where the key-encryption key lives."""
        return self.kek_file or self.state_dir / "kek"

    @property
    def keys_path(self) -> Path:
        """Return where the wrapped service keys live."""
        return self.keys_file or self.state_dir / "keys"

    @property
    def fence_path(self) -> Path:
        """Return where the newest known checkpoint is kept, which a restored database is compared with.

        By default a folder of the machine's own for each database, because whoever restores the folder of
        state restores all that is in it; where there is no such place, the folder of state.
        """
        if self.fence_file is not None:
            return self.fence_file
        home = _state_home()
        if home is None:
            return self.former_fence_path
        fence = home / "consent-ledger-fence" / sha256(self._place.encode()).hexdigest()[:16] / "fence"
        return fence if fence.exists() or _may_make(fence.parent) else self.former_fence_path

    @property
    def former_fence_path(self) -> Path:
        """Return where the fence was kept before it had a folder of its own; it is taken over from there."""
        return self.state_dir / "fence"

    @property
    def erasures_path(self) -> Path:
        """Return where erasures are listed for a restored backup: beside the fence, outside of backups."""
        return self.fence_path.with_name("erasures")

    @property
    def fence_is_restored_too(self) -> bool:
        """Return whether the fence lies in the database's folder, and is restored together with it."""
        if not self.embedded:
            return False
        return self.fence_path.parent.resolve().is_relative_to(Path(self._place).parent)

    @property
    def _place(self) -> str:
        """Return where the database is, without who logs in there: an absolute path, or a server and name."""
        if self.embedded:
            file = self.database_url.partition(":///")[2].partition("?")[0]
            return str(Path(file).resolve())
        found = urlsplit(self.database_url)
        return f"{found.netloc.rpartition('@')[2]}{found.path}?{found.query}"

    @property
    def log_key_path(self) -> Path:
        """Return where the log's public key is left for verifiers."""
        return self.keys_path.with_name("log.vkey")

    @property
    def embedded(self) -> bool:
        """Return whether the embedded default store (SQLite) is used."""
        return self.database_url.startswith("sqlite")


def _state_home() -> Path | None:
    """Return the folder of this machine's own state (XDG Base Directory), None where there is none."""
    told = os.environ.get("XDG_STATE_HOME", "")
    if Path(told).is_absolute():
        return Path(told)
    try:
        return Path.home() / ".local" / "state"
    except RuntimeError:
        return None


def _may_make(folder: Path) -> bool:
    """Return whether we may write in a folder that may be missing still."""
    nearest = next(one for one in (folder, *folder.parents) if one.exists())
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


def defaults() -> dict[str, Any]:
    """Return every setting as it is where nobody set any; for runs that must not hear the environment."""
    return {name: field.default for name, field in Settings.model_fields.items()}


def load(*, secrets_dir: Path = SECRETS, **overrides: Any) -> Settings:  # noqa: ANN401  # validated below
    """Return the settings of this process; `overrides` win over the environment, that over secret files.

    Raises `Misconfigured` that names each wrong variable, without its value.
    """
    try:
        return Settings(
            _secrets_dir=secrets_dir if secrets_dir.is_dir() else None,
            **overrides,
        )
    except ValidationError as error:
        wrong = "; ".join(
            f"CONSENT_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()
        )
        raise Misconfigured(
            f"these settings cannot be used: {wrong}; correct them in the environment"
        ) from None

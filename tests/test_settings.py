"""Settings: where each comes from, and what is said about a wrong one."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from service import settings
from service.errors import Misconfigured
from service.settings import Settings

EXAMPLES = {
    "database_url": "postgresql+psycopg://ledger@db/ledger",
    "state_dir": "/var/lib/consent",
    "kek_file": "/run/kek",
    "keys_file": "/run/keys",
    "policies_dir": "/etc/consent/policies",
    "origin": "ledger.acme.example/acme-2",
    "public_url": "https://ledger.acme.example",
    "host": "0.0.0.0",  # noqa: S104  # an example that is not the default
    "port": "9000",
    "zoho_accounts_url": "https://accounts.zoho.com",
    "zoho_crm_url": "https://www.zohoapis.com",
    "zoho_campaigns_url": "https://campaigns.zoho.com",
    "zoho_client_id": "1000.ABC",
    "zoho_client_secret": "s3cret",
    "zoho_refresh_token": "1000.r3fresh",
    "mail_to": "law@acme.example",
    "mail_from": "ledger@acme.example",
    "smtp_url": "smtps://user:pa55@mail.acme.example:465",
    "report_hour": "6",
    "log_level": "DEBUG",
}


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(f"CONSENT_{name.upper()}", raising=False)


def plain(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_comes_from_its_variable(monkeypatch, tmp_path, name):
    default = getattr(settings.load(secrets_dir=tmp_path), name)
    other = default + 1 if isinstance(default, int) else f"/an/example/of/{name}"
    example = EXAMPLES.get(name, str(other))
    monkeypatch.setenv(f"CONSENT_{name.upper()}", example)
    assert plain(getattr(settings.load(secrets_dir=tmp_path), name)) == example != plain(default)


def test_every_setting_says_what_it_is_for():
    assert all(field.description for field in Settings.model_fields.values())


def test_an_empty_environment_is_the_embedded_default(tmp_path):
    found = settings.load(secrets_dir=tmp_path)
    assert found.embedded
    assert (found.kek_path, found.keys_path) == (Path(".consent/kek"), Path(".consent/keys"))


def test_key_files_may_stand_apart_from_the_state(tmp_path):
    found = settings.load(secrets_dir=tmp_path, kek_file=Path("/a/kek"), keys_file=Path("/b/keys"))
    assert (found.kek_path, found.keys_path) == (Path("/a/kek"), Path("/b/keys"))


def test_a_secret_may_come_from_a_file_and_the_environment_wins(monkeypatch, tmp_path):
    (tmp_path / "consent_zoho_client_secret").write_text("from the file")
    assert plain(settings.load(secrets_dir=tmp_path).zoho_client_secret) == "from the file"
    monkeypatch.setenv("CONSENT_ZOHO_CLIENT_SECRET", "from the environment")
    assert plain(settings.load(secrets_dir=tmp_path).zoho_client_secret) == "from the environment"


def test_overrides_win_over_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("CONSENT_PORT", "9000")
    assert settings.load(secrets_dir=tmp_path, port=9001).port == 9001


def test_a_missing_folder_of_secrets_is_no_error(tmp_path):
    assert settings.load(secrets_dir=tmp_path / "none").port == 8080


@pytest.mark.parametrize(
    ("name", "wrong"), [("PORT", "eighty"), ("REPORT_HOUR", "99"), ("LOG_LEVEL", "hunter2"), ("PORT", "-1")]
)
def test_a_wrong_value_is_refused_by_the_variables_name_without_the_value(monkeypatch, tmp_path, name, wrong):
    monkeypatch.setenv(f"CONSENT_{name}", wrong)
    with pytest.raises(Misconfigured, match=f"CONSENT_{name}") as refused:
        settings.load(secrets_dir=tmp_path)
    assert wrong not in str(refused.value)
    assert refused.value.__suppress_context__


def test_all_wrong_settings_are_named_at_once(monkeypatch, tmp_path):
    monkeypatch.setenv("CONSENT_PORT", "eighty")
    monkeypatch.setenv("CONSENT_REPORT_HOUR", "99")
    with pytest.raises(Misconfigured, match=r"CONSENT_PORT.*CONSENT_REPORT_HOUR"):
        settings.load(secrets_dir=tmp_path)


def test_secrets_are_not_printed(tmp_path):
    told = {name: EXAMPLES[name] for name in ("zoho_client_secret", "zoho_refresh_token", "smtp_url")}
    shown = repr(settings.load(secrets_dir=tmp_path, **told))
    assert not any(secret in shown for secret in ("s3cret", "r3fresh", "pa55"))


def test_settings_cannot_be_changed_once_read(tmp_path):
    found = settings.load(secrets_dir=tmp_path)
    with pytest.raises(ValueError, match="frozen"):
        found.port = 1

"""What the demonstration stands on: a folder, three processes of our own, and plain HTTP to them."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service import settings
from service.errors import Misconfigured, Unavailable
from service.settings import Settings
from service.zoho.simulator import names

CANARIES = {"domain": "canaries.example.org", "dead_domain": "nobody.example.org"}
PATIENCE_S = 30.0
"""How long one of our own processes may take to answer before the demonstration gives up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where everything is while the demonstration runs."""

    settings: Settings
    zoho_url: str
    service_url: str

    def control(self, path: str, body: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401  # any JSON
        """Ask the simulator's control plane; a body makes it a POST."""
        return ask(f"{self.zoho_url}/_control/{path}", body)[1]


@contextmanager
def stage(folder: Path, *, contacts: int, port: int) -> Iterator[Stage]:
    """Start the simulator, the service and a worker on loopback; end them by their process ids."""
    folder.mkdir(parents=True, mode=0o700)
    _require_free(port)
    _write_policies(folder / "policies")
    zoho_port = _free_port()
    zoho_url = f"http://127.0.0.1:{zoho_port}"
    chosen = _settings(folder, zoho_url, port or _free_port())
    environment = _environment(chosen)
    simulated = ("--port", str(zoho_port), "--contacts", str(contacts))
    with ExitStack() as stack:
        stack.enter_context(_process(folder, "simulate", environment, *simulated))
        stack.enter_context(_process(folder, "serve", environment))
        _wait_for(f"{chosen.public_url}/healthz")
        _wait_for(f"{zoho_url}/_control/clock")
        stack.enter_context(_process(folder, "worker", environment, "--no-nightly", "--no-watch"))
        yield Stage(settings=chosen, zoho_url=zoho_url, service_url=chosen.public_url)


def ask(url: str, body: Mapping[str, Any] | None = None, *, form: bytes | None = None) -> tuple[int, Any]:
    """Return status and JSON (or text) of one request to loopback; a body or form makes it a POST."""
    data, kind = form, "application/x-www-form-urlencoded"
    if body is not None:
        data, kind = json.dumps(body).encode(), "application/json"
    request = urllib.request.Request(url, data=data, headers={"Accept": "application/json"})  # noqa: S310  # loopback
    if data is not None:
        request.add_header("Content-Type", kind)
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:  # noqa: S310  # loopback
        raw = answer.read()
        is_json = answer.headers.get_content_type().endswith("json")
        return answer.status, json.loads(raw) if is_json else raw.decode()


def _settings(folder: Path, zoho_url: str, port: int) -> Settings:
    """Return settings that hear nothing of the caller's environment: a demonstration mails nobody real."""
    ours = settings.defaults()
    ours.update(
        database_url=f"sqlite:///{folder / 'ledger.db'}",
        state_dir=folder,
        policies_dir=folder / "policies",
        fence_file=folder / "fence",  # nothing of a demonstration stays behind elsewhere
        public_url=f"http://127.0.0.1:{port}",
        port=port,
        zoho_accounts_url=zoho_url,
        zoho_crm_url=zoho_url,
        zoho_campaigns_url=zoho_url,
        zoho_client_id=names.CLIENT_ID,
        zoho_client_secret=names.CLIENT_SECRET,
        zoho_refresh_token=names.REFRESH_TOKEN,
    )
    return settings.load(**ours)


def _write_policies(folder: Path) -> None:
    """Write the rules that ship, with a home for the canaries: here even their domains are simulated."""
    shutil.copytree(settings.defaults()["policies_dir"], folder)
    rules = folder / "enforcement.toml"
    text = rules.read_text(encoding="utf-8")
    for name, domain in CANARIES.items():
        assert f'\n{name} = ""\n' in text, "the canaries of the rules that ship have no home"
        text = text.replace(f'\n{name} = ""\n', f'\n{name} = "{domain}"\n')
    rules.write_text(text, encoding="utf-8")


def _environment(chosen: Settings) -> dict[str, str]:
    """Return the environment of our processes: this one's without settings of its own, plus ours."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CONSENT_")}
    ours = {
        "database_url": chosen.database_url,
        "state_dir": str(chosen.state_dir),
        "policies_dir": str(chosen.policies_dir),
        "fence_file": str(chosen.fence_path),
        "public_url": chosen.public_url,
        "port": str(chosen.port),
        "zoho_accounts_url": chosen.zoho_accounts_url,
        "zoho_crm_url": chosen.zoho_crm_url,
        "zoho_campaigns_url": chosen.zoho_campaigns_url,
        "zoho_client_id": chosen.zoho_client_id,
        "zoho_client_secret": chosen.zoho_client_secret.get_secret_value(),
        "zoho_refresh_token": chosen.zoho_refresh_token.get_secret_value(),
    }
    return clean | {f"CONSENT_{name.upper()}": value for name, value in ours.items()}


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@contextmanager
def _process(folder: Path, command: str, environment: Mapping[str, str], *options: str) -> Iterator[None]:
    """Run one of our own commands in the background, its output in a file of the folder."""
    with open(folder / f"{command}.log", "wb", opener=_private) as output:  # Path.open takes no opener
        process = subprocess.Popen(  # noqa: S603  # our own program
            [sys.executable, "-m", "service", command, *options],
            env=environment,
            stdout=output,
            stderr=output,
        )
        with _ending(process):
            yield


@contextmanager
def _ending(process: subprocess.Popen[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(url: str) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while True:
        try:
            ask(url)
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > give_up:
                raise Unavailable(f"{url} did not answer within {PATIENCE_S:.0f} s") from None
            time.sleep(0.05)
        else:
            return


def _require_free(port: int) -> None:
    """Raise `Misconfigured` if somebody listens there already: we would talk to their ledger."""
    with socket.socket() as probe:
        if port and probe.connect_ex(("127.0.0.1", port)) == 0:
            raise Misconfigured(f"port {port} is taken; choose another with --port, or leave it out")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def password() -> str:
    """Return a password for the demonstration's auditor that nobody else knows."""
    return secrets.token_urlsafe(12)

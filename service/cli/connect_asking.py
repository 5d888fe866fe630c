"""What connecting asks a person, the environment and a file: which data centre, which client, which code."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import click
from pydantic import SecretStr

from service.errors import Malformed, Misconfigured, ZohoDenied
from service.settings import Settings
from service.zoho.centres import CENTRES, of_accounts_url
from service.zoho.wire import is_loopback


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line asks for; `told` is what a file of the API console says."""

    centre: str | None
    browser: bool
    port: int
    replace: bool
    told: dict[str, str]


def hosts(environment: Settings, asked: Asked) -> Settings:
    """Return the settings with the hosts of the chosen data centre; `Misconfigured` if two are named."""
    usual = Settings.model_fields["zoho_accounts_url"].default
    if asked.centre is None and environment.zoho_accounts_url != usual:
        return environment
    if asked.centre is not None and environment.zoho_accounts_url not in (
        usual,
        CENTRES[asked.centre].accounts_url,
    ):
        raise Misconfigured(
            "CONSENT_ZOHO_ACCOUNTS_URL names another data centre; unset the three CONSENT_ZOHO_*_URL, or "
            "leave --data-centre out"
        )
    name = asked.centre or prompt("Data centre of the organisation", choices=list(CENTRES), default="eu")
    return at(environment, CENTRES[name].accounts_url)


def at(chosen: Settings, accounts_url: str) -> Settings:
    """Return the settings with the hosts of the data centre of an accounts host.

    What a browser brings is believed only if it is one of Zoho's own hosts; a simulated one stays on
    loopback.
    """
    centre = of_accounts_url(accounts_url)
    if is_loopback(chosen.zoho_accounts_url) and is_loopback(accounts_url):
        hosts = (accounts_url,) * 3
    elif centre is not None and not is_loopback(chosen.zoho_accounts_url):
        hosts = (centre.accounts_url, centre.crm_url, centre.campaigns_url)
    else:
        raise ZohoDenied(
            "the browser came back from a host that is none of Zoho's data centres; nothing was sent there",
            code="FOREIGN_ACCOUNTS_SERVER",
        )
    names = ("zoho_accounts_url", "zoho_crm_url", "zoho_campaigns_url")
    return chosen.model_copy(update=dict(zip(names, hosts, strict=True)))


def client(chosen: Settings, asked: Asked) -> dict[str, object]:
    """Return client id and secret: from the file, the environment, or the person, in this order."""
    client_id = asked.told.get("client_id") or chosen.zoho_client_id or prompt("Client id")
    secret = asked.told.get("client_secret") or chosen.zoho_client_secret.get_secret_value()
    secret = secret or prompt("Client secret", hidden=True)
    return {"zoho_client_id": client_id.strip(), "zoho_client_secret": SecretStr(secret.strip())}


def prompt(what: str, *, hidden: bool = False, choices: list[str] | None = None, default: str = "") -> str:
    """Return what a person answers; `Misconfigured` where there is nobody to ask."""
    try:
        answer: str = click.prompt(
            what,
            hide_input=hidden,
            type=click.Choice(choices) if choices else str,
            default=default or None,
            err=True,
        )
    except click.Abort:
        raise Misconfigured(
            f"nobody answered ({what.lower()}); give --data-centre, CONSENT_ZOHO_CLIENT_ID, "
            "CONSENT_ZOHO_CLIENT_SECRET and a code by --from FILE, or use a terminal"
        ) from None
    return answer.strip()


def read(file: TextIO | None) -> dict[str, str]:
    """Return what the API console's file says: client_id, client_secret and code, as far as it does."""
    if file is None:
        return {}
    if Path(file.name).is_file() and Path(file.name).stat().st_mode & 0o077:
        raise Misconfigured(f"{file.name} can be read by others; run: chmod 600 {file.name}")
    try:
        told = json.load(file)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise Malformed("--from takes a JSON object with client_id, client_secret and code")
    return {name: str(told[name]) for name in ("client_id", "client_secret", "code") if told.get(name)}

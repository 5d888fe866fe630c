"""The command that connects the service with a Zoho organisation, and takes that back: connect.

Nothing secret is printed, logged, or taken from the command line: secrets come from hidden prompts, from the
environment and its files, from a file of the API console, or from the browser.
"""

import json
import secrets
from typing import TextIO

import click
from pydantic import SecretStr
from rich.console import Console

from service import app, settings
from service.cli import cost, estimating, show
from service.cli.connect_asking import Asked, at, client, hosts, prompt, read
from service.cli.connect_browser import PORT, catching
from service.cli.connect_revoking import at_desk, revoke, revoke_quietly
from service.cli.connect_telling import tell_outcome, tell_scopes
from service.errors import Misconfigured, Unsafe, ZohoDenied, ZohoError
from service.reconciler.port import Meter
from service.settings import Settings
from service.vault import connection
from service.vault.connection import Connection
from service.zoho import granting, mapping, probes
from service.zoho.centres import CENTRES, of_accounts_url
from service.zoho.granting import Client, Desk, Granted
from service.zoho.scopes import ASKED, SCOPES, Scope, missing


@click.command("connect", short_help="Connect a Zoho organisation, or take that back.")
@click.option("--data-centre", "centre", type=click.Choice(list(CENTRES)), help="Where it lives.")
@click.option("--browser", is_flag=True, help="Agree in a browser on this machine, without a self client.")
@click.option("--port", default=PORT, show_default=True, help="Port that the browser comes back to.")
@click.option(
    "--from",
    "file",
    type=click.File(),
    help="JSON with client_id, client_secret and code, as the API console writes it; - is standard input.",
)
@click.option("--replace", "replacing", is_flag=True, help="Put this in the place of the present connection.")
@click.option("--revoke", "revoking", is_flag=True, help="Take the connection back, at Zoho and here.")
@click.option("--list-scopes", is_flag=True, help="Only say which scopes are needed, and why.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--estimate", "estimated", is_flag=True, help="Ask Zoho nothing; print what it would cost.")
def command(
    *,
    centre: str | None,
    browser: bool,
    port: int,
    file: TextIO | None,
    replacing: bool,
    revoking: bool,
    list_scopes: bool,
    as_json: bool,
    estimated: bool,
) -> None:
    """Connect the service with a Zoho organisation: data centre, client, code, check, store encrypted.

    Client id and secret come from CONSENT_ZOHO_CLIENT_ID and CONSENT_ZOHO_CLIENT_SECRET, from --from, or are
    asked for. A refresh token in CONSENT_ZOHO_REFRESH_TOKEN wins over what is stored here.
    """
    out = show.console(quiet=as_json)
    if list_scopes:
        tell_scopes(out)
        _tell(as_json, {"scopes": [{"scope": one.name, "why": one.why} for one in SCOPES], "line": ASKED})
        return
    chosen = settings.load()
    show.log_from(chosen.log_level)
    with app.running(chosen) as parts:
        if estimated:
            click.echo(
                cost.tell(estimating.of_connecting(parts, replacing=replacing, revoking=revoking), None)
            )
            return
        if revoking:
            _tell(as_json, revoke(parts, out))
            return
        asked = Asked(centre=centre, browser=browser, port=port, replace=replacing, told=read(file))
        _tell(as_json, connect(parts, asked, out))


def connect(parts: app.Parts, asked: Asked, out: Console) -> dict[str, object]:
    """Lead through all steps; return what a program reads. What was stored before stays until the last."""
    with parts.db.read() as tx:
        if connection.exists(tx) and not asked.replace:
            raise Unsafe("an organisation is connected already; add --replace, or --revoke it first")
    chosen = hosts(parts.settings, asked)
    tell_scopes(out)
    expected = estimating.of_connecting(parts, replacing=asked.replace)
    meter = Meter()
    with at_desk(parts, meter) as desk:
        chosen, granted = _grant(desk, chosen, asked, out)
        kept, lacking = _checked(desk, parts, chosen, granted, meter)
        former = _store(parts, kept)
        revoked = former is not None and revoke_quietly(desk, former)
    out.print(cost.compare(expected, meter), soft_wrap=True)
    tell_outcome(out, kept, lacking, parts.settings, former=former, revoked=revoked)
    return {
        "organisation": kept.organisation,
        "zgid": kept.zgid,
        "accounts_url": kept.accounts_url,
        "scopes": list(kept.scopes),
        "missing": [{"scope": one.name, "lost": one.lost} for one in lacking],
        "replaced": former is not None,
        "former_revoked": revoked,
        "calls": meter.calls,
        "environment_wins": bool(parts.settings.zoho_refresh_token.get_secret_value()),
    }


def _grant(desk: Desk, chosen: Settings, asked: Asked, out: Console) -> tuple[Settings, Granted]:
    """Return the hosts that granted, and what they granted."""
    centre = of_accounts_url(chosen.zoho_accounts_url)
    console = centre.console_url if centre else chosen.zoho_accounts_url
    kind = "a server-based client" if asked.browser else "a self client"
    out.print(f"\nIn the API console ({console}) open {kind}.")
    chosen = chosen.model_copy(update=client(chosen, asked))
    if asked.browser:
        return _grant_in_browser(desk, chosen, asked, out)
    if "code" not in asked.told:
        out.print("Under `Generate Code` paste the scopes, choose 10 minutes, and copy the code.")
    code = SecretStr(asked.told.get("code") or prompt("Code", hidden=True))
    return chosen, granting.exchange(desk, _of(chosen), code)


def _grant_in_browser(desk: Desk, chosen: Settings, asked: Asked, out: Console) -> tuple[Settings, Granted]:
    state = secrets.token_urlsafe(24)
    with catching(asked.port, state) as catcher:
        out.print(f"Its redirect address must be exactly {catcher.redirect_uri}")
        out.print("Then open this in a browser on this machine and agree:\n")
        url = granting.consent_url(
            chosen.zoho_accounts_url, chosen.zoho_client_id, redirect_uri=catcher.redirect_uri, state=state
        )
        out.print(url, soft_wrap=True)
        if out.quiet:
            click.echo(url, err=True)
        returned = catcher.wait()
        if returned.accounts_url is not None:
            chosen = at(chosen, returned.accounts_url)
        return chosen, granting.exchange(desk, _of(chosen), returned.code, redirect_uri=catcher.redirect_uri)


def _of(chosen: Settings) -> Client:
    return Client(
        accounts_url=chosen.zoho_accounts_url,
        client_id=chosen.zoho_client_id,
        client_secret=chosen.zoho_client_secret,
    )


def _checked(
    desk: Desk, parts: app.Parts, chosen: Settings, granted: Granted, meter: Meter
) -> tuple[Connection, list[Scope]]:
    """Return the connection and the scopes that it can do without; whatever fails is revoked again."""
    chosen = chosen.model_copy(update={"zoho_refresh_token": granted.refresh_token})
    try:
        return _check(parts, chosen, granted, meter)
    except ZohoError:
        revoke_quietly(desk, _connection(chosen, "", "", ()))
        raise


def _check(
    parts: app.Parts, chosen: Settings, granted: Granted, meter: Meter
) -> tuple[Connection, list[Scope]]:
    clients = mapping.connect(
        chosen,
        parts.policy,
        pace=parts.pace("connect"),
        meter=meter,
        quota=parts.quota(),
        keeper=parts.token_of(chosen),
    )
    with clients as zoho:
        scopes = zoho.oauth.token().scopes or granted.scopes
        lacking = missing(scopes, parts.policy.zoho) if scopes is not None else []
        wanting = [f"{one.name} ({one.why})" for one in lacking if one.required]
        if scopes is None:
            wanting = [name for name, _ in probes.refused(zoho, parts.policy.zoho)]
        if wanting:
            raise ZohoDenied(
                f"the token lacks {'; '.join(wanting)}. Nothing was stored; make a new code with all scopes",
                code="OAUTH_SCOPE_MISMATCH",
            )
        org = zoho.crm.org()
    kept = _connection(chosen, org.company_name or "(without a name)", str(org.zgid), scopes or ())
    return kept, lacking


def _connection(chosen: Settings, organisation: str, zgid: str, scopes: tuple[str, ...]) -> Connection:
    return Connection(
        accounts_url=chosen.zoho_accounts_url,
        crm_url=chosen.zoho_crm_url,
        campaigns_url=chosen.zoho_campaigns_url,
        client_id=chosen.zoho_client_id,
        client_secret=chosen.zoho_client_secret,
        refresh_token=chosen.zoho_refresh_token,
        organisation=organisation,
        zgid=zgid,
        scopes=scopes,
        connected_at=app.now(),
    )


def _store(parts: app.Parts, kept: Connection) -> Connection | None:
    """Keep the connection; return the one whose place it took, if that can be opened."""
    keys = parts.intake.keys
    with parts.db.begin() as tx:
        try:
            former = connection.read(tx, keys)
        except Misconfigured:
            former = None
        connection.write(tx, keys, kept)
    return former


def _tell(as_json: bool, what: dict[str, object]) -> None:  # noqa: FBT001  # the command's own flag
    if as_json:
        click.echo(json.dumps(what, indent=2))

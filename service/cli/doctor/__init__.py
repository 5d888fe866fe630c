"""The command that looks whether everything outside of the code is as it should be: doctor.

It reads, and changes nothing: no key is made, no database migrated, no mail sent, no record written.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing

import click
from rich.console import Console

from service import app, settings
from service.cli import cost, show
from service.cli.doctor import access, costs, fields, keys, many, plan, reach, rights, store
from service.cli.doctor.finding import Blocked, Finding, Look, Outcome, run
from service.cli.doctor.scene import Clock, Scene
from service.errors import Misconfigured
from service.settings import Settings

CHECKS: tuple[tuple[str, Callable[[Scene], Iterable[Look]], str], ...] = (
    ("keys", keys.keys, keys.KEYS),
    ("database", store.database, store.DATABASE),
    ("log", store.log, store.FENCE),
    ("credentials", access.credentials, access.CONSOLE),
    ("scopes", access.scopes, access.CONSOLE),
    ("permissions", rights.permissions, rights.PROFILES),
    ("CRM fields", fields.crm_fields, fields.FIELDS),
    ("Campaigns fields", fields.campaigns_fields, fields.LABELS),
    ("withdrawals", many.workflow, "policies/zoho.toml"),
    ("polarity", rights.polarity, "policies/zoho.toml"),
    ("plan", plan.plan, plan.DETAILS),
    ("clock", plan.clock, plan.TIME),
    ("clock", plan.database_clock, plan.TIME),
    ("webhooks", reach.webhooks, reach.PUBLIC),
    ("webhooks", reach.channels, reach.PUBLIC),
    ("mail", reach.mail, "CONSENT_SMTP_URL"),
)
"""Each check, and where to look when it cannot be done; those that others need come first."""

COLOURS = {Outcome.PASS: "green", Outcome.WARN: "yellow", Outcome.FAIL: "bold red"}


@click.command("doctor", short_help="Look whether all is well; says what to fix, and where.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON object.")
@click.option("--estimate", "estimated", is_flag=True, help="Ask Zoho nothing; print what it would cost.")
@click.pass_context
def command(ctx: click.Context, *, as_json: bool, estimated: bool) -> None:
    """Look at keys, database, log, Zoho (access, fields, rights, polarity, plan), clock, reach and mail.

    Reads only. Exits 1 if anything fails; warnings exit 0.
    """
    chosen = settings.load()
    show.log_from(chosen.log_level)
    out = show.console(quiet=as_json)
    with closing(Scene(chosen, app.now)) as scene:
        if estimated:
            click.echo(_estimate(scene))
            return
        found = _look(scene, out)
    count = {outcome: sum(one.outcome is outcome for one in found) for outcome in Outcome}
    if as_json:
        told = [{name: getattr(one, name) for name in Finding.__slots__} for one in found]
        click.echo(json.dumps({"findings": told, **{str(k): n for k, n in count.items()}}, indent=2))
    out.print(f"\n{count[Outcome.PASS]} pass, {count[Outcome.WARN]} warn, {count[Outcome.FAIL]} fail")
    ctx.exit(int(count[Outcome.FAIL] > 0))


def _estimate(scene: Scene) -> str:
    try:
        return cost.tell(costs.expected(scene), scene.clients.open())
    except Blocked as blocked:
        raise Misconfigured(f"{blocked.check} failed; run `consent-ledger doctor`, which says why") from None


def _look(scene: Scene, out: Console) -> list[Finding]:
    """Return what every check finds, told as it is found; behind them, what that cost."""
    wanted = costs.known(scene)
    found = []
    for finding in _examine(scene):
        found.append(finding)
        _tell(out, finding)
    if scene.zoho.made is not None:
        cost.show_cost(wanted, scene.zoho.made.meter)
    return found


def examine(chosen: Settings, now: Clock) -> Iterator[Finding]:
    """Yield what every check finds, in order; one that fails hides no other."""
    with closing(Scene(chosen, now)) as scene:
        yield from _examine(scene)


def _examine(scene: Scene) -> Iterator[Finding]:
    for name, check, where in CHECKS:
        yield from run(name, lambda check=check: check(scene), where=where)  # type: ignore[misc]  # bound now


def _tell(out: Console, finding: Finding) -> None:
    colour = COLOURS[finding.outcome]
    out.print(f"[{colour}]{finding.outcome:<4}[/] [bold]{finding.check}[/]  ", end="")
    out.print(finding.seen, markup=False)
    for what in (finding.todo, finding.where):
        if what:
            out.print(f"     {what}", style="dim" if what is finding.where else "", markup=False)

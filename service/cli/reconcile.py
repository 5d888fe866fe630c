"""Commands that compare and tell: reconcile, report drift."""

import json
import sys

import click
from rich.console import Console
from rich.table import Table

from service import app, settings
from service.cli import cost, estimating, show
from service.errors import Unsafe
from service.reconciler.breakers import blind
from service.reconciler.enforcement import CAMPAIGNS
from service.reconciler.plan import Change
from service.reconciler.run import RunResult
from service.reconciler.run import reconcile as run_once
from service.reports.drift import drift_report
from service.reports.drift.kinds import describe
from service.reports.render import render
from service.vault.pseudonym import by_address
from service.zoho.cost import Estimate


@click.command(short_help="Show what differs and what it would cost; --apply repairs it.")
@click.option(
    "--apply", "applying", is_flag=True, help="Write the plan; without it nothing is written anywhere."
)
@click.option(
    "--list", "listing", is_flag=True, help="List every write: record, field, from, to, why, by when."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--estimate", "estimated", is_flag=True, help="Ask Zoho nothing; print what it would cost.")
@click.option("--contacts", default=0, help="With --estimate before the first reading: about so many people.")
def reconcile(*, applying: bool, listing: bool, as_json: bool, estimated: bool, contacts: int) -> None:
    """Read both products, compare with the ledger, show the plan; with --apply, write it.

    Waits for windows of Campaigns; what it cost is printed beside what was estimated. Exits 1 when a product
    cannot be believed (its read is empty, or far smaller than the last one): nothing was written to it.
    """
    out = show.console(quiet=as_json)
    with (
        app.running(settings.load()) as parts,
        parts.zoho(parts.pace("reconcile", patience_s=app.NIGHTLY_PATIENCE_S)) as zoho,
        show.steps(out, quiet=as_json) as progress,
    ):
        if estimated:
            found = estimating.of_run(parts, zoho, applying=applying, contacts=contacts)
            told = json.dumps(cost.as_data(found, zoho), indent=2) if as_json else ""
            click.echo(told or cost.tell(found, zoho))
            return
        expected = estimating.known(parts, zoho, applying=applying)
        app.learn(zoho)
        try:
            result = run_once(parts.context(zoho, progress), applying=applying)
        except Unsafe as error:
            click.echo(f"nothing was written: {error}", err=True)
            sys.exit(1)
    if as_json:
        click.echo(json.dumps(as_data(result) | _costs(expected), indent=2))
        sys.exit(int(bool(blind(result.tripped))))
    out.print(found_table(result))
    out.print(result.plan.summary(app.now()))
    if listing:
        for item in result.plan.changes:
            out.print(_line(item), soft_wrap=True)
    out.print(cost.compare(expected, zoho.meter))
    if not applying:
        out.print("\nThis was a dry run. To write the plan: consent-ledger reconcile --apply")
    else:
        out.print(f"\nrepaired {sum(result.applied.values())}, failed {sum(result.failed.values())} people")
    _tell_approval(result, out)
    for trip in result.tripped:
        click.echo(f"breaker {trip.name} ({trip.target}): {trip.reason}", err=True)
    sys.exit(int(bool(blind(result.tripped))))


def _tell_approval(result: RunResult, out: Console) -> None:
    plan = result.plan
    if plan.permits:
        out.print(
            f"plan {plan.run_id} waits for approval: {plan.to_permit} people could be mailed again\n"
            f"  consent-ledger plan approve {plan.run_id} --digest {plan.digest.hex()} --as NAME",
            soft_wrap=True,
        )


def _costs(expected: Estimate | None) -> dict[str, object]:
    """Return what was estimated, as JSON."""
    if expected is None:
        return {"estimate": None}
    return {"estimate": {"calls": expected.calls, "crm_credits": expected.credits}}


def _line(item: Change) -> str:
    """Return one write in words; a contact of Campaigns, which has no id of its own, by its pseudonym."""
    in_crm = item.target != CAMPAIGNS
    who = item.target.removeprefix("crm:") if in_crm else by_address(item.address_index)
    due = f"{item.due_at:%Y-%m-%d}" if item.due_at else "-"
    return f"{who}  {item.field}: {item.old} -> {item.new}  by {due}  {item.reason}"


def found_table(result: RunResult) -> Table:
    """Return what was found by kind, in words."""
    table = Table(box=None, pad_edge=False)
    for title, side in (("drift", "left"), ("people", "right")):
        table.add_column(title, justify="right" if side == "right" else "left")
    for kind, count in sorted(result.found.items(), key=lambda pair: -pair[1]):
        table.add_row(describe(kind).title, f"{count:,}")
    return table


def as_data(result: RunResult) -> dict[str, object]:
    """Return a run as JSON: counts of people by kind, calls and credits; nobody's name."""
    plan = result.plan
    return {
        "run": result.run_id,
        "applied": dict(result.applied) if result.applying else None,
        "found": dict(result.found),
        "news": dict(result.news),
        "failed": dict(result.failed),
        "remaining": dict(result.remaining),
        "plan": {
            "policy": plan.policy,
            "people": plan.people,
            "changes": len(plan.changes),
            "digest": plan.digest.hex(),
            "re_permissions": plan.re_permissions,
            "permits": len(plan.permits),
            "contested": len(plan.contested),
            "calls": plan.calls,
            "crm_credits": plan.crm_credits,
        },
        "tripped": [
            {"target": trip.target, "name": trip.name, "stops": trip.stops, "reason": trip.reason}
            for trip in result.tripped
        ],
        "calls": dict(result.calls),
        "crm_credits": result.credits,
        "seconds": round(result.seconds, 3),
    }


@click.group()
def report() -> None:
    """Write reports for people."""


@report.command("drift")
@click.option("--print", "printing", is_flag=True, help="Print the text of the mail and send nothing.")
def report_drift(*, printing: bool) -> None:
    """Send the nightly mail about drift to legal, or write it to the outbox; at most once per night."""
    with app.running(settings.load()) as parts:
        if printing:
            with parts.db.read() as tx:
                letter = render(drift_report(tx, parts.policy, now=app.now()))
            click.echo(f"{letter.subject}\n\n{letter.text}")
            return
        place = app.send_drift_mail(parts)
    click.echo(place or "this night's mail was sent already")

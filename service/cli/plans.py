"""Commands about plans: list, show, approve, refuse, apply."""

import json
import sys

import click
from rich.table import Table

from service import app, settings
from service.cli import cost, estimating, show
from service.errors import Forbidden
from service.reconciler import plans, showing
from service.reconciler.letting import between_runs
from service.reconciler.plans import Decided, Decision, Person
from service.reconciler.showing import Line, Shown
from service.web.auth import check_password, role_of

WORDS = {
    "open": "waits for approval",
    "approved": "approved, waits for the off-hours",
    "applying": "being written",
    "done": "done",
    "listed": "nothing to approve",
    "stale": "out of date",
    "refused": "refused",
    "proved": "verified",
    "proposed": "proposed",
}

_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
_DIGEST = click.option("--digest", required=True, help="The plan's digest, as it was shown to you.")
_ACCOUNT = click.option("--as", "account", required=True, help="Your account; it needs the role approver.")


@click.group(short_help="Plans: what a run would change, who approved it, how it ended.")
def plan() -> None:
    """Look at plans, and decide about what would let people be mailed again."""


@plan.command("list")
@_JSON
def list_plans(*, as_json: bool) -> None:
    """List the newest plans, those that wait for somebody first."""
    with app.running(settings.load()) as parts, parts.db.read() as tx:
        found = showing.listed(tx)
    if as_json:
        click.echo(json.dumps([showing.summary_data(one) for one in found], indent=2))
        return
    out = show.console()
    table = Table(box=None, pad_edge=False)
    for title in ("plan", "made", "stop", "permit", "contested", "approved", "state"):
        table.add_column(title, justify="right" if title in ("stop", "permit", "contested") else "left")
    for one in found:
        votes = f"{one.approved} of {one.needed}" if one.needed else "-"
        counts = (f"{one.stop:,}", f"{one.permit:,}", f"{one.contested:,}")
        table.add_row(str(one.run_id), f"{one.made_at:%Y-%m-%d %H:%M}", *counts, votes, word(one.state))
    out.print(table if found else "no run has made a plan yet")


@plan.command("show")
@click.argument("number", type=int)
@click.option("--from", "start", default=0, help="The first change to list.")
@click.option("--limit", default=50, show_default=True, help="How many changes to list.")
@_JSON
def show_plan(number: int, start: int, limit: int, *, as_json: bool) -> None:
    """Show one plan: totals, cost, deadlines, who decided, and its changes; people under pseudonyms."""
    with app.running(settings.load()) as parts, parts.db.read() as tx:
        found = showing.show(tx, number, now=app.now(), start=start, limit=limit)
    if as_json:
        click.echo(json.dumps(showing.to_data(found), indent=2))
        return
    out = show.console()
    for line in head(found):
        out.print(line, soft_wrap=True, markup=False)
    table = Table(box=None, pad_edge=False)
    for title in ("", "in", "kind", "people", "writes"):
        table.add_column(title, justify="right" if title in ("people", "writes") else "left")
    for one in found.totals:
        table.add_row(one.direction, one.product, one.reason, f"{one.people:,}", f"{one.writes:,}")
    out.print(table)
    for item in found.lines:
        out.print(sentence(item), soft_wrap=True, markup=False)
    if start + len(found.lines) < found.size:
        out.print(f"... {found.size - start - len(found.lines):,} more: --from {start + len(found.lines)}")


@plan.command("approve")
@click.argument("number", type=int)
@_DIGEST
@_ACCOUNT
def approve(number: int, digest: str, account: str) -> None:
    """Approve exactly the plan of this digest; your password is asked for, or read from standard input."""
    _tell(_decide(number, digest, account, "approve", ""))


@plan.command("refuse")
@click.argument("number", type=int)
@_DIGEST
@_ACCOUNT
@click.option("--reason", required=True, help="Why; it is kept with the plan.")
def refuse(number: int, digest: str, account: str, reason: str) -> None:
    """Refuse a plan: what it would permit is not proposed again until a newer consent comes."""
    _tell(_decide(number, digest, account, "refuse", reason))


@plan.command("apply")
@click.option("--estimate", "estimated", is_flag=True, help="Ask Zoho nothing; print what it would cost.")
def apply_approved(*, estimated: bool) -> None:
    """Write what was approved, if the off-hours allow it now; the worker does so by itself."""
    out = show.console()
    with app.running(settings.load()) as parts, parts.zoho() as zoho, show.steps(out) as progress:
        context, now = parts.context(zoho, progress), app.now()
        expected = estimating.of_approved(parts, zoho)
        if estimated:
            click.echo(cost.tell(expected, zoho))
            return
        opens = context.opens(now)
        if opens > now:
            out.print(f"nothing was written: the off-hours begin on {opens:%a %d %b at %H:%M} UTC")
            return
        stopped = between_runs(context)
    for product, reason in stopped.items():
        out.print(f"{product.rstrip(':')}: {reason}", soft_wrap=True)
    out.print(cost.compare(expected, zoho.meter))
    out.print("written and read back" if not stopped else "the rest waits for the next run")
    sys.exit(1 if stopped else 0)


def head(found: Shown) -> list[str]:
    """Return the first lines about a plan."""
    about = found.summary
    lines = [
        f"Plan {about.run_id}, made {about.made_at:%Y-%m-%d %H:%M} UTC: {word(about.state)}",
        f"  digest {found.digest}",
        f"  rules  {found.policy}",
        f"  stop {about.stop:,} people, permit {about.permit:,} again",
        f"  cost: about {found.calls:,} calls and {found.credits:,} CRM credits",
    ]
    if about.needed:
        lines.append(f"  approvals: {about.approved} of {about.needed}")
    lines += [
        f"  {one.account}: {one.decision} ({one.via}, {one.at:%Y-%m-%d %H:%M} UTC)" for one in found.voices
    ]
    if about.reason:
        lines.append(f"  {about.reason}")
    if found.overdue:
        lines.append(f"  {found.overdue:,} of its writes are overdue")
    if found.late:
        lines.append(f"  {found.late:,} of its writes came after their deadline")
    if found.next_due is not None:
        lines.append(f"  next deadline: {found.next_due[0]:%Y-%m-%d %H:%M} UTC ({found.next_due[1]})")
    lines += [f"  breaker {trip.name} ({trip.target}): {trip.reason}" for trip in found.tripped]
    return lines


def sentence(item: Line) -> str:
    """Return one change in a line; names nobody."""
    due = f" by {item.due_at:%Y-%m-%d}" if item.due_at else ""
    undone = f"; undone before by {item.undone_by}" if item.undone_by else ""
    error = f"; {item.error}" if item.error else ""
    lasts = f"; cannot be undone: {item.lasting}" if item.lasting else ""
    again = f"; again {item.next_at:%Y-%m-%d %H:%M} UTC" if item.next_at else ""
    return (
        f"{item.person}  {item.target}  {item.field}: {item.old} -> {item.new}{due}  "
        f"{item.reason}  [{word(item.state)}{error}{again}{undone}{lasts}]"
    )


def word(state: str) -> str:
    """Return a state as people say it."""
    return WORDS.get(state, state)


def _decide(number: int, digest: str, account: str, decision: Decision, reason: str) -> Decided:
    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    with app.running(settings.load()) as parts:
        name = check_password(parts.db, account, password, app.now())
        role = role_of(parts.db, name)
        if role is None:
            raise Forbidden("this account has no role any more")
        who = Person(account=name, role=role, via="terminal")
        return plans.decide(
            parts.db, number, digest, who, decision, policy=parts.policy, now=app.now(), reason=reason
        )


def _tell(decided: Decided) -> None:
    click.echo(
        f"plan {decided.run_id}: {word(decided.state)}; approved by "
        f"{', '.join(decided.approved_by) or 'nobody'} ({len(decided.approved_by)} of {decided.needed})"
    )

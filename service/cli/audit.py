"""`consent-ledger audit`: the seven gotchas of the sync, measured; `mapping`: how fields travel."""

import json
import sys
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from service import app, settings
from service.cli import cost, estimating, show
from service.errors import Unsafe
from service.reconciler import harm as harming
from service.reconciler import push as pushing
from service.reconciler.audit import Audit, Point, Verdict
from service.reconciler.audit import fields as mapped
from service.reconciler.audit.duplicates import write_csv
from service.reconciler.context import Context
from service.reconciler.run import reconcile as run_once
from service.reports.audit import audit_html, audit_json, mapping_html, mapping_markdown
from service.reports.audit.showing import facts, headline
from service.reports.render import harm_title
from service.zoho.cost import Estimate

COLOURS = {Verdict.PASS: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}
FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(short_help="Measure the seven gotchas of the sync: how many, since when, what to do.")
@click.option("--last", is_flag=True, help="Judge what was read last; without it both products are read now.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--html", type=FILE, help="Write the audit as one HTML file as well.")
@click.option("--duplicates", type=FILE, help="Write the records to merge as CSV: pseudonyms and record ids.")
@click.option("--push", default=0, help="Forecast the cost of a push of so many contacts.")
@click.option("--gate", is_flag=True, help="Exit 1 while records of one address contradict each other.")
@click.option("--estimate", "estimated", is_flag=True, help="Ask Zoho nothing; print what it would cost.")
def audit(
    *,
    last: bool,
    as_json: bool,
    html: Path | None,
    duplicates: Path | None,
    push: int,
    gate: bool,
    estimated: bool,
) -> None:
    """Measure the seven gotchas on the live organisation; writes to neither product.

    Exits 1 with --gate where no sync may be called safe, or when a read cannot be believed.
    """
    out = show.console(quiet=as_json)
    with (
        app.running(settings.load()) as parts,
        parts.zoho() as zoho,
        show.steps(out, quiet=as_json) as progress,
    ):
        if estimated:
            click.echo(cost.tell(estimating.of_audit(parts, zoho, last=last), zoho))
            return
        expected = estimating.known_audit(parts, zoho, last=last)
        if not last:
            _read(parts.context(zoho, progress))
        found = app.audit(parts, zoho, push=push)
        cost.show_cost(expected, zoho.meter)
        if html is not None:
            html.write_text(audit_html(found, controller=parts.policy.controller.name), encoding="utf-8")
        if duplicates is not None:
            with parts.db.read() as tx, duplicates.open("w", encoding="utf-8", newline="") as target:
                write_csv(tx, target)
    if as_json:
        click.echo(json.dumps(audit_json(found), indent=2))
    else:
        out.print(as_table(found))
    if gate and not found.is_safe:
        click.echo("no sync is safe while records of one address contradict each other", err=True)
        sys.exit(1)


def _read(context: Context) -> None:
    """Read both products; ends the program where nothing of it can be believed."""
    try:
        run_once(context)
    except Unsafe as error:
        click.echo(f"nothing was audited: {error}", err=True)
        sys.exit(1)


def as_table(found: Audit) -> Table:
    """Return an audit for a terminal: verdict, people, what it is, what to do, the figures, how we know."""
    table = Table(
        title=f"Sync audit: {headline(found)}",
        caption=f"read {found.read_at:%Y-%m-%d %H:%M} UTC, run {found.run_id}",
        box=None,
        title_justify="left",
        caption_justify="left",
        padding=(0, 2, 1, 0),
    )
    for name, side in (
        ("", "right"),
        ("verdict", "left"),
        ("people", "right"),
        ("what and what to do", "left"),
    ):
        table.add_column(name, justify="right" if side == "right" else "left", vertical="top")
    for point in found.points:
        verdict = Text(point.verdict.value, style=COLOURS[point.verdict])
        table.add_row(f"{point.number}", verdict, f"{point.people:,}" if point.people else "", _told(point))
    return table


def _told(point: Point) -> Text:
    told = Text(point.title, style="bold")
    told.append(f"\n{point.summary}", style="not bold")
    if facts(point):
        told.append(f"\n{facts(point)}", style="not bold dim")
    for line in point.advice:
        told.append(f"\n→ {line}", style="not bold")
    for one in point.figures:
        since = f" (oldest {one.oldest:%d %b %Y})" if one.oldest else ""
        told.append(f"\n· {one.label}: {one.value:,}{since}", style="not bold dim")
    told.append(f"\nhow we know: {point.how}", style="not bold dim")
    return told


@click.command(short_help="Write the field mapping for the next admin: direction, owner, reason, state.")
@click.option("--html", type=FILE, help="Write HTML to this file instead of printing Markdown.")
@click.option("--estimate", "estimated", is_flag=True, help="Ask Zoho nothing; print what it would cost.")
def mapping(*, html: Path | None, estimated: bool) -> None:
    """Write every field that lives in both products, as declared and as both products have it."""
    with app.running(settings.load()) as parts, parts.zoho() as zoho:
        expected = estimating.of_mapping(parts, zoho)
        if estimated:
            click.echo(cost.tell(expected, zoho))
            return
        declared = parts.policy.zoho
        found = mapped.compare(declared, app.describe(zoho, declared))
        cost.show_cost(expected, zoho.meter)
        name = parts.policy.controller.name
    if html is None:
        click.echo(mapping_markdown(declared, found, controller=name))
    else:
        html.write_text(mapping_html(declared, found, controller=name), encoding="utf-8")


@click.command(short_help="Put on their lists whom the CRM view selects and the ledger permits.")
@click.option("--apply", "applying", is_flag=True, help="Write; without it the people are only counted.")
@click.option("--now", "at_once", is_flag=True, help="Do not wait for off-hours with a large push.")
@click.option("--estimate", "estimated", is_flag=True, help="Ask Zoho nothing; print what it would cost.")
def push(*, applying: bool, at_once: bool, estimated: bool) -> None:
    """Put on each list whom its CRM view selects, the list lacks and the ledger permits; nobody else.

    Judges by the last reading of both products and by the ledger as it is now. A large push (large_push in
    enforcement.toml) is made in off-hours only, unless --now.
    """
    out = show.console()
    with app.running(settings.load()) as parts, parts.zoho() as zoho, show.steps(out) as progress:
        context = parts.context(zoho, progress)
        expected = estimating.of_push(parts, zoho)
        if estimated:
            click.echo(cost.tell(expected, zoho))
            return
        if applying:
            if not at_once:
                estimating.require_off_hours(parts, context)
            for told in pushing.push(context):
                refused = "".join(f", {count:,} refused ({code})" for code, count in told.refused.items())
                asked = f", {told.awaited:,} accepted and not there yet" if told.awaited else ""
                click.echo(
                    f"{told.list_name}: {told.pushed:,} put on the list and seen there{asked}{refused}"
                )
            cost.show_cost(expected, zoho.meter)
            return
        with parts.db.read() as tx:
            for entry in parts.policy.zoho.campaigns.lists:
                if entry.view_field:
                    waiting = len(pushing.permitted(tx, entry, app.now()))
                    click.echo(f"{entry.name}: {waiting:,} would be put on the list; write with --apply")


@click.command(short_help="Count who was in fact mailed while they were not permitted.")
@click.option("--last", is_flag=True, help="Count what is known; without it campaigns not yet read are read.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--estimate", "estimated", is_flag=True, help="Ask Zoho nothing; print what it would cost.")
def harm(*, last: bool, as_json: bool, estimated: bool) -> None:
    """Join the time in which somebody said stop, and a product had not, with what Campaigns sent in it."""
    out = show.console(quiet=as_json)
    with app.running(settings.load()) as parts:
        if estimated:
            with parts.zoho() as zoho:
                wanted = Estimate() if last else estimating.of_harm(parts, zoho)
                click.echo(cost.tell(wanted, zoho))
            return
        if last:
            with parts.db.read() as tx:
                found = harming.count(tx)
        else:
            with parts.zoho() as zoho, show.steps(out, quiet=as_json) as progress:
                expected = estimating.known_harm(parts, zoho)
                found = harming.look(parts.context(zoho, progress), zoho.campaigns.mails())
                cost.show_cost(expected, zoho.meter)
    if as_json:
        newest = None if found.newest is None else found.newest.isoformat()
        looked = None if found.looked_at is None else found.looked_at.isoformat()
        told = {"people": found.people, "harmless": found.harmless, "mails": found.mails, "newest": newest}
        told["looked_at"] = looked
        click.echo(json.dumps(told, indent=2))
        return
    click.echo(f"mailed while not permitted: {found.total:,} people, {found.mails:,} mails")
    for kind, people in sorted(found.people.items(), key=lambda pair: -pair[1]):
        click.echo(f"  {people:>7,}  {harm_title(kind)}")
    click.echo(f"without any harm: {sum(found.harmless.values()):,} people")
    if last:
        when = "never" if found.looked_at is None else f"last {found.looked_at:%Y-%m-%d %H:%M} UTC"
        click.echo(f"what Campaigns sent was looked at to the end: {when}")

"""Commands about canaries: contacts of our own that show that stop still means stop."""

import click
from rich.table import Table

from service import app, settings
from service.cli import cost, estimating, show
from service.reconciler import canaries as keeping
from service.reconciler import hatching, natures


@click.group()
def canaries() -> None:
    """Contacts of our own in every state, written and read back by each run."""


@canaries.command("create")
@click.option("--estimate", "estimated", is_flag=True, help="Ask Zoho nothing; print what it would cost.")
def create(*, estimated: bool) -> None:
    """Create those that do not exist yet, in all modules of CRM and in Campaigns, on our domains.

    Look at them once in both products: what they say there is what every later run is held against.
    """
    with app.running(settings.load()) as parts, parts.zoho() as zoho:
        expected = estimating.of_canaries(parts, zoho)
        if estimated:
            click.echo(cost.tell(expected, zoho))
            return
        made = hatching.create(parts.context(zoho))
        cost.show_cost(expected, zoho.meter)
    for one in made:
        click.echo(f"{one.name:<12} {one.address}  {one.module} {one.record_id}")
    click.echo(
        "check in both products that each is in its state; the bounced one bounces with the next campaign"
    )


@canaries.command("show")
def show_all() -> None:
    """Show when each was last written and seen as it should be, and what is wrong with it."""
    with app.running(settings.load()) as parts, parts.db.read() as tx:
        rows, missing = keeping.shown(tx), keeping.lacking(tx, parts.policy)
    table = Table(box=None, pad_edge=False)
    for title in ("canary", "written", "seen right", "trouble"):
        table.add_column(title)
    for row in rows:
        times = (f"{at:%Y-%m-%d %H:%M}" if at else "never" for at in (row.driven_at, row.seen_at))
        table.add_row(row.state, *times, row.trouble or "")
    show.console().print(table if rows else "there are none; consent-ledger canaries create makes them")
    if rows and missing:
        show.console().print(f"{natures.tell_lacking(missing)}; consent-ledger canaries create makes them")


@canaries.command("forget")
def forget() -> None:
    """Forget them here, to create others; delete the old ones in both products by hand."""
    with app.running(settings.load()) as parts, parts.db.begin() as tx:
        keeping.forget(tx)
    click.echo("forgotten")

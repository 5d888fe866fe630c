"""The end of a connection: a token that nobody needs any more is taken back at Zoho, and forgotten here."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from service import app
from service.cli import cost, estimating
from service.errors import Malformed, ZohoError
from service.reconciler.port import Meter
from service.vault import connection
from service.vault.connection import Connection
from service.zoho import granting
from service.zoho.granting import Desk
from service.zoho.wire import Line


@contextmanager
def at_desk(parts: app.Parts, meter: Meter) -> Iterator[Desk]:
    """Yield what asks Zoho Accounts and books it in the budget of all nodes; close both."""
    line, quota = Line(), parts.quota()
    try:
        yield Desk(line, quota, meter)
    finally:
        line.close()
        quota.close()


def revoke(parts: app.Parts, out: Console) -> dict[str, object]:
    """Take the stored connection back; `Unreachable` leaves it, so that the command can be given again."""
    with parts.db.read() as tx:
        found = connection.read(tx, parts.intake.keys)
    if found is None:
        raise Malformed(
            "nothing is connected here; a token from the environment is revoked where it was made"
        )
    expected, meter = estimating.of_connecting(parts, replacing=False, revoking=True), Meter()
    with at_desk(parts, meter) as desk:
        known = granting.revoke(desk, found.accounts_url, found.refresh_token)
    with parts.db.begin() as tx:
        connection.forget(tx)
    out.print(cost.compare(expected, meter), soft_wrap=True)
    out.print(f"{found.organisation} is no longer connected; restart `serve` and `worker`")
    if not known:
        out.print("Zoho did not know the token any more: it was revoked there already")
    return {"organisation": found.organisation, "revoked": known}


def revoke_quietly(desk: Desk, former: Connection) -> bool:
    """Take back a token that nobody needs any more; return whether Zoho said so."""
    try:
        return granting.revoke(desk, former.accounts_url, former.refresh_token)
    except ZohoError:
        return False

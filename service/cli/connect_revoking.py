"""The end of a connection: a token that nobody needs any more is taken back at Zoho, and forgotten here."""

from rich.console import Console

from service import app
from service.errors import Malformed, ZohoError
from service.vault import connection
from service.vault.connection import Connection
from service.zoho import granting
from service.zoho.wire import Line


def revoke(parts: app.Parts, out: Console) -> dict[str, object]:
    """Take the stored connection back; `Unreachable` leaves it, so that the command can be given again."""
    with parts.db.read() as tx:
        found = connection.read(tx, parts.intake.keys)
    if found is None:
        raise Malformed(
            "nothing is connected here; a token from the environment is revoked where it was made"
        )
    line = Line()
    try:
        known = granting.revoke(line, found.accounts_url, found.refresh_token)
    finally:
        line.close()
    with parts.db.begin() as tx:
        connection.forget(tx)
    out.print(f"{found.organisation} is no longer connected; restart `serve` and `worker`")
    if not known:
        out.print("Zoho did not know the token any more: it was revoked there already")
    return {"organisation": found.organisation, "revoked": known}


def revoke_quietly(line: Line, former: Connection) -> bool:
    """Take back a token that nobody needs any more; return whether Zoho said so."""
    try:
        return granting.revoke(line, former.accounts_url, former.refresh_token)
    except ZohoError:
        return False

"""Who is on a list or in a segment: as a listing that pages are cut from, and as the rows that are shown."""

from collections.abc import Sequence

import msgspec

from service.zoho.simulator.campaigns import envelope
from service.zoho.simulator.clock import epoch_ms
from service.zoho.simulator.fixtures import NEWSLETTER
from service.zoho.simulator.ranks import Listing
from service.zoho.simulator.world import World

HOUR_S, DAY_S = 3_600, 86_400


def members(world: World, list_id: int, status: str) -> Listing:
    """Return the listing of one status of a list; "recent" goes by whole hours, so that it stands still."""
    if "recent" not in status:
        rows = "members WHERE list_id = ? AND status = ?"
        return Listing(rows=rows, column="contact_id", values=(list_id, status))
    since = world.clock.seconds() - world.number("campaigns.recent_days") * DAY_S
    return Listing(
        rows="members WHERE list_id = ? AND status = 'active' AND added_at >= ?",
        column="contact_id",
        values=(list_id, since - since % HOUR_S),
    )


def in_segment(permission: str, *, anybody: bool) -> Listing:
    """Return the listing of a segment: whoever has the permission, among the active members or all."""
    among = "" if anybody else " AND m.status = 'active'"
    return Listing(
        rows="contacts c JOIN members m ON m.contact_id = c.id AND m.list_id = ?"
        f" WHERE c.permission = ?{among}",
        column="c.id",
        values=(NEWSLETTER, permission),
    )


def subscribers(world: World, list_id: int, numbers: Sequence[int]) -> list[envelope.Json]:
    """Return members of a list as its rows show them, in the order of their numbers."""
    query = (
        "SELECT c.id, c.email, c.first_name, c.last_name, c.company, c.phone, m.added_at"
        " FROM json_each(?) n JOIN contacts c ON c.id = n.value"
        " JOIN members m ON m.contact_id = c.id AND m.list_id = ? ORDER BY n.key"
    )
    rows = world.db.execute(query, (msgspec.json.encode(numbers).decode(), list_id))
    return [_subscriber(row) for row in rows]


def _subscriber(row: tuple[int, str, str | None, str | None, str | None, str | None, int]) -> envelope.Json:
    number, email, first, last, company, phone, added_at = row
    return {
        "firstname": first or "null",
        "lastname": last or "null",
        "companyname": company or "null",
        "phone": phone or "null",
        "contact_email": email,
        "added_time": epoch_ms(added_at),
        "zuid": str(857_000_000 + number),
    }

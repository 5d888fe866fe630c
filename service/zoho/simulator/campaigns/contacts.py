"""The people of Campaigns: one per address, with what they may get and which lists they are on.

A membership is active, unsub, bounce or awaiting (a confirmation); Do-Not-Mail stands above all lists.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from service.zoho.simulator import shelf
from service.zoho.simulator.names import PERMISSION_LABEL, REFUSED
from service.zoho.simulator.world import World

COLUMNS = MappingProxyType(
    {
        "First Name": "first_name",
        "Last Name": "last_name",
        "Company Name": "company",
        "Phone": "phone",
        "Country": "country",
        PERMISSION_LABEL: "permission",
    }
)
"""Contact fields by the label that the API writes them with; other labels are dropped in silence."""

GONE = "campaigns_deleted_list"
LONGEST = 100
"""Characters of a contact field's value."""

ROLES = frozenset(
    (
        *("abuse", "admin", "billing", "contact", "help", "hostmaster", "info", "marketing", "noreply"),
        *("no-reply", "office", "postmaster", "sales", "security", "support", "webmaster"),
    )
)
_ADDRESS = re.compile(r"^[^@\s,{}]+@[^@\s,{}]+\.[^@\s,{}.]+$")


@dataclass(frozen=True, slots=True)
class Contact:
    """What decides about a contact."""

    id: int
    dnm: str | None
    hard_bounced: bool
    soft_bounces: int


def is_address(text: str) -> bool:
    """Return whether Campaigns takes the text for an address."""
    return bool(_ADDRESS.match(text))


def is_role(email: str) -> bool:
    """Return whether the address belongs to a role, which Campaigns refuses."""
    return email.partition("@")[0].lower() in ROLES


def find(world: World, email: str) -> Contact | None:
    """Return the contact of an address, None if Campaigns never saw it."""
    row = world.db.execute(
        "SELECT id, dnm, hard_bounced, soft_bounces FROM contacts WHERE email = ?", (email,)
    ).fetchone()
    return None if row is None else Contact(row[0], row[1], bool(row[2]), row[3])


def add(world: World, email: str) -> Contact:
    """Return a new contact without any fields."""
    row = world.db.execute(
        "INSERT INTO contacts (email, created_at) VALUES (?, ?) RETURNING id",
        (email.lower(), world.clock.seconds()),
    ).fetchone()
    return Contact(row[0], None, hard_bounced=False, soft_bounces=0)


def set_fields(world: World, contact_id: int, fields: Mapping[str, object]) -> None:
    """Write contact fields by label; a value that is too long is dropped, and nobody says so."""
    for label, value in fields.items():
        if label in COLUMNS and len(str(value)) <= LONGEST:
            world.db.execute(
                f"UPDATE contacts SET {COLUMNS[label]} = ? WHERE id = ?", (str(value), contact_id)
            )


def set_dnm(world: World, contact_id: int, reason: str | None) -> None:
    """Put a contact into Do-Not-Mail (reason self, admin or complaint), or take it out with None."""
    at = None if reason is None else world.clock.seconds()
    world.db.execute("UPDATE contacts SET dnm = ?, dnm_at = ? WHERE id = ?", (reason, at, contact_id))
    if reason is not None:
        opted_out(world, contact_id)


def opted_out(world: World, contact_id: int) -> None:
    """Change the contact's type, where the switch says that leaving does so."""
    if world.on("campaigns.optout_sets_type"):
        world.db.execute("UPDATE contacts SET permission = ? WHERE id = ?", (REFUSED, contact_id))


def set_status(world: World, list_id: int, contact_id: int, status: str) -> None:
    """Make the contact a member of the list with the given status; a member keeps its added_time."""
    world.db.execute(
        "INSERT INTO members (list_id, contact_id, status, added_at) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (list_id, contact_id) DO UPDATE SET status = excluded.status",
        (list_id, contact_id, status, world.clock.seconds()),
    )


def leave_lists(world: World, contact_id: int) -> None:
    """Take the contact off every list that it is on or waits for; a bounced membership stays one."""
    world.db.execute(
        "UPDATE members SET status = 'unsub' WHERE contact_id = ? AND status IN ('active', 'awaiting')",
        (contact_id,),
    )


def set_everywhere(world: World, contact_id: int, status: str) -> None:
    """Change every membership of the contact."""
    world.db.execute("UPDATE members SET status = ? WHERE contact_id = ?", (status, contact_id))


def status_on(world: World, list_id: int, contact_id: int) -> str | None:
    """Return the membership's status, None for no member."""
    row = world.db.execute(
        "SELECT status FROM members WHERE list_id = ? AND contact_id = ?", (list_id, contact_id)
    ).fetchone()
    return None if row is None else str(row[0])


def unknown_list(world: World, listkey: str) -> str:
    """Return the code for a list that is not there: one that was deleted may have its own."""
    was_there = shelf.get(world.db, GONE, listkey) is not None
    return world.text("campaigns.deleted_list") if was_there else "2501"


def list_id(world: World, listkey: str) -> int | None:
    """Return the number of the list with this key, which is case-sensitive."""
    row = world.db.execute("SELECT id FROM lists WHERE listkey = ?", (listkey,)).fetchone()
    return None if row is None else int(row[0])

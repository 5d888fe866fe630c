"""The rows of a sync: which records go over, which are skipped and why, which duplicate is picked."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from random import Random
from typing import Protocol

from service.zoho.simulator.campaigns import contacts
from service.zoho.simulator.crm.fields import MODULES, Kind
from service.zoho.simulator.crm.records import Author, change
from service.zoho.simulator.crm.rows import table
from service.zoho.simulator.world import World

_Row = tuple[object, ...]


class Mapped(Protocol):
    """What a run needs to know of its mapping."""

    module: str
    listkey: str
    fields: dict[str, str]

    @property
    def opted_out(self) -> str:
        """What happens to records that are opted out."""

    @property
    def converted(self) -> str:
        """What happens to leads that were converted."""


def push(world: World, mapping: Mapped, *, since: int, until: int, salt: int) -> Counter[str]:
    """Bring the records of the view to the list; return how many were added, updated or skipped, and why."""
    did: Counter[str] = Counter()
    list_id = contacts.list_id(world, mapping.listkey)
    assert list_id is not None, "a mapping is checked when it is made"
    rng = Random(f"{world.seed} {salt}")  # noqa: S311 - Zoho's choice, repeatable
    by_address = _in_view(world, mapping, since=since, until=until)
    did["skipped: empty address"] = len(by_address.pop("", []))
    for address, rows in by_address.items():
        did["skipped: duplicate"] += len(rows) - 1
        did[_push_one(world, mapping, list_id, address, rng.choice(rows))] += 1
    for address in _converted(world, mapping.module) - by_address.keys():
        did[_kept_off(world, mapping.converted, list_id, contacts.find(world, address), "converted")] += 1
    if world.on("sync.removes_departed") and not since:
        did["departed"] = _remove_departed(world, list_id, by_address)
    return +did


def pull(world: World, mapping: Mapped, *, since: int, until: int, salt: int) -> Counter[str]:
    """Bring contact fields to CRM; of several records with one address, one is picked at random."""
    did: Counter[str] = Counter()
    rng = Random(f"{world.seed} {salt}")  # noqa: S311 - Zoho's choice, repeatable
    list_id = contacts.list_id(world, mapping.listkey)
    labels = list(mapping.fields.values())
    columns = "".join(f", c.{contacts.COLUMNS[label]}" for label in labels)
    rows = world.db.execute(
        f"SELECT c.email{columns} FROM contacts c JOIN members m ON m.contact_id = c.id"
        " WHERE m.list_id = ? AND m.status = 'active' AND m.added_at BETWEEN ? AND ? ORDER BY c.id",
        (list_id, since, until),
    ).fetchall()
    for email, *values in rows:
        found = world.db.execute(
            f"SELECT id FROM {table(mapping.module)} WHERE Email = ? ORDER BY id", (email,)
        ).fetchall()
        if not found:
            did["skipped: not in CRM"] += 1
            continue
        did["skipped: duplicate"] += len(found) - 1
        did[_pull_one(world, mapping, rng.choice(found)[0], values)] += 1
    return +did


def _in_view(world: World, mapping: Mapped, *, since: int, until: int) -> dict[str, list[_Row]]:
    moment = "Modified_Time" if since and world.on("sync.immediate_updates") else "Created_Time"
    names = "".join(f", {name}" for name in mapping.fields)
    rows = world.db.execute(
        f"SELECT coalesce(Email, ''), Email_Opt_Out{names} FROM {table(mapping.module)}"
        f" WHERE Newsletter = 1 AND {moment} > ? AND {moment} <= ? ORDER BY id",
        (since, until),
    ).fetchall()
    by_address: dict[str, list[_Row]] = defaultdict(list)
    for email, *rest in rows:
        by_address[email.strip().lower()].append(tuple(rest))
    return by_address


def _push_one(world: World, mapping: Mapped, list_id: int, address: str, row: _Row) -> str:
    contact = contacts.find(world, address)
    if not contacts.is_address(address):
        return "skipped: bad pattern"
    if contacts.is_role(address):
        return "skipped: role address"
    if contact is not None and contact.hard_bounced:
        return "skipped: bounced"
    if contact is not None and contact.dnm is not None:
        return "skipped: Do-Not-Mail"
    opted_out, *values = row
    if opted_out:
        return _kept_off(world, mapping.opted_out, list_id, contact, "opted out")
    is_new = contact is None
    contact = contact or contacts.add(world, address)
    given = {label: value for label, value in zip(mapping.fields.values(), values, strict=True) if value}
    contacts.set_fields(world, contact.id, given)
    if contacts.status_on(world, list_id, contact.id) is None:
        contacts.set_status(world, list_id, contact.id, "active")
        return "added" if is_new else "joined"
    return "updated"


def _converted(world: World, module: str) -> set[str]:
    """Return the addresses of the view's records that were converted."""
    rows = world.db.execute(
        f"SELECT lower(trim(Email)) FROM converted_{module} WHERE Newsletter = 1 AND Email <> ''"
    )
    return {str(email) for (email,) in rows}


def _kept_off(world: World, policy: str, list_id: int, contact: contacts.Contact | None, why: str) -> str:
    if contact is None or policy == "exclude":
        return f"skipped: {why}"
    if policy == "remove_from_list":
        world.db.execute("DELETE FROM members WHERE list_id = ? AND contact_id = ?", (list_id, contact.id))
        return "removed from list"
    world.db.execute("DELETE FROM members WHERE contact_id = ?", (contact.id,))
    world.db.execute("DELETE FROM contacts WHERE id = ?", (contact.id,))
    return "removed from Campaigns"


def _remove_departed(world: World, list_id: int, by_address: Mapping[str, object]) -> int:
    rows = world.db.execute(
        "SELECT c.id, c.email FROM contacts c JOIN members m ON m.contact_id = c.id"
        " WHERE m.list_id = ? AND m.status = 'active'",
        (list_id,),
    ).fetchall()
    gone = [(list_id, number) for number, email in rows if email.lower() not in by_address]
    world.db.executemany("DELETE FROM members WHERE list_id = ? AND contact_id = ?", gone)
    return len(gone)


def _pull_one(world: World, mapping: Mapped, number: int, values: Sequence[object]) -> str:
    fields = MODULES[mapping.module]
    wanted = {
        name: int(str(value).lower() in ("true", "yes", "refused"))
        if fields[name].kind is Kind.BOOLEAN
        else value
        for name, value in zip(mapping.fields, values, strict=True)
        if value is not None
    }
    if not wanted:
        return "skipped: nothing to write"
    query = f"SELECT {', '.join(wanted)} FROM {table(mapping.module)} WHERE id = ?"
    if world.db.execute(query, (number,)).fetchone() == tuple(wanted.values()):
        return "unchanged"
    change(world, mapping.module, number, wanted, Author(source="zoho_campaigns", mode="Zoho campaigns"))
    return "updated"

"""Changing records, whoever does it: the stamps, the timeline and the news that CRM keeps by itself."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from service.zoho.simulator.crm.fields import MODULES, Kind, name_field
from service.zoho.simulator.crm.rows import changed_values, table
from service.zoho.simulator.news import News, Operation
from service.zoho.simulator.world import World

API_USER = 5725767000000411001
"""The user in whose name the API writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who changes a record and by which way; `mode` is what an opt-out is stamped with."""

    user: int = API_USER
    source: str = "crm_api"
    mode: str | None = "Manual"


def change(world: World, module: str, record_id: int, values: Mapping[str, object], author: Author) -> None:
    """Write `values` into a record that exists: with Modified_Time, an opt-out's stamps, a timeline row."""
    now = world.clock.seconds()
    names = list(values)
    row = world.db.execute(
        f"SELECT {', '.join([*names, 'Email_Opt_Out'])} FROM {table(module)} WHERE id = ?", (record_id,)
    ).fetchone()
    assert row is not None, "the caller has looked the record up"
    before = dict(zip(names, row, strict=False))
    stamped = {**values, **_stamps(values, was=bool(row[-1]), author=author, now=now)}
    stamped |= {"Modified_Time": now, "Modified_By": author.user}
    _keep_stale(world, module, record_id, hidden=False)
    assignments = ", ".join(f"{name} = ?" for name in stamped)
    world.db.execute(f"UPDATE {table(module)} SET {assignments} WHERE id = ?", (*stamped.values(), record_id))
    changed = {name: value for name, value in values.items() if value != before[name]}
    history: list[dict[str, object]] = [
        {
            "api_name": name,
            "_value": {"new": _shown(module, name, value), "old": _shown(module, name, before[name])},
        }
        for name, value in changed.items()
    ]
    note(world, module, record_id, "updated", author=author, history=history)
    _tell(world, module, record_id, "update", changed=changed, author=author)


def add(world: World, module: str, values: Mapping[str, object], author: Author) -> int:
    """Insert a record with its stamps and return its number."""
    now = world.clock.seconds()
    number = world.next_record_id()
    stamped = {
        "Owner": author.user,
        **values,
        "id": number,
        "Created_Time": now,
        "Modified_Time": now,
        "Created_By": author.user,
        "Modified_By": author.user,
    }
    if values.get("Email_Opt_Out"):
        stamped |= {"Unsubscribed_Mode": author.mode, "Unsubscribed_Time": now}
    marks = ", ".join("?" * len(stamped))
    world.db.execute(
        f"INSERT INTO {table(module)} ({', '.join(stamped)}) VALUES ({marks})", tuple(stamped.values())
    )
    _keep_stale(world, module, number, hidden=True)
    note(world, module, number, "added", author=author, history=[])
    _tell(world, module, number, "insert", changed={}, author=author)
    return number


def remove(
    world: World, module: str, record_id: int, author: Author, *, kind: str | None = "recycle"
) -> bool:
    """Delete a record, listed as `recycle` or `permanent`, or not at all; return whether there was one."""
    row = world.db.execute(
        f"DELETE FROM {table(module)} WHERE id = ? RETURNING {name_field(module)}, Created_By", (record_id,)
    ).fetchone()
    if row is None:
        return False
    world.db.execute(f"DELETE FROM stale_{module} WHERE id = ?", (record_id,))
    if kind is not None:
        world.db.execute(
            "INSERT OR REPLACE INTO deleted VALUES (?, ?, ?, ?, ?, ?, ?)",
            (record_id, module, kind, row[0], world.clock.seconds(), author.user, row[1]),
        )
    note(world, module, record_id, "deleted", author=author, history=[])
    _tell(world, module, record_id, "delete", changed={}, author=author)
    return True


def note(
    world: World,
    module: str,
    record_id: int,
    action: str,
    *,
    author: Author,
    history: list[dict[str, object]],
) -> None:
    """Add a row to the record's timeline."""
    world.db.execute(
        "INSERT INTO timeline (module, record_id, audited_at, action, source, done_by, history)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            module,
            record_id,
            world.clock.seconds(),
            action,
            author.source,
            author.user,
            msgspec.json.encode(history).decode(),
        ),
    )


def user_number(world: World, name: str) -> int:
    """Return the number of the user called `name`, who joins the organisation if need be."""
    row = world.db.execute("SELECT id FROM users WHERE name = ?", (name,)).fetchone()
    if row is not None:
        return int(row[0])
    email = f"{'.'.join(name.lower().split())}@staff.example.com"
    added = world.db.execute("INSERT INTO users (name, email) VALUES (?, ?) RETURNING id", (name, email))
    return int(added.fetchone()[0])


def of_address(world: World, email: str) -> list[tuple[str, int]]:
    """Return module and number of every record that carries the address, as first or second one."""
    return [
        (module, int(number))
        for module in MODULES
        for (number,) in world.db.execute(
            f"SELECT id FROM {table(module)} WHERE Email = ? OR Secondary_Email = ? ORDER BY id",
            (email, email),
        )
    ]


def _stamps(values: Mapping[str, object], *, was: bool, author: Author, now: int) -> dict[str, object]:
    if "Email_Opt_Out" not in values or bool(values["Email_Opt_Out"]) is was:
        return {}
    if was:
        return {"Unsubscribed_Mode": None, "Unsubscribed_Time": None}
    return {"Unsubscribed_Mode": author.mode, "Unsubscribed_Time": now} if author.mode else {}


def _keep_stale(world: World, module: str, record_id: int, *, hidden: bool) -> None:
    """Remember the record as the search index knows it, until the index has caught up."""
    lag_s = world.number("crm.search_lag_s")
    if not lag_s:
        return
    now = world.clock.seconds()
    world.db.execute(f"DELETE FROM stale_{module} WHERE id = ? AND fresh_at <= ?", (record_id, now))
    world.db.execute(
        f"INSERT OR IGNORE INTO stale_{module} SELECT *, ?, ? FROM {table(module)} WHERE id = ?",
        (hidden, now + lag_s, record_id),
    )


def _tell(
    world: World,
    module: str,
    record_id: int,
    operation: Operation,
    *,
    changed: Mapping[str, object],
    author: Author,
) -> None:
    values = changed_values(world.db, module, changed)
    world.news.append(
        News(
            module=module,
            record_id=record_id,
            operation=operation,
            values=values,
            source=author.source,
            user=author.user,
        )
    )


def _shown(module: str, name: str, value: object) -> str | None:
    if MODULES[module][name].kind is Kind.BOOLEAN:
        return "true" if value else "false"
    return None if value is None else str(value)

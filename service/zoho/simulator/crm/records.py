"""Changing records, whoever does it: the stamps and the timeline that CRM keeps by itself."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from service.zoho.simulator.crm.fields import MODULES, Kind
from service.zoho.simulator.crm.rows import table
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
    assignments = ", ".join(f"{name} = ?" for name in stamped)
    world.db.execute(f"UPDATE {table(module)} SET {assignments} WHERE id = ?", (*stamped.values(), record_id))
    history: list[dict[str, object]] = [
        {
            "api_name": name,
            "_value": {"new": _shown(module, name, value), "old": _shown(module, name, before[name])},
        }
        for name, value in values.items()
        if value != before[name]
    ]
    note(world, module, record_id, "updated", author=author, history=history)


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


def _shown(module: str, name: str, value: object) -> str | None:
    if MODULES[module][name].kind is Kind.BOOLEAN:
        return "true" if value else "false"
    return None if value is None else str(value)

"""Which record another one duplicates: by the module's system field and by the fields made unique."""

from collections.abc import Mapping, Sequence

from service.zoho.simulator.crm.fields import MODULE_IDS
from service.zoho.simulator.crm.gate import error_item, problem
from service.zoho.simulator.crm.rows import table, user_objects
from service.zoho.simulator.world import World

SYSTEM_FIELD = "Email"
"""What Leads and Contacts are matched by when nobody says otherwise."""

Item = dict[str, object]


def match_order(world: World, module: str, listed: Sequence[str]) -> list[str]:
    """Return the fields by which an upsert looks for its record, in order.

    Nothing listed or the system field listed: the system field, then the unique ones. Unique fields
    listed: these, then the other unique ones, without the system field. Anything else listed is refused.
    """
    unique = world.unique.get(module, [])
    for position, name in enumerate(listed):
        if name != SYSTEM_FIELD and name not in unique:
            details = {"api_name": name, "json_path": f"$.duplicate_check_fields[{position}]"}
            raise problem("INVALID_DATA", "the field is neither a system check field nor unique", details)
    first = list(listed) or [SYSTEM_FIELD]
    return list(dict.fromkeys([*first, *unique]))


def find(world: World, module: str, name: str, value: object, *, but: int = 0) -> int | None:
    """Return the oldest record with this value, other than `but`; nothing matches an empty value."""
    if value in (None, ""):
        return None
    query = f"SELECT id FROM {table(module)} WHERE {name} = ? AND id != ? ORDER BY id LIMIT 1"
    row = world.db.execute(query, (value, but)).fetchone()
    return None if row is None else int(row[0])


def clash(
    world: World, module: str, position: int, record: Mapping[str, object], *, but: int = 0
) -> Item | None:
    """Return the DUPLICATE_DATA of the first unique field whose value another record has, None if none."""
    for name in world.unique.get(module, []):
        if (number := find(world, module, name, record.get(name), but=but)) is not None:
            return _duplicate(world, module, position, name, number)
    return None


def _duplicate(world: World, module: str, position: int, name: str, number: int) -> Item:
    owner = world.db.execute(f"SELECT Owner FROM {table(module)} WHERE id = ?", (number,)).fetchone()[0]
    brief: Item = {"api_name": name, "id": str(number)}
    if world.text("crm.duplicate_details") == "old":
        return error_item("DUPLICATE_DATA", "duplicate data", brief)
    who = user_objects(world.db).get(owner, {"name": "", "id": ""})
    details: Item = {
        "api_name": name,
        "json_path": f"$.data[{position}].{name}",
        "id": str(number),
        "duplicate_record": {
            "id": str(number),
            "Owner": {"name": who["name"], "id": who["id"], "zuid": str(who["id"])[-9:]},
            "module": {"api_name": module, "id": MODULE_IDS[module]},
        },
        "more_records": False,
    }
    return error_item("DUPLICATE_DATA", "duplicate data", details)

"""Upsert: update the record that an item duplicates, else insert it; one record, never all that match."""

from collections.abc import Mapping, Sequence
from typing import Any

from service.zoho.simulator.crm.gate import module_of
from service.zoho.simulator.crm.uniqueness import find, match_order
from service.zoho.simulator.crm.writes import (
    Item,
    automate,
    body_of,
    each,
    insert_one,
    summary,
    unmodified_since_of,
    update_one,
)
from service.zoho.simulator.wire import Call, Reply
from service.zoho.simulator.world import World


def upsert(world: World, call: Call) -> Reply:
    """Answer `POST /{Module}/upsert`: each result tells the action and the field that decided it."""
    module, body = module_of(call), body_of(call)
    order = match_order(world, module, body.get("duplicate_check_fields") or ())
    since = unmodified_since_of(call)

    def one(position: int, record: Mapping[str, Any]) -> Item:
        return _upsert_one(world, module, position, record, order=order, unmodified_since=since)

    results = each(world, body, one)
    automate(world, module, body, results)
    return summary(world, results, ok=200)


def _upsert_one(
    world: World,
    module: str,
    position: int,
    record: Mapping[str, Any],
    *,
    order: Sequence[str],
    unmodified_since: int | None,
) -> Item:
    field, number = _match(world, module, record, order)
    if number is None:
        return _told(insert_one(world, module, position, record), "insert", None)
    given = {**record, "id": number}
    result = update_one(world, module, position, given, unmodified_since=unmodified_since)
    return _told(result, "update", field)


def _match(
    world: World, module: str, record: Mapping[str, Any], order: Sequence[str]
) -> tuple[str | None, int | str | None]:
    if record.get("id") is not None:
        return None, record["id"]
    for name in order:
        if (number := find(world, module, name, record.get(name))) is not None:
            return name, number
    return None, None


def _told(result: Item, action: str, field: str | None) -> Item:
    if result["code"] != "SUCCESS":
        return result
    return {
        "code": "SUCCESS",
        "duplicate_field": field,
        "action": action,
        "details": result["details"],
        "message": result["message"],
        "status": "success",
    }

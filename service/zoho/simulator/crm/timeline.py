"""A record's timeline: who and what changed it, newest first, as far as the filters let through."""

from collections.abc import Mapping
from typing import Any

import msgspec

from service.zoho.simulator.clock import iso, parse
from service.zoho.simulator.crm.fields import MODULES, Kind
from service.zoho.simulator.crm.gate import module_of, read_problem
from service.zoho.simulator.crm.listing import PageToken, decode_token, digest_of, encode_token, page_token
from service.zoho.simulator.crm.paging import whole_number
from service.zoho.simulator.crm.rows import user_objects
from service.zoho.simulator.wire import Call, Reply, json_reply
from service.zoho.simulator.world import World

PAGE = 200
COLUMNS = {
    "source": "source",
    "audited_time": "audited_at",
    "done_by.id": "done_by",
    "record.module.api_name": "module",
}
"""What filters may speak of (facts `zoho-crm`, 2.6), and where it stands."""
SORT = "audited_time"


def get_timeline(world: World, call: Call) -> Reply:
    """Answer `GET /{Module}/{id}/__timeline?filters=&sort_by=&page_token=`; 204 where nothing is left."""
    module = module_of(call)
    if call.query.get("sort_by", SORT) != SORT:
        raise read_problem(world, "INVALID_DATA", "invalid data", {"param_name": "sort_by"})
    per_page = whole_number(world, call, "per_page", PAGE)
    where, values = _filters(world, call)
    token = _token(world, call)
    after = (token.last_value, token.last_id) if token and token.offset else None
    rows = world.db.execute(
        "SELECT id, audited_at, action, source, done_by, history FROM timeline"
        f" WHERE module = ? AND record_id = ? AND {where}{' AND (audited_at, id) < (?, ?)' if after else ''}"
        " ORDER BY audited_at DESC, id DESC LIMIT ?",
        (module, call.slots["record_id"], *values, *(after or ()), per_page + 1),
    ).fetchall()
    if not rows:
        return Reply(status=204)
    found = rows[:per_page]
    offset = token.offset if token else 0
    onward = _token_of(world, call, found[-1], offset + per_page) if len(rows) > per_page else None
    info = {
        "per_page": per_page,
        "next_page_token": onward,
        "count": len(found),
        "page": offset // per_page + 1,
        "previous_page_token": _back(world, call, found[0], offset, per_page) if offset else None,
        "more_records": onward is not None,
    }
    users = user_objects(world.db)
    return json_reply(
        {"__timeline": [_entry(world, call, module, row, users) for row in found], "info": info}
    )


def _entry(
    world: World, call: Call, module: str, row: tuple[Any, ...], users: Mapping[object, object]
) -> dict[str, object]:
    number, audited_at, action, source, done_by, history = row
    return {
        "id": str(number),
        "audited_time": iso(audited_at),
        "action": action,
        "source": source,
        "done_by": users.get(done_by),
        "automation_details": None,
        "related_record": None,
        "record": {"id": call.slots["record_id"], "module": {"api_name": module}},
        "field_history": [_shown(world, module, one) for one in msgspec.json.decode(history)],
    }


def _shown(world: World, module: str, change: dict[str, Any]) -> dict[str, Any]:
    """Return one changed field; whether a checkbox's values are text is a switch."""
    field = MODULES[module].get(change["api_name"])
    if field is None or field.kind is not Kind.BOOLEAN or world.text("crm.timeline_values") == "text":
        return change
    return {**change, "_value": {name: value == "true" for name, value in change["_value"].items()}}


def _token(world: World, call: Call) -> PageToken | None:
    text = call.query.get("page_token")
    if text is None:
        return None
    token, details = decode_token(text), {"param_name": "page_token"}
    if token is None or token.listing != digest_of(call):
        message = "The page token does not belong to this request"
        raise read_problem(world, "TOKEN_BOUND_DATA_MISMATCH", message, details)
    if token.expires_at <= world.clock.now():
        raise read_problem(world, "EXPIRED_VALUE", "The page token has expired", details)
    return token


def _token_of(world: World, call: Call, last: tuple[Any, ...], offset: int) -> str:
    return encode_token(page_token(world, offset, (last[1], last[0]), digest_of(call)))


def _back(world: World, call: Call, first: tuple[Any, ...], offset: int, per_page: int) -> str:
    """Return the token of the page before the one that begins with `first`."""
    where, values = _filters(world, call)
    row = world.db.execute(
        f"SELECT id, audited_at FROM timeline WHERE module = ? AND record_id = ? AND {where}"
        " AND (audited_at, id) > (?, ?) ORDER BY audited_at, id LIMIT 1 OFFSET ?",
        (module_of(call), call.slots["record_id"], *values, first[1], first[0], per_page),
    ).fetchone()
    return _token_of(world, call, row or (0, 0), max(0, offset - per_page) if row else 0)


def _filters(world: World, call: Call) -> tuple[str, list[object]]:
    """Return the SQL of `filters`; a filter that makes no sense is refused."""
    text = call.query.get("filters")
    if text is None:
        return "1", []
    try:
        return _condition(msgspec.json.decode(text, type=dict[str, Any]))
    except (msgspec.DecodeError, LookupError, TypeError, ValueError):
        raise read_problem(world, "INVALID_DATA", "invalid data", {"param_name": "filters"}) from None


def _condition(node: Mapping[str, Any]) -> tuple[str, list[object]]:
    """Return the SQL of one comparison or group; raises LookupError, TypeError or ValueError for others."""
    if "group" in node:
        joint = {"and": " AND ", "or": " OR "}[node["group_operator"]]
        parts = [_condition(inner) for inner in node["group"]]
        return f"({joint.join(sql for sql, _ in parts) or '1'})", [v for _, values in parts for v in values]
    name = node["field"]["api_name"]
    column, value = COLUMNS[name], node["value"]
    match node["comparator"]:
        case "equal":
            return f"{column} = ?", [_value(name, value)]
        case "in":
            return f"{column} IN ({','.join('?' * len(value))})", [_value(name, one) for one in value]
        case "between" if name == SORT:
            low, high = value
            return f"{column} BETWEEN ? AND ?", [_value(name, low), _value(name, high)]
        case _:
            raise ValueError("a comparator that the timeline does not know")


def _value(name: str, value: object) -> object:
    """Return a value as it is stored; raises ValueError for one of another type."""
    if name == SORT:
        seconds = parse(str(value))
        if seconds is None:
            raise ValueError("no time with an offset")
        return seconds
    return int(str(value)) if name == "done_by.id" else str(value)

"""Reading what is not a listing: one record, the deleted ones, a small search, a record's timeline."""

import re

import msgspec

from service.zoho.simulator.clock import iso, parse
from service.zoho.simulator.crm.fields import MODULES
from service.zoho.simulator.crm.gate import module_of, read_problem
from service.zoho.simulator.crm.listing import BY_NUMBER, PAGE, whole_number
from service.zoho.simulator.crm.rows import columns, load, render, select_list, table, user_objects
from service.zoho.simulator.wire import Call, Reply, json_reply
from service.zoho.simulator.world import World


def get_record(world: World, call: Call) -> Reply:
    """Answer `GET /{Module}/{id}`: every field, 204 (or 400, by switch) for an unknown id."""
    module = module_of(call)
    wanted = call.query["fields"].split(",") if "fields" in call.query else list(MODULES[module])
    number = call.slots["record_id"]
    record = load(world, module, int(number), columns(module, wanted)) if number.isdigit() else None
    if record is not None:
        return json_reply({"data": [{**record, "$locked_for_me": False, "$approval_state": "approved"}]})
    if world.text("crm.unknown_id") == "400":
        raise read_problem(world, "INVALID_DATA", "the id given seems to be invalid", {"param_name": "id"})
    return Reply(status=204)


def get_deleted(world: World, call: Call) -> Reply:
    """Answer `GET /{Module}/deleted`; `type` is all, recycle or permanent."""
    module = module_of(call)
    kind = call.query.get("type", "all")
    if kind not in ("all", "recycle", "permanent"):
        raise read_problem(
            world, "PATTERN_NOT_MATCHED", "Please check whether the input values are correct", {}
        )
    since = parse(call.headers.get("if-modified-since", "")) or 0
    per_page, page = whole_number(world, call, "per_page", PAGE), whole_number(world, call, "page", 1)
    rows = world.db.execute(
        "SELECT id, type, display_name, deleted_at, deleted_by, created_by FROM deleted WHERE module = ?"
        " AND (? = 'all' OR type = ?) AND deleted_at >= ? ORDER BY deleted_at DESC, id LIMIT ? OFFSET ?",
        (module, kind, kind, since, per_page + 1, (page - 1) * per_page),
    ).fetchall()
    if not rows:
        return Reply(status=204)
    data = [_deleted(world, row) for row in rows[:per_page]]
    info = {"per_page": per_page, "count": len(data), "page": page, "more_records": len(rows) > per_page}
    return json_reply({"data": data, "info": info})


def search(world: World, call: Call) -> Reply:
    """Answer `GET /{Module}/search` for `email=` or one `criteria=(Field:equals:value)`; 204 when none."""
    module = module_of(call)
    where, values = _searched(world, call, module)
    per_page, page = (
        min(whole_number(world, call, "per_page", PAGE), PAGE),
        whole_number(world, call, "page", 1),
    )
    if page * per_page > BY_NUMBER:
        raise read_problem(
            world, "LIMIT_EXCEEDED", "limit exceeded", {"limit": BY_NUMBER, "param_name": "page"}
        )
    names = columns(module, call.query["fields"].split(",") if "fields" in call.query else MODULES[module])
    query = (
        f"SELECT {select_list(module, names)} FROM {table(module)} WHERE {where} ORDER BY id LIMIT ? OFFSET ?"
    )
    rows = world.db.execute(query, (*values, per_page + 1, (page - 1) * per_page)).fetchall()
    if not rows:
        return Reply(status=204)
    data = render(world.db, module, names, rows[:per_page])
    info = {"per_page": per_page, "count": len(data), "page": page, "more_records": len(rows) > per_page}
    return json_reply({"data": data, "info": info})


def get_timeline(world: World, call: Call) -> Reply:
    """Answer `GET /{Module}/{id}/__timeline`: who and what changed the record, newest first."""
    module = module_of(call)
    rows = world.db.execute(
        "SELECT id, audited_at, action, source, done_by, history FROM timeline"
        " WHERE module = ? AND record_id = ? ORDER BY audited_at DESC, id DESC LIMIT 200",
        (module, call.slots["record_id"]),
    ).fetchall()
    if not rows:
        return Reply(status=204)
    users = user_objects(world.db)
    entries = [
        {
            "id": str(number),
            "audited_time": iso(audited_at),
            "action": action,
            "source": source,
            "done_by": users.get(done_by),
            "automation_details": None,
            "related_record": None,
            "record": {"id": call.slots["record_id"], "module": {"api_name": module}},
            "field_history": msgspec.json.decode(history),
        }
        for number, audited_at, action, source, done_by, history in rows
    ]
    info = {"per_page": 200, "next_page_token": None, "count": len(entries), "page": 1, "more_records": False}
    return json_reply({"__timeline": entries, "info": info})


def _deleted(
    world: World, row: tuple[int, str, str | None, int, int | None, int | None]
) -> dict[str, object]:
    users = user_objects(world.db)
    number, kind, name, deleted_at, deleted_by, created_by = row
    return {
        "deleted_by": users.get(deleted_by),
        "id": str(number),
        "display_name": name,
        "type": kind,
        "created_by": users.get(created_by),
        "deleted_time": iso(deleted_at),
    }


_CRITERION = re.compile(r"^\(+(\w+):(equals|starts_with):([^()]*)\)+$")


def _searched(world: World, call: Call, module: str) -> tuple[str, list[object]]:
    if "email" in call.query:
        email = call.query["email"]
        if world.text("crm.search_email") == "partial":
            return "(Email LIKE ? OR Secondary_Email LIKE ?)", [f"%{email}%"] * 2
        return "(Email = ? OR Secondary_Email = ?)", [email, email]
    if "criteria" not in call.query:
        names = ["criteria", "email", "phone", "word"]
        message = "expected one of the params is missing"
        raise read_problem(world, "EXPECTED_PARAM_MISSING", message, {"param_names": names})
    match = _CRITERION.match(call.query["criteria"])
    field = MODULES[module].get(match[1]) if match else None
    if match is None or field is None or not field.stored:
        raise read_problem(world, "INVALID_QUERY", "Invalid query formed", {"param_name": "criteria"})
    if match[3] in ("true", "false"):
        return f"{field.api_name} = ?", [match[3] == "true"]
    pattern = f"{match[3]}%" if match[2] == "starts_with" else f"%{match[3]}%"
    return f"{field.api_name} LIKE ?", [pattern]

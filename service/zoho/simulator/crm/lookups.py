"""Reading one record, and its timeline: who and what changed it."""

import msgspec

from service.zoho.simulator.clock import iso, parse
from service.zoho.simulator.crm.fields import MODULES
from service.zoho.simulator.crm.gate import module_of, read_problem
from service.zoho.simulator.crm.rows import columns, load, table, user_objects
from service.zoho.simulator.wire import Call, Reply, json_reply
from service.zoho.simulator.world import World


def get_record(world: World, call: Call) -> Reply:
    """Answer `GET /{Module}/{id}`: every field, 204 (or 400, by switch) for an unknown id.

    304 when the record has not been modified since If-Modified-Since.
    """
    module = module_of(call)
    wanted = call.query["fields"].split(",") if "fields" in call.query else list(MODULES[module])
    number = call.slots["record_id"]
    if number.isdigit() and _is_unchanged(world, call, module, int(number)):
        return Reply(status=304)
    record = load(world, module, int(number), columns(module, wanted)) if number.isdigit() else None
    if record is not None:
        return json_reply({"data": [{**record, "$locked_for_me": False, "$approval_state": "approved"}]})
    if world.text("crm.unknown_id") == "400":
        raise read_problem(world, "INVALID_DATA", "the id given seems to be invalid", {"param_name": "id"})
    return Reply(status=204)


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


def _is_unchanged(world: World, call: Call, module: str, number: int) -> bool:
    since = parse(call.headers.get("if-modified-since", ""))
    if since is None:
        return False
    row = world.db.execute(f"SELECT Modified_Time FROM {table(module)} WHERE id = ?", (number,)).fetchone()
    return row is not None and row[0] < since

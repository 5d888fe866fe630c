"""Reading one record."""

from service.zoho.simulator.clock import parse
from service.zoho.simulator.crm import consents
from service.zoho.simulator.crm.fields import MODULES
from service.zoho.simulator.crm.gate import module_of, read_problem
from service.zoho.simulator.crm.rows import columns, converted, load, table
from service.zoho.simulator.crm.system import system_keys
from service.zoho.simulator.crm.visible import visible
from service.zoho.simulator.wire import Call, Reply, json_reply
from service.zoho.simulator.world import World


def get_record(world: World, call: Call) -> Reply:
    """Answer `GET /{Module}/{id}`: every field, 204 (or 400, by switch) for an unknown id.

    304 when the record has not been modified since If-Modified-Since.
    """
    module = module_of(call)
    wanted = call.query["fields"].split(",") if "fields" in call.query else list(MODULES[module])
    wanted = visible(world, module, wanted)
    number = call.slots["record_id"]
    if number.isdigit() and _is_unchanged(world, call, module, int(number)):
        return Reply(status=304)
    record = load(world, module, int(number), columns(module, wanted)) if number.isdigit() else None
    if record is None and number.isdigit():
        record = converted(world, module, int(number), columns(module, wanted))
    if record is not None and "fields" not in call.query:
        record |= {**consents.of(world, int(number)), **system_keys(world, module, int(number))}
    if record is not None:
        return json_reply({"data": [{"$locked_for_me": False, "$approval_state": "approved", **record}]})
    if world.text("crm.unknown_id") == "400":
        raise read_problem(world, "INVALID_DATA", "the id given seems to be invalid", {"param_name": "id"})
    return Reply(status=204)


def _is_unchanged(world: World, call: Call, module: str, number: int) -> bool:
    since = parse(call.headers.get("if-modified-since", ""))
    if since is None:
        return False
    row = world.db.execute(f"SELECT Modified_Time FROM {table(module)} WHERE id = ?", (number,)).fetchone()
    return row is not None and row[0] < since

"""Writing through the API: batches of records, each with its own result, and the status they add up to."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from service.zoho.simulator import shelf
from service.zoho.simulator.clock import iso, parse
from service.zoho.simulator.crm import consents
from service.zoho.simulator.crm.fields import name_field
from service.zoho.simulator.crm.gate import error_item, module_of, problem
from service.zoho.simulator.crm.records import API_USER, Author, add, change
from service.zoho.simulator.crm.rows import table, user_objects
from service.zoho.simulator.crm.uniqueness import clash
from service.zoho.simulator.crm.values import bad, one_of, refusals, stored
from service.zoho.simulator.crm.visible import kept
from service.zoho.simulator.wire import Call, Reply, json_reply
from service.zoho.simulator.world import World

BATCH = 100
AUTOMATIONS = ("workflow", "approval", "blueprint", "pathfinder", "orchestration")
"""What runs after a write unless `trigger` says otherwise."""

Item = dict[str, object]


def update(world: World, call: Call) -> Reply:
    """Answer `PUT /{Module}` and `PUT /{Module}/{id}`: one result per record, in order.

    200 when all went well, 207 when some did, 412 when all were modified since
    If-Unmodified-Since, 400 otherwise.
    """
    module, body = module_of(call), body_of(call)
    unmodified_since = unmodified_since_of(call)

    def one(position: int, record: Mapping[str, Any]) -> Item:
        given = {**record, "id": call.slots.get("record_id", record.get("id"))}
        return update_one(world, module, position, given, unmodified_since=unmodified_since)

    results = each(world, body, one)
    automate(world, module, body, results)
    return summary(world, results, ok=200)


def insert(world: World, call: Call) -> Reply:
    """Answer `POST /{Module}`: 201 when all went well, 207 when some did, else 400."""
    module, body = module_of(call), body_of(call)
    results = each(world, body, lambda position, record: insert_one(world, module, position, record))
    automate(world, module, body, results)
    return summary(world, results, ok=201)


def many(call: Call) -> bool:
    """Return whether a write holds more than ten records, which counts against the smaller limit."""
    return price(call) > 1


def price(call: Call) -> int:
    """Return the credits of a write: 1 per 10 records, begun tens count."""
    try:
        data = msgspec.json.decode(call.body)["data"]
        return max(1, -(-len(data) // 10))
    except (msgspec.DecodeError, LookupError, TypeError):
        return 1


def body_of(call: Call) -> dict[str, Any]:
    """Return the body of a write, or refuse one that holds no batch of at most 100."""
    try:
        body = msgspec.json.decode(call.body)
    except msgspec.DecodeError:
        raise problem(
            "INVALID_DATA", "body is not a JSON object", {"expected_data_type": "jsonobject"}
        ) from None
    data = body.get("data") if isinstance(body, dict) else None
    if not isinstance(data, list) or not data:
        raise problem(
            "MANDATORY_NOT_FOUND", "required field not found", {"api_name": "data", "json_path": "$.data"}
        )
    if len(data) > BATCH:
        raise problem("LIMIT_EXCEEDED", "limit exceeded", {"maximum_length": BATCH, "api_name": "data"})
    assert isinstance(body, dict)
    return body


def each(world: World, body: Mapping[str, Any], one: Callable[[int, Mapping[str, Any]], Item]) -> list[Item]:
    """Return the result of every record of a batch, written in one transaction."""
    world.db.execute("SAVEPOINT call")
    results = [
        one(position, record) if isinstance(record, dict) else bad(position, None, "jsonobject")
        for position, record in enumerate(body["data"])
    ]
    world.db.execute("RELEASE call")
    return results


def update_one(
    world: World, module: str, position: int, record: Mapping[str, Any], *, unmodified_since: int | None
) -> Item:
    """Write one record that exists and return its result."""
    record = kept(world, module, record)
    if record["id"] is None:
        details = {"api_name": "id", "json_path": f"$.data[{position}].id"}
        return error_item("MANDATORY_NOT_FOUND", "required field not found", details)
    number = int(str(record["id"])) if str(record["id"]).isdigit() else -1
    modified = world.db.execute(
        f"SELECT Modified_Time FROM {table(module)} WHERE id = ?", (number,)
    ).fetchone()
    if modified is None:
        return error_item("INVALID_DATA", "the id given seems to be invalid", {"id": str(record["id"])})
    if unmodified_since is not None and modified[0] > unmodified_since:
        message = "record updated time has already passed if-unmodified-since time"
        return error_item("ALREADY_MODIFIED", message, _stamp_details(world, module, number))
    if (held := shelf.get(world.db, "locked", str(number))) is not None:
        return _withheld(str(held.get("code", "RECORD_LOCKED")), position)
    if error := one_of(refusals(world, module, position, record)):
        return error
    if error := consents.refusal(world, position, record):
        return error
    if error := clash(world, module, position, record, but=number):
        return error
    mode = "Manual" if world.on("crm.api_optout_stamps_mode") else None
    change(world, module, number, stored(module, record), Author(mode=mode))
    consents.keep(world, number, record, _who(user_objects(world.db), API_USER))
    return _success(world, module, number, "record updated")


def insert_one(world: World, module: str, position: int, record: Mapping[str, Any]) -> Item:
    """Add one record and return its result."""
    record = kept(world, module, record)
    name = name_field(module)
    errors = refusals(world, module, position, record)
    if not record.get(name):
        details = {"api_name": name, "json_path": f"$.data[{position}].{name}"}
        errors.insert(0, error_item("MANDATORY_NOT_FOUND", "required field not found", details))
    if error := one_of(errors):
        return error
    if error := consents.refusal(world, position, record):
        return error
    if error := clash(world, module, position, record):
        return error
    number = add(world, module, stored(module, record), Author())
    consents.keep(world, number, record, _who(user_objects(world.db), API_USER))
    return _success(world, module, number, "record added")


def unmodified_since_of(call: Call) -> int | None:
    """Return the seconds of If-Unmodified-Since, None without one."""
    header = call.headers.get("if-unmodified-since")
    if header is None:
        return None
    seconds = parse(header)
    if seconds is None:
        raise problem("INVALID_DATA", "invalid data", {"param_name": "If-Unmodified-Since"})
    return seconds


def _withheld(code: str, position: int) -> Item:
    """Return why a record takes no write for now: locked, or it waits for somebody's word."""
    details: Item = {"api_name": "id", "json_path": f"$.data[{position}].id"}
    if code == "RECORD_LOCKED":
        message = "Sorry, you cannot perform this operation as the record is locked."
        return error_item(code, message, {**details, "action": "record_locking"})
    if code == "RECORD_IN_BLUEPRINT":
        return error_item(code, "the record is driven by a blueprint", details)
    if code == "FROZEN":
        return error_item("CANNOT_PROCESS", "the processing of the record has been stopped", details)
    waits = "approval" if code == "NOT_APPROVED" else "review"
    return error_item(code, f"record is in {waits} process", details)


def _stamp_details(world: World, module: str, number: int) -> Item:
    created_at, modified_at, created_by, modified_by = world.db.execute(
        f"SELECT Created_Time, Modified_Time, Created_By, Modified_By FROM {table(module)} WHERE id = ?",
        (number,),
    ).fetchone()
    users = user_objects(world.db)
    return {
        "Modified_Time": iso(modified_at),
        "Modified_By": _who(users, modified_by),
        "Created_Time": iso(created_at),
        "id": str(number),
        "Created_By": _who(users, created_by),
    }


def _who(users: Mapping[object, Item], number: int) -> Item:
    return {"name": users[number]["name"], "id": users[number]["id"]}


def _success(world: World, module: str, number: int, message: str) -> Item:
    details = {**_stamp_details(world, module, number), "$approval_state": "approved"}
    return {"code": "SUCCESS", "details": details, "message": message, "status": "success"}


def automate(world: World, module: str, body: Mapping[str, Any], results: Iterable[Item]) -> None:
    """Record which automations the write set off: all when `trigger` is absent, none when it is empty."""
    trigger = body.get("trigger", AUTOMATIONS)
    now = world.clock.seconds()
    rows = [
        (module, details["id"], kind, now)
        for result in results
        if result["code"] == "SUCCESS" and isinstance(details := result["details"], dict)
        for kind in trigger
        if kind in AUTOMATIONS
    ]
    world.workflow_runs += [(module, int(str(number))) for _, number, kind, _ in rows if kind == "workflow"]
    world.db.executemany("INSERT INTO automations (module, record_id, kind, at) VALUES (?, ?, ?, ?)", rows)


def summary(world: World, results: list[Item], *, ok: int) -> Reply:
    """Return the reply that the results add up to."""
    codes = [result["code"] for result in results]
    good = codes.count("SUCCESS")
    if good == len(codes):
        return json_reply({"data": results}, status=ok)
    if good:
        return json_reply({"data": results}, status=207)
    if codes.count("ALREADY_MODIFIED") == len(codes):
        return json_reply({"data": results}, status=412)
    locked = codes.count("RECORD_LOCKED") == len(codes)
    return json_reply({"data": results}, status=world.number("crm.locked_status") if locked else 400)

"""Workflow webhooks: what an admin wired to changes of records, posted with merge fields filled."""

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from service.zoho.simulator import shelf
from service.zoho.simulator.clock import iso
from service.zoho.simulator.crm.fields import MODULES
from service.zoho.simulator.crm.gate import error_item, problem
from service.zoho.simulator.crm.rows import columns, load
from service.zoho.simulator.outbox import is_loopback
from service.zoho.simulator.wire import Call, Reply, json_reply
from service.zoho.simulator.world import World

KIND, FAILED = "workflow_webhook", "workflow_webhook_failure"
_MERGE = re.compile(r"\$\{!?(\w+)\.(\w+)\}")
Item = dict[str, object]


def create(world: World, call: Call) -> Reply:
    """Answer `POST /settings/automation/webhooks`."""
    return _each(call, lambda given: _create(world, given), ok=201)


def update(world: World, call: Call) -> Reply:
    """Answer `PUT /settings/automation/webhooks`, each with its `id`."""
    return _each(call, lambda given: _update(world, given), ok=200)


def every(world: World, call: Call) -> Reply:
    """Answer `GET /settings/automation/webhooks` and one of it; 204 when none."""
    wanted = call.slots.get("webhook_id")
    found = [hook for key, hook in shelf.every(world.db, KIND) if wanted in (None, key)]
    if not found:
        return Reply(status=204)
    info = {"per_page": 200, "count": len(found), "page": 1, "more_records": False}
    return json_reply({"webhooks": found, "info": info})


def delete(world: World, call: Call) -> Reply:
    """Answer `DELETE /settings/automation/webhooks/{id}` and `?ids=a,b`."""
    ids = call.slots.get("webhook_id", call.query.get("ids", "")).split(",")
    items = [
        _done(key, "deleted") if shelf.drop(world.db, KIND, key) else _unknown(key) for key in ids if key
    ]
    return _answer(items, ok=200)


def failures(world: World, _call: Call) -> Reply:
    """Answer `GET /settings/automation/webhook_failures`; 204 when all went well."""
    found = [failure for _, failure in shelf.every(world.db, FAILED)]
    return json_reply({"webhook_failures": found}) if found else Reply(status=204)


def usage(world: World, _call: Call) -> Reply:
    """Answer `GET /settings/automation/webhooks/actions/usage_reports`: how many failed; 204 without hooks.

    Facts name the call and not its body; the counts are those that we hold.
    """
    failed = Counter(str(failure["webhook"]["id"]) for _, failure in shelf.every(world.db, FAILED))
    found = [
        {"webhook": {"id": key, "name": hook.get("name")}, "failure_count": failed[key]}
        for key, hook in shelf.every(world.db, KIND)
    ]
    return json_reply({"usage_reports": found}) if found else Reply(status=204)


def run(world: World) -> None:
    """Post every webhook of a module for each of its records whose workflows were set off."""
    hooks = shelf.every(world.db, KIND) if world.workflow_runs else []
    for module, number in world.workflow_runs:
        for key, hook in hooks:
            if hook["module"]["api_name"] == module:
                _post(world, key, hook, module, number)
    world.workflow_runs.clear()


def _post(world: World, key: str, hook: dict[str, Any], module: str, number: int) -> None:
    record = load(world, module, number, columns(module, MODULES[module]))
    if record is None:
        return
    raw = (hook.get("body") or {}).get("raw_data_content")
    headers = {one["name"]: one["value"] for one in hook.get("headers") or () if "name" in one}
    if raw is None:
        delivery = world.outbox.post("workflow", hook["url"], {"module": module, "id": str(number)}, headers)
    else:
        delivery = world.outbox.post("workflow", hook["url"], {}, headers)
        delivery.body = _MERGE.sub(lambda match: _merged(record, match[2]), raw).encode()
    if not is_loopback(delivery.url):
        _fail(world, key, hook, number)


def _merged(record: dict[str, object], name: str) -> str:
    value = record.get("id" if name.lower() == "id" else name)
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else msgspec.json.encode(str(value)).decode()[1:-1]


def _fail(world: World, key: str, hook: dict[str, Any], number: int) -> None:
    failure = {
        "webhook": {"id": key, "name": hook["name"]},
        "entity_details": {"id": str(number), "module": hook["module"]},
        "failure_time": iso(world.clock.seconds()),
        "failure_reason": "the address could not be reached",
        "workflow_rule": None,
    }
    shelf.put(world.db, FAILED, str(world.next_record_id()), failure)


def _create(world: World, given: dict[str, Any]) -> Item:
    module = given.get("module")
    name = module.get("api_name") if isinstance(module, dict) else module
    for key in ("name", "url", "module"):
        if not given.get(key):
            return error_item("MANDATORY_NOT_FOUND", "required field not found", {"api_name": key})
    if name not in MODULES or not str(given["url"]).startswith(("http://", "https://")):
        return error_item("INVALID_DATA", "invalid data", {"api_name": "module" if name else "url"})
    key = str(world.next_record_id())
    hook = {"http_method": "POST", **given, "id": key, "module": {"api_name": name}}
    shelf.put(world.db, KIND, key, hook)
    return _done(key, "created")


def _update(world: World, given: dict[str, Any]) -> Item:
    key = str(given.get("id"))
    hook = shelf.get(world.db, KIND, key)
    if hook is None:
        return _unknown(key)
    module = given.get("module", hook["module"])
    named = module if isinstance(module, dict) else {"api_name": module}
    shelf.put(world.db, KIND, key, {**hook, **given, "id": key, "module": named})
    return _done(key, "updated")


def _each(call: Call, one: Callable[[dict[str, Any]], Item], *, ok: int) -> Reply:
    try:
        given = msgspec.json.decode(call.body, type=dict[str, list[dict[str, Any]]])["webhooks"]
    except (msgspec.DecodeError, LookupError):
        raise problem("MANDATORY_NOT_FOUND", "required field not found", {"api_name": "webhooks"}) from None
    return _answer([one(item) for item in given], ok=ok)


def _answer(items: list[Item], *, ok: int) -> Reply:
    good = sum(item["code"] == "SUCCESS" for item in items)
    return json_reply({"webhooks": items}, status=ok if good == len(items) else 207 if good else 400)


def _done(key: str, what: str) -> Item:
    message = f"Webhook {what} successfully"
    return {"code": "SUCCESS", "details": {"id": key}, "message": message, "status": "success"}


def _unknown(key: str) -> Item:
    return error_item("INVALID_DATA", "the id given seems to be invalid", {"id": key})

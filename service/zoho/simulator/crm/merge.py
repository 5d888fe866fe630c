"""Find & merge: up to two records go into a master, which takes the fields that it is told to take."""

from collections.abc import Mapping
from typing import Any

import msgspec

from service.zoho.simulator import shelf
from service.zoho.simulator.crm.fields import MODULES
from service.zoho.simulator.crm.gate import error_item, module_of, problem, read_problem
from service.zoho.simulator.crm.records import Author, change, note, remove
from service.zoho.simulator.crm.rows import table
from service.zoho.simulator.wire import Call, Reply, json_reply
from service.zoho.simulator.world import World

KIND = "merge"
MOST = 2
"""Records that one merge takes besides its master."""


def merge(world: World, call: Call) -> Reply:
    """Answer `POST /{Module}/{id}/actions/merge`; the others are gone afterwards."""
    module, master = module_of(call), _number(call.slots["record_id"])
    order = _order(call)
    children = order.get("data") or []
    ids = [_number(child.get("id")) for child in children]
    if not ids or len(ids) > MOST:
        raise problem("LIMIT_EXCEEDED", "limit exceeded", {"api_name": "data", "limit": MOST})
    if master in ids or not all(_exists(world, module, number) for number in [master, *ids]):
        item = error_item(
            "INVALID_DATA", "the id given seems to be invalid", {"json_path": "$.merge[0].data"}
        )
        return json_reply({"merge": [item]}, status=400)
    world.db.execute("SAVEPOINT call")
    for child, number in zip(children, ids, strict=True):
        fields = [field["api_name"] for field in child.get("fields") or []]
        merge_into(world, module, master, number, fields=fields, author=Author())
    world.db.execute("RELEASE call")
    job_id = str(world.next_record_id())
    shelf.put(world.db, KIND, job_id, {**order, "job_id": job_id, "status": "COMPLETED"})
    message = "The merge of the records is scheduled"
    item = {"code": "SCHEDULED", "details": {"job_id": job_id}, "message": message, "status": "success"}
    return json_reply({"merge": [item]})


def get_merge(world: World, call: Call) -> Reply:
    """Answer `GET /{Module}/{id}/actions/merge?job_id=`."""
    job = shelf.get(world.db, KIND, call.query.get("job_id", ""))
    if job is None:
        raise read_problem(
            world, "INVALID_DATA", "the id given seems to be invalid", {"param_name": "job_id"}
        )
    return json_reply({"merge": job})


def merge_into(
    world: World, module: str, master: int, child: int, *, fields: list[str], author: Author
) -> None:
    """Let `master` take `fields` from `child`, which is deleted, listed as the switch says."""
    taken = [name for name in fields if name in MODULES[module] and not MODULES[module][name].read_only]
    if taken:
        query = f"SELECT {', '.join(taken)} FROM {table(module)} WHERE id = ?"
        row = world.db.execute(query, (child,)).fetchone()
        change(world, module, master, dict(zip(taken, row, strict=True)), author)
    note(world, module, master, "merged", author=author, history=[])
    listed = world.text("crm.merge_lists")
    remove(world, module, child, author, kind=None if listed == "nothing" else listed)


def fifty(_call: Call) -> int:
    """Return the credits of a merge."""
    return 50


def _order(call: Call) -> Mapping[str, Any]:
    try:
        orders = msgspec.json.decode(call.body)["merge"]
    except (msgspec.DecodeError, LookupError, TypeError):
        raise problem("MANDATORY_NOT_FOUND", "required field not found", {"api_name": "merge"}) from None
    if not isinstance(orders, list) or not orders or not isinstance(orders[0], dict):
        raise problem(
            "INVALID_DATA", "invalid data", {"api_name": "merge", "expected_data_type": "jsonarray"}
        )
    return orders[0]


def _number(value: object) -> int:
    return int(str(value)) if str(value).isdigit() else -1


def _exists(world: World, module: str, number: int) -> bool:
    return world.db.execute(f"SELECT 1 FROM {table(module)} WHERE id = ?", (number,)).fetchone() is not None

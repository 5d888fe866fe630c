"""Deleting records, and what stays visible of them: 60 days in the recycle bin, 120 days in the list."""

from service.zoho.simulator.clock import iso, parse
from service.zoho.simulator.crm.fields import MODULE_IDS
from service.zoho.simulator.crm.gate import error_item, module_of, problem, read_problem
from service.zoho.simulator.crm.paging import PAGE, whole_number
from service.zoho.simulator.crm.records import Author, remove
from service.zoho.simulator.crm.rows import user_objects
from service.zoho.simulator.crm.writes import BATCH, Item, automate, summary
from service.zoho.simulator.wire import Call, Reply, json_reply
from service.zoho.simulator.world import World

DAY_S = 86_400
RECYCLED_DAYS = 60
LISTED_DAYS = 120
_Row = tuple[int, str, str | None, int, int | None, int | None]


def delete(world: World, call: Call) -> Reply:
    """Answer `DELETE /{Module}?ids=a,b` and `DELETE /{Module}/{id}`: into the recycle bin."""
    module = module_of(call)
    ids = call.slots.get("record_id", call.query.get("ids", ""))
    if not ids:
        message = "One of the expected parameter is missing"
        raise problem("REQUIRED_PARAM_MISSING", message, {"param_name": "ids"})
    if len(ids.split(",")) > BATCH:
        raise problem("LIMIT_EXCEEDED", "limit exceeded", {"limit": BATCH, "param_name": "ids"})
    world.db.execute("SAVEPOINT call")
    results = [_delete_one(world, module, text) for text in ids.split(",")]
    world.db.execute("RELEASE call")
    quiet = call.query.get("wf_trigger") == "false"
    automate(world, module, {"trigger": []} if quiet else {}, results)
    return summary(world, results, ok=200)


def get_deleted(world: World, call: Call) -> Reply:
    """Answer `GET /{Module}/deleted`; `type` is all, recycle or permanent."""
    module = module_of(call)
    kind = call.query.get("type", "all")
    if kind not in ("all", "recycle", "permanent"):
        message = "Please check whether the input values are correct"
        raise read_problem(world, "PATTERN_NOT_MATCHED", message, {})
    _age(world)
    since = parse(call.headers.get("if-modified-since", "")) or 0
    per_page, page = whole_number(world, call, "per_page", PAGE), whole_number(world, call, "page", 1)
    rows = world.db.execute(
        "SELECT id, type, display_name, deleted_at, deleted_by, created_by FROM deleted WHERE module = ?"
        " AND (? = 'all' OR type = ?) AND deleted_at >= ? ORDER BY deleted_at DESC, id LIMIT ? OFFSET ?",
        (module, kind, kind, since, per_page + 1, (page - 1) * per_page),
    ).fetchall()
    if not rows:
        return Reply(status=204)
    users = user_objects(world.db)
    data = [_deleted(users, row) for row in rows[:per_page]]
    info = {"per_page": per_page, "count": len(data), "page": page, "more_records": len(rows) > per_page}
    return json_reply({"data": data, "info": info})


def get_recycle_bin(world: World, _call: Call) -> Reply:
    """Answer `GET /settings/recycle_bin`: what a user could still restore, of all modules."""
    _age(world)
    rows = world.db.execute(
        "SELECT module, id, display_name, deleted_at, deleted_by FROM deleted WHERE type = 'recycle'"
        " ORDER BY deleted_at DESC, id LIMIT 200"
    ).fetchall()
    if not rows:
        return Reply(status=204)
    users = user_objects(world.db)
    entries = [
        {
            "id": str(number),
            "display_name": name,
            "deleted_time": iso(deleted_at),
            "deleted_by": users.get(deleted_by),
            "module": {"api_name": module, "id": MODULE_IDS[module]},
        }
        for module, number, name, deleted_at, deleted_by in rows
    ]
    info = {"per_page": PAGE, "count": len(entries), "page": 1, "more_records": False}
    return json_reply({"recycle_bin": entries, "info": info})


def price(call: Call) -> int:
    """Return the credits of a deletion: 1 per 100 records, begun hundreds count."""
    return max(1, -(-len(call.query.get("ids", "").split(",")) // 100))


def _delete_one(world: World, module: str, text: str) -> Item:
    number = int(text) if text.isdigit() else -1
    if not remove(world, module, number, Author()):
        return error_item("INVALID_DATA", "the id given seems to be invalid", {"id": text})
    return {"code": "SUCCESS", "details": {"id": text}, "message": "record deleted", "status": "success"}


def _age(world: World) -> None:
    """Empty the recycle bin of what is too old for it, and the list of what is too old to be told."""
    now = world.clock.seconds()
    world.db.execute(
        "UPDATE deleted SET type = 'permanent' WHERE type = 'recycle' AND deleted_at <= ?",
        (now - RECYCLED_DAYS * DAY_S,),
    )
    world.db.execute("DELETE FROM deleted WHERE deleted_at <= ?", (now - LISTED_DAYS * DAY_S,))


def _deleted(users: dict[object, Item], row: _Row) -> Item:
    number, kind, name, deleted_at, deleted_by, created_by = row
    in_bin = kind == "recycle"
    return {
        "deleted_by": _who(users, deleted_by) if in_bin else None,
        "id": str(number),
        "display_name": name if in_bin else None,
        "type": kind,
        "created_by": _who(users, created_by) if in_bin else None,
        "deleted_time": iso(deleted_at),
    }


def _who(users: dict[object, Item], number: int | None) -> Item | None:
    user = users.get(number)
    return None if user is None else {"name": user["name"], "id": user["id"]}

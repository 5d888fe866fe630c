"""Searching through an index that lags behind the records, and counting; never a proof that a write took."""

from service.zoho.simulator.crm import system
from service.zoho.simulator.crm.criteria import CriteriaError, parse
from service.zoho.simulator.crm.fields import MODULES
from service.zoho.simulator.crm.gate import module_of, read_problem
from service.zoho.simulator.crm.listing import BY_NUMBER, check_choice, sorting
from service.zoho.simulator.crm.paging import PAGE, whole_number
from service.zoho.simulator.crm.rows import columns, render, select_list, table
from service.zoho.simulator.crm.visible import readable, visible
from service.zoho.simulator.names import VIEWS
from service.zoho.simulator.wire import Call, Reply, json_reply
from service.zoho.simulator.world import World

_WORDS = ("Name", "First_Name", "Last_Name", "Email", "Secondary_Email", "Phone")
_Where = tuple[str, list[object]]


def search(world: World, call: Call) -> Reply:
    """Answer `GET /{Module}/search` for criteria, email, phone or word; 204 when none."""
    module = module_of(call)
    where, values = _searched(world, call, module)
    per_page, page = whole_number(world, call, "per_page", PAGE), whole_number(world, call, "page", 1)
    if page * per_page > BY_NUMBER:
        details = {"limit": BY_NUMBER, "param_name": "page"}
        raise read_problem(world, "LIMIT_EXCEEDED", "limit exceeded", details)
    wanted = call.query["fields"].split(",") if "fields" in call.query else MODULES[module]
    names = columns(module, visible(world, module, wanted))
    sort_by, order = sorting(world, call, default="asc")
    query = (
        f"SELECT {select_list(module, names)} FROM ({_source(world, call, module)}) WHERE {where}"
        f" ORDER BY {sort_by} {order}, id {order} LIMIT ? OFFSET ?"
    )
    rows = world.db.execute(query, (*values, per_page + 1, (page - 1) * per_page)).fetchall()
    if not rows:
        return Reply(status=204)
    data = render(world.db, module, names, rows[:per_page])
    for record in data:
        shown = system.SYSTEM_KEYS if "fields" not in call.query else wanted
        record.update(system.asked_for(world, module, int(str(record["id"])), shown))
    info = {"per_page": per_page, "count": len(data), "page": page, "more_records": len(rows) > per_page}
    return json_reply({"data": data, "info": info})


def count(world: World, call: Call) -> Reply:
    """Answer `GET /{Module}/actions/count`, of a view or of what a search would find."""
    module = module_of(call)
    if in_view(world, call, module):
        where, values = "Newsletter = 1", list[object]()
    elif {"criteria", "email", "phone", "word"} & set(call.query):
        where, values = _searched(world, call, module)
    else:
        where, values = "1", []
    query = f"SELECT count(*) FROM {table(module)} WHERE {where}"
    return json_reply({"count": world.db.execute(query, values).fetchone()[0]})


def _source(world: World, call: Call, module: str) -> str:
    """Return the SQL of what is searched: the index, converted leads beside it or alone, or nothing.

    Nothing here ever waits for approval, so `approved` is all there is.
    """
    converted = check_choice(world, call, "converted")
    waiting = check_choice(world, call, "approved") == "false"
    waiting |= call.query.get("approval_state", "approved") not in ("approved", "both")
    names = ", ".join(field.api_name for field in MODULES[module].values() if field.stored)
    parts = [f"SELECT {names} FROM converted_{module}"] if converted != "false" else []
    parts += [_index(world, module)] if converted != "true" else []
    viewed = " AND Newsletter = 1" if in_view(world, call, module) else ""
    return f"SELECT * FROM ({' UNION ALL '.join(parts)}) WHERE {0 if waiting else 1}{viewed}"


def in_view(world: World, call: Call, module: str) -> bool:
    """Return whether only the records of the module's one view are asked for; refuse another view."""
    if call.query.get("cvid", VIEWS[module]) != VIEWS[module]:
        message = "the cvid given seems to be invalid"
        raise read_problem(world, "INVALID_DATA", message, {"param_name": "cvid"})
    return "cvid" in call.query


def _index(world: World, module: str) -> str:
    """Return the SQL of the module as the index knows it: fresh records, and old states of the others."""
    world.db.execute(f"DELETE FROM stale_{module} WHERE fresh_at <= ?", (world.clock.seconds(),))
    names = ", ".join(field.api_name for field in MODULES[module].values() if field.stored)
    if world.db.execute(f"SELECT 1 FROM stale_{module} LIMIT 1").fetchone() is None:
        return f"SELECT {names} FROM {table(module)}"
    return (
        f"SELECT {names} FROM {table(module)} WHERE id NOT IN (SELECT id FROM stale_{module})"
        f" UNION ALL SELECT {names} FROM stale_{module} WHERE NOT hidden"
    )


def _searched(world: World, call: Call, module: str) -> _Where:
    query = call.query
    if "criteria" in query:
        return _by_criteria(world, query["criteria"], module)
    if "email" in query:
        pattern = f"%{query['email']}%" if world.text("crm.search_email") == "partial" else query["email"]
        return "(Email LIKE ? OR Secondary_Email LIKE ?)", [pattern, pattern]
    if "phone" in query:
        return "Phone = ?", [query["phone"]]
    if "word" in query:
        names = [name for name in _WORDS if name in MODULES[module]]
        return f"({' OR '.join(f'{name} LIKE ?' for name in names)})", [f"%{query['word']}%"] * len(names)
    message = "expected one of the params is missing"
    details = {"param_names": ["criteria", "email", "phone", "word"]}
    raise read_problem(world, "EXPECTED_PARAM_MISSING", message, details)


def _by_criteria(world: World, text: str, module: str) -> _Where:
    try:
        criteria = parse(text, readable(world, module))
    except CriteriaError:
        details = {"param_name": "criteria"}
        raise read_problem(world, "INVALID_QUERY", "Invalid query formed", details) from None
    limit = world.number("crm.search_criteria")
    if criteria.count > limit:
        too_many = {"limit": limit, "param_name": "criteria"}
        raise read_problem(world, "LIMIT_EXCEEDED", "limit exceeded", too_many)
    return criteria.sql, criteria.values

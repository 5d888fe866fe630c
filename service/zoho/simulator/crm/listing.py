"""Reading records: a page of a module, one record, the deleted ones, a small search."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass
from hashlib import sha256

import msgspec

from service.zoho.simulator.clock import iso, parse
from service.zoho.simulator.crm.fields import MODULES
from service.zoho.simulator.crm.gate import module_of, read_problem
from service.zoho.simulator.crm.rows import columns, load, render, select_list, table, user_objects
from service.zoho.simulator.names import VIEWS
from service.zoho.simulator.wire import Call, Reply, json_reply
from service.zoho.simulator.world import World

PAGE = 200
FIELDS_LIMIT = 50
BY_NUMBER = 2_000
"""Records that `page` reaches; beyond them only a page token goes."""
BY_TOKEN = 100_000
TOKEN_LIFE_S = 86_400
SORTABLE = ("id", "Created_Time", "Modified_Time")


class PageToken(msgspec.Struct, array_like=True):
    """What a page token carries: where to go on, of which listing, until when."""

    offset: int
    last_value: int
    last_id: int
    listing: str
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One page that was asked for."""

    module: str
    names: list[str]
    sort_by: str
    order: str
    per_page: int
    offset: int
    where: list[str]
    values: list[object]
    digest: str


def get_records(world: World, call: Call) -> Reply:
    """Answer `GET /{Module}`: 204 when empty, 304 when nothing changed since If-Modified-Since."""
    listing = _listing(world, call)
    rows = _page(world, listing)
    if not rows:
        return Reply(status=304 if "if-modified-since" in call.headers and not listing.offset else 204)
    more = len(rows) > listing.per_page
    rows = rows[: listing.per_page]
    data = render(world.db, listing.module, listing.names, [row[2:] for row in rows])
    for record in data:
        record["$locked_for_me"] = False
    token = _encode(world, listing, rows[-1]) if more else None
    return json_reply({"data": data, "info": _info(world, call, listing, count=len(data), token=token)})


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
        raise read_problem(world, "PATTERN_NOT_MATCHED", "Please check whether the input values are correct", {})
    since = parse(call.headers.get("if-modified-since", "")) or 0
    per_page, page = _number(world, call, "per_page", PAGE), _number(world, call, "page", 1)
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
    per_page, page = min(_number(world, call, "per_page", PAGE), PAGE), _number(world, call, "page", 1)
    if page * per_page > BY_NUMBER:
        raise read_problem(world, "LIMIT_EXCEEDED", "limit exceeded", {"limit": BY_NUMBER, "param_name": "page"})
    names = columns(module, call.query["fields"].split(",") if "fields" in call.query else MODULES[module])
    query = f"SELECT {select_list(module, names)} FROM {table(module)} WHERE {where} ORDER BY id LIMIT ? OFFSET ?"
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


def _listing(world: World, call: Call) -> Listing:
    module, query = module_of(call), call.query
    if not query.get("fields"):
        message = "One of the expected parameter is missing"
        raise read_problem(world, "REQUIRED_PARAM_MISSING", message, {"param_name": "fields"})
    wanted = query["fields"].split(",")
    if len(wanted) > FIELDS_LIMIT:
        details = {"limit": FIELDS_LIMIT, "param_name": "fields"}
        raise read_problem(world, "LIMIT_EXCEEDED", "limit exceeded", details)
    if "page" in query and "page_token" in query:
        details = {"ambiguity_due_to": [{"param_name": "page"}, {"param_name": "page_token"}]}
        raise read_problem(world, "AMBIGUITY_DURING_PROCESSING", "Ambiguity while processing the request", details)
    sort_by, order = query.get("sort_by", "id"), query.get("sort_order", "desc")
    if sort_by not in SORTABLE or order not in ("asc", "desc"):
        raise read_problem(world, "INVALID_DATA", "invalid data", {"param_name": "sort_by"})
    where, values = _filters(world, call, module)
    listing = Listing(
        module=module,
        names=columns(module, wanted),
        sort_by=sort_by,
        order=order,
        per_page=_number(world, call, "per_page", PAGE),
        offset=0,
        where=where,
        values=values,
        digest=_digest(call),
    )
    return _at(world, call, listing)


def _filters(world: World, call: Call, module: str) -> tuple[list[str], list[object]]:
    where, values = ["1"], list[object]()
    if "if-modified-since" in call.headers:
        since = parse(call.headers["if-modified-since"])
        if since is None:
            raise read_problem(world, "INVALID_DATA", "invalid data", {"param_name": "If-Modified-Since"})
        where.append("Modified_Time >= ?")
        values.append(since)
    if "ids" in call.query:
        ids = [part for part in call.query["ids"].split(",") if part.isdigit()]
        where.append(f"id IN ({','.join('?' * len(ids))})")
        values += [int(part) for part in ids]
    if "cvid" in call.query:
        if call.query["cvid"] != VIEWS[module]:
            raise read_problem(world, "INVALID_DATA", "the cvid given seems to be invalid", {"param_name": "cvid"})
        where.append("Newsletter = 1")
    return where, values


def _at(world: World, call: Call, listing: Listing) -> Listing:
    if "page_token" in call.query:
        return _after(world, listing, call.query["page_token"])
    offset = (_number(world, call, "page", 1) - 1) * listing.per_page
    if offset + listing.per_page > BY_NUMBER:
        message = "page and per_page reach the first 2000 records only; use page_token"
        raise read_problem(world, "DISCRETE_PAGINATION_LIMIT_EXCEEDED", message, {"limit": BY_NUMBER})
    return _moved(listing, offset, [], [])


def _after(world: World, listing: Listing, text: str) -> Listing:
    token = _decode(text)
    details = {"param_name": "page_token"}
    if token is None or token.listing != listing.digest:
        message = "The page token does not belong to this request"
        raise read_problem(world, "TOKEN_BOUND_DATA_MISMATCH", message, details)
    if token.expires_at <= world.clock.now():
        raise read_problem(world, "EXPIRED_VALUE", "The page token has expired", details)
    if token.offset + listing.per_page > BY_TOKEN:
        raise read_problem(world, "PAGINATION_LIMIT_EXCEEDED", "limit exceeded", {"limit": BY_TOKEN})
    sign = "<" if listing.order == "desc" else ">"
    keyset = f"({listing.sort_by}, id) {sign} (?, ?)"
    return _moved(listing, token.offset, [keyset], [token.last_value, token.last_id])


def _moved(listing: Listing, offset: int, where: list[str], values: list[object]) -> Listing:
    return Listing(
        module=listing.module,
        names=listing.names,
        sort_by=listing.sort_by,
        order=listing.order,
        per_page=listing.per_page,
        offset=offset,
        where=listing.where + where,
        values=listing.values + values,
        digest=listing.digest,
    )


def _page(world: World, listing: Listing) -> list[tuple[int, ...]]:
    by_keyset = any(part.startswith("(") for part in listing.where)
    query = (
        f"SELECT {listing.sort_by}, id, {select_list(listing.module, listing.names)} FROM {table(listing.module)}"
        f" WHERE {' AND '.join(listing.where)} ORDER BY {listing.sort_by} {listing.order}, id {listing.order}"
        " LIMIT ? OFFSET ?"
    )
    window = (listing.per_page + 1, 0 if by_keyset else listing.offset)
    return world.db.execute(query, (*listing.values, *window)).fetchall()


def _info(world: World, call: Call, listing: Listing, *, count: int, token: str | None) -> dict[str, object]:
    return {
        "call": False,
        "per_page": listing.per_page,
        "next_page_token": token,
        "count": count,
        "sort_by": listing.sort_by,
        "page": listing.offset // listing.per_page + 1,
        "previous_page_token": call.query.get("page_token"),
        "page_token_expiry": iso(world.clock.seconds() + TOKEN_LIFE_S) if token else None,
        "sort_order": listing.order,
        "email": False,
        "more_records": token is not None,
    }


def _number(world: World, call: Call, name: str, default: int) -> int:
    text = call.query.get(name, str(default))
    if not text.isdigit() or int(text) < 1:
        raise read_problem(world, "INVALID_DATA", "invalid data", {"param_name": name})
    if name == "per_page" and int(text) > PAGE:
        raise read_problem(world, "LIMIT_EXCEEDED", "limit exceeded", {"limit": PAGE, "param_name": name})
    return int(text)


def _digest(call: Call) -> str:
    """Return what a page token is bound to: every parameter but the position, and the header."""
    bound = sorted((k, v) for k, v in call.query.items() if k not in ("page", "page_token"))
    text = msgspec.json.encode([call.path, bound, call.headers.get("if-modified-since")])
    return sha256(text).hexdigest()[:16]


def _encode(world: World, listing: Listing, last: tuple[int, ...]) -> str:
    expires = world.clock.seconds() + TOKEN_LIFE_S
    token = PageToken(listing.offset + listing.per_page, last[0], last[1], listing.digest, expires)
    return urlsafe_b64encode(msgspec.json.encode(token)).decode().rstrip("=")


def _decode(text: str) -> PageToken | None:
    try:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return msgspec.json.decode(raw, type=PageToken)
    except (Base64Error, ValueError, msgspec.DecodeError):
        return None


def _deleted(world: World, row: tuple[int, str, str | None, int, int | None, int | None]) -> dict[str, object]:
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

"""Listing a module page by page: by number for the first records, by token for the rest."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import msgspec

from service.zoho.simulator import shelf
from service.zoho.simulator.clock import iso, parse
from service.zoho.simulator.crm import consents, system
from service.zoho.simulator.crm.gate import module_of, read_problem
from service.zoho.simulator.crm.paging import PAGE, whole_number
from service.zoho.simulator.crm.rows import columns, render, select_list, table
from service.zoho.simulator.crm.visible import visible
from service.zoho.simulator.names import VIEWS
from service.zoho.simulator.wire import Call, Reply, json_reply
from service.zoho.simulator.world import World

FIELDS_LIMIT = 50
BY_NUMBER = 2_000
"""Records that `page` reaches; beyond them only a page token goes."""
BY_TOKEN = 100_000
TOKEN_LIFE_S = 86_400
CHOICES = {"converted": ("false", "true", "both"), "approved": ("both", "true", "false")}
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
    """One page that was asked for: `offset` rows precede it, of which the statement skips `skip`.

    Where a token leads, `after` is the sorted column and the id of the row before.
    """

    module: str
    source: str
    names: list[str]
    sort_by: str
    order: str
    per_page: int
    offset: int
    skip: int
    where: list[str]
    values: list[object]
    digest: str
    after: tuple[int, int] | None = None

    def beyond(self, *, back: bool = False) -> str:
        """Return the condition of the rows behind another, or before it."""
        return f"({self.sort_by}, id) {'<' if (self.order == 'desc') != back else '>'} (?, ?)"


def get_records(world: World, call: Call) -> Reply:
    """Answer `GET /{Module}`: 204 when empty, 304 when nothing changed since If-Modified-Since."""
    listing = _listing(world, call)
    rows = _page(world, listing)
    if not rows:
        return Reply(status=304 if "if-modified-since" in call.headers and not listing.offset else 204)
    more = len(rows) > listing.per_page
    rows = rows[: listing.per_page]
    data = render(world.db, listing.module, listing.names, [row[2:] for row in rows])
    wanted = call.query["fields"].split(",")
    locked = {key for key, held in shelf.every(world.db, "locked") if held.get("code") == "RECORD_LOCKED"}
    for record in data:
        number = int(str(record["id"]))
        record.update(consents.asked_for(world, number, wanted))
        record.update(system.asked_for(world, listing.module, number, wanted))
        record["$locked_for_me"] = str(number) in locked
    onward = page_token(world, listing.offset + listing.per_page, rows[-1], listing.digest)
    token = encode_token(onward) if more else None
    info = _info(world, listing, count=len(data), token=token, back=_back(world, listing, rows[0]))
    return json_reply({"data": data, "info": info})


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
        raise read_problem(
            world, "AMBIGUITY_DURING_PROCESSING", "Ambiguity while processing the request", details
        )
    if "cvid" in query and ("sort_by" in query or "sort_order" in query):
        details = {"ambiguity_due_to": [{"param_name": "cvid"}, {"param_name": "sort_by"}]}
        raise read_problem(
            world, "AMBIGUITY_DURING_PROCESSING", "Ambiguity while processing the request", details
        )
    _check_choices(world, call)
    sort_by, order = sorting(world, call)
    where, values = _filters(world, call, module)
    listing = Listing(
        module=module,
        source=_source(module, query.get("converted", "false")),
        names=columns(module, visible(world, module, wanted)),
        sort_by=sort_by,
        order=order,
        per_page=whole_number(world, call, "per_page", PAGE),
        offset=0,
        skip=0,
        where=where,
        values=values,
        digest=digest_of(call),
    )
    return _at(world, call, listing)


def sorting(world: World, call: Call, *, default: str = "desc") -> tuple[str, str]:
    """Return by which column and in which direction a call sorts, or refuse what is not sortable."""
    sort_by, order = call.query.get("sort_by", "id"), call.query.get("sort_order", default)
    if sort_by not in SORTABLE or order not in ("asc", "desc"):
        raise read_problem(world, "INVALID_DATA", "invalid data", {"param_name": "sort_by"})
    return sort_by, order


def check_choice(world: World, call: Call, name: str) -> str:
    """Return a parameter of `CHOICES`, or refuse a value that is none of its own."""
    allowed = CHOICES[name]
    value = call.query.get(name, allowed[0])
    if value not in allowed:
        raise read_problem(world, "INVALID_DATA", "invalid data", {"param_name": name})
    return value


def _check_choices(world: World, call: Call) -> None:
    """Refuse a parameter whose value is none of those that there are; no territory exists here."""
    for name in CHOICES:
        check_choice(world, call, name)
    if "territory_id" in call.query:
        details = {"param_name": "territory_id"}
        raise read_problem(world, "INVALID_DATA", "the territory_id given seems to be invalid", details)


def _source(module: str, converted: str) -> str:
    """Return where the rows are: converted leads stand apart, and only `converted` brings them up."""
    if converted == "both":
        return f"(SELECT * FROM {table(module)} UNION ALL SELECT * FROM converted_{module})"
    return f"converted_{module}" if converted == "true" else table(module)


def _filters(world: World, call: Call, module: str) -> tuple[list[str], list[object]]:
    where, values = ["1"], list[object]()
    if "if-modified-since" in call.headers:
        since = parse(call.headers["if-modified-since"])
        if since is None:
            raise read_problem(world, "INVALID_DATA", "invalid data", {"param_name": "If-Modified-Since"})
        where.append("Modified_Time >= ?")
        values.append(since)
    if call.query.get("approved") == "false":
        where.append("0")
    if "ids" in call.query:
        ids = [part for part in call.query["ids"].split(",") if part.isdigit()]
        where.append(f"id IN ({','.join('?' * len(ids))})")
        values += [int(part) for part in ids]
    if "cvid" in call.query:
        if call.query["cvid"] != VIEWS[module]:
            raise read_problem(
                world, "INVALID_DATA", "the cvid given seems to be invalid", {"param_name": "cvid"}
            )
        where.append("Newsletter = 1")
    return where, values


def _at(world: World, call: Call, listing: Listing) -> Listing:
    if "page_token" in call.query:
        return _after(world, listing, call.query["page_token"])
    offset = (whole_number(world, call, "page", 1) - 1) * listing.per_page
    if offset + listing.per_page > BY_NUMBER:
        message = "page and per_page reach the first 2000 records only; use page_token"
        raise read_problem(world, "DISCRETE_PAGINATION_LIMIT_EXCEEDED", message, {"limit": BY_NUMBER})
    return replace(listing, offset=offset, skip=offset)


def _after(world: World, listing: Listing, text: str) -> Listing:
    token = decode_token(text)
    details = {"param_name": "page_token"}
    if token is None or token.listing != listing.digest:
        message = "The page token does not belong to this request"
        raise read_problem(world, "TOKEN_BOUND_DATA_MISMATCH", message, details)
    if token.expires_at <= world.clock.now():
        raise read_problem(world, "EXPIRED_VALUE", "The page token has expired", details)
    if token.offset + listing.per_page > BY_TOKEN:
        raise read_problem(world, "PAGINATION_LIMIT_EXCEEDED", "limit exceeded", {"limit": BY_TOKEN})
    after = (token.last_value, token.last_id) if token.offset else None
    return replace(listing, offset=token.offset, after=after)


def _page(world: World, listing: Listing) -> list[tuple[int, ...]]:
    key, order = listing.sort_by, listing.order
    where = [*listing.where, *([listing.beyond()] if listing.after else [])]
    values = (*listing.values, *(listing.after or ()), listing.per_page + 1, listing.skip)
    query = (
        f"SELECT {key}, id, {select_list(listing.module, listing.names)} FROM {listing.source}"
        f" WHERE {' AND '.join(where)} ORDER BY {key} {order}, id {order} LIMIT ? OFFSET ?"
    )
    return world.db.execute(query, values).fetchall()


def _back(world: World, listing: Listing, first: tuple[int, ...]) -> str | None:
    """Return the token of the page before the one that begins with `first`; None where none is before."""
    if not listing.offset:
        return None
    key, order = listing.sort_by, "asc" if listing.order == "desc" else "desc"
    row = world.db.execute(
        f"SELECT {key}, id FROM {listing.source} WHERE {' AND '.join(listing.where)}"
        f" AND {listing.beyond(back=True)} ORDER BY {key} {order}, id {order} LIMIT 1 OFFSET ?",
        (*listing.values, *first[:2], listing.per_page),
    ).fetchone()
    offset = max(0, listing.offset - listing.per_page) if row else 0
    return encode_token(page_token(world, offset, row or (0, 0), listing.digest))


def _info(
    world: World, listing: Listing, *, count: int, token: str | None, back: str | None
) -> dict[str, object]:
    return {
        "call": False,
        "per_page": listing.per_page,
        "next_page_token": token,
        "count": count,
        "sort_by": listing.sort_by,
        "page": listing.offset // listing.per_page + 1,
        "previous_page_token": back,
        "page_token_expiry": iso(world.clock.seconds() + TOKEN_LIFE_S) if token else None,
        "sort_order": listing.order,
        "email": False,
        "more_records": token is not None,
    }


def digest_of(call: Call) -> str:
    """Return what a page token is bound to: every parameter but the position, and the header."""
    bound = sorted((k, v) for k, v in call.query.items() if k not in ("page", "page_token"))
    text = msgspec.json.encode([call.path, bound, call.headers.get("if-modified-since")])
    return sha256(text).hexdigest()[:16]


def page_token(world: World, offset: int, last: Sequence[int], digest: str) -> PageToken:
    """Return the token of the page behind `offset` rows, of which `last` is the last; it lives for a day."""
    return PageToken(offset, last[0], last[1], digest, world.clock.seconds() + TOKEN_LIFE_S)


def encode_token(token: PageToken) -> str:
    """Return a page token as it travels."""
    return urlsafe_b64encode(msgspec.json.encode(token)).decode().rstrip("=")


def decode_token(text: str) -> PageToken | None:
    """Return what a page token carries, None for anything else."""
    try:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return msgspec.json.decode(raw, type=PageToken)
    except (Base64Error, ValueError, msgspec.DecodeError):
        return None

"""What a bulk read asks for: module, fields, criteria, page; checked and turned into SQL."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from service.zoho.simulator.clock import parse as parse_time
from service.zoho.simulator.crm.fields import MODULES, Field, Kind
from service.zoho.simulator.crm.gate import error_item, problem
from service.zoho.simulator.crm.visible import modules_of, readable
from service.zoho.simulator.names import VIEWS
from service.zoho.simulator.wire import AnswerError, Call, json_reply
from service.zoho.simulator.world import World

TOKEN_LIFE_S = 86_400
CRITERIA_LIMIT = 25
COMPARATORS = {
    "equal": "=",
    "not_equal": "!=",
    "less_than": "<",
    "less_equal": "<=",
    "greater_than": ">",
    "greater_equal": ">=",
}
_PATTERNS = {"contains": "%{}%", "not_contains": "%{}%", "starts_with": "{}%", "ends_with": "%{}"}


class BulkQuery(msgspec.Struct, kw_only=True):
    """One page of a module's records: `after` is the last id before it, or `page` counts from 1."""

    module: str
    fields: list[str]
    criteria: dict[str, Any] | None = None
    cvid: str | None = None
    page: int = 1
    after: int | None = None
    expires_at: int = 0


def refuse(code: str, message: str, details: Mapping[str, object] | None = None) -> AnswerError:
    """Return the exception that ends a bulk call with an error inside `data`."""
    return AnswerError(json_reply({"data": [error_item(code, message, details)]}, status=400))


def read(world: World, body: bytes) -> tuple[BulkQuery, dict[str, Any]]:
    """Return the query and the whole body of a job's request, or refuse it."""
    if not body:
        raise refuse("REQUEST_BODY_IS_EMPTY", "The request body is empty")
    try:
        asked = msgspec.json.decode(body, type=dict[str, Any])
        query = asked["query"]
    except (msgspec.DecodeError, LookupError):
        raise refuse("REQUEST_BODY_NOT_READABLE", "The request body could not be read") from None
    paging = world.text("bulk.paging")
    if query.get("page_token"):
        if paging == "page":
            raise refuse("INVALID_DATA", "invalid data", {"api_name": "page_token"})
        return _continued(world, str(query["page_token"])), asked
    if paging == "page_token" and int(query.get("page", 1)) > 1:
        details = {"api_name": "page", "limit": 1}
        raise refuse("PAGE_RANGE_EXCEEDED", "use page_token beyond the first page", details)
    return _fresh(world, query), asked


def scopes(call: Call) -> str:
    """Return the scope of the module that is read, as far as the request tells."""
    try:
        module = msgspec.json.decode(call.body)["query"]["module"]
        return f"ZohoCRM.modules.{module['api_name'] if isinstance(module, dict) else module}.READ"
    except (msgspec.DecodeError, LookupError, TypeError):
        return ""


def where(query: BulkQuery) -> tuple[str, list[object]]:
    """Return the SQL condition of a query, without its page."""
    sql, values = (
        ("1", list[object]()) if query.criteria is None else _condition(query.module, query.criteria)
    )
    return f"({sql})" + (" AND Newsletter = 1" if query.cvid else ""), values


def token(query: BulkQuery, last: int, now: int) -> str:
    """Return the token of the page after `last`."""
    carried = msgspec.structs.replace(query, after=last, page=query.page + 1, expires_at=now + TOKEN_LIFE_S)
    return urlsafe_b64encode(msgspec.json.encode(carried)).decode().rstrip("=")


def _continued(world: World, text: str) -> BulkQuery:
    try:
        query = msgspec.json.decode(urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=BulkQuery)
    except (Base64Error, ValueError, msgspec.DecodeError):
        message = "The page token does not belong to this request"
        raise refuse("TOKEN_BOUND_DATA_MISMATCH", message, {"api_name": "page_token"}) from None
    if query.expires_at <= world.clock.now():
        raise refuse("EXPIRED_VALUE", "The page token has expired", {"api_name": "page_token"})
    return query


def _fresh(world: World, query: Mapping[str, Any]) -> BulkQuery:
    module = query.get("module")
    name = str(module.get("api_name") if isinstance(module, dict) else module)
    if name not in modules_of(world):
        raise refuse("MODULE_NOT_AVAILABLE", "The module is not available", {"module": name})
    known = readable(world, name)
    fields = query.get("fields") or list(known)
    for field in fields:
        if field not in known:
            raise refuse("FIELD_NOT_AVAILABLE", "The field is not available", {"field": field})
    page, cvid, criteria = query.get("page", 1), query.get("cvid"), query.get("criteria")
    if not isinstance(page, int) or page < 1:
        raise refuse("INVALID_DATA", "invalid data", {"api_name": "page"})
    if cvid is not None and str(cvid) != VIEWS[name]:
        raise refuse("INVALID_DATA", "the cvid given seems to be invalid", {"api_name": "cvid"})
    read = BulkQuery(module=name, fields=list(fields), criteria=criteria, page=page, cvid=cvid and str(cvid))
    if criteria is not None and _size(criteria) > CRITERIA_LIMIT:
        raise refuse("CRITERIA_LIMIT_EXCEEDED", "limit exceeded", {"limit": CRITERIA_LIMIT})
    where(read)
    return read


def _size(node: Mapping[str, Any]) -> int:
    return sum(_size(inner) for inner in node["group"]) if isinstance(node.get("group"), list) else 1


def _condition(module: str, node: Mapping[str, Any]) -> tuple[str, list[object]]:
    if isinstance(group := node.get("group"), list) and group:
        joint = str(node.get("group_operator", "and")).upper()
        if joint not in ("AND", "OR"):
            raise refuse("INVALID_CRITERIA", "The criteria is invalid", {"group_operator": joint})
        parts = [_condition(module, inner) for inner in group]
        return f"({f' {joint} '.join(sql for sql, _ in parts)})", [v for _, values in parts for v in values]
    named = node.get("field")
    name = named.get("api_name") if isinstance(named, dict) else node.get("api_name")
    field = MODULES[module].get(str(name))
    if field is None or not field.stored:
        raise refuse("INVALID_CRITERIA", "The criteria is invalid", {"field": name})
    return _comparison(field, str(node.get("comparator")), node.get("value"))


def _comparison(field: Field, comparator: str, value: object) -> tuple[str, list[object]]:
    name = field.api_name
    if field.kind is Kind.BOOLEAN and comparator != "equal":
        raise refuse("INVALID_CRITERIA", "The comparator is not supported for booleans", {"field": name})
    if comparator in ("in", "not_in") and isinstance(value, list):
        values = [_value(field, one) for one in value]
        return f"{name} {'NOT ' * (comparator == 'not_in')}IN ({','.join('?' * len(values))})", values
    if comparator in ("between", "not_between") and isinstance(value, list) and len(value) == 2:  # noqa: PLR2004
        negation = "NOT " if comparator == "not_between" else ""
        return f"{name} {negation}BETWEEN ? AND ?", [_value(field, one) for one in value]
    if comparator in _PATTERNS and isinstance(value, str):
        negation = "NOT " if comparator == "not_contains" else ""
        escaped = re.sub(r"([%_\\])", r"\\\1", value)
        return f"{name} {negation}LIKE ? ESCAPE '\\'", [_PATTERNS[comparator].format(escaped)]
    if comparator not in COMPARATORS:
        raise refuse("INVALID_CRITERIA", "The criteria is invalid", {"comparator": comparator})
    if value in (None, "", "${EMPTY}"):
        return f"{name} IS {'NOT ' * (comparator == 'not_equal')}NULL", []
    return f"{name} {COMPARATORS[comparator]} ?", [_value(field, value)]


def _value(field: Field, value: object) -> object:
    match field.kind:
        case Kind.BOOLEAN if isinstance(value, bool):
            return int(value)
        case Kind.DATETIME if isinstance(value, str) and (seconds := parse_time(value)) is not None:
            return seconds
        case Kind.ID | Kind.USER if str(value).isdigit():
            return int(str(value))
        case Kind.BOOLEAN | Kind.DATETIME | Kind.ID | Kind.USER:
            details = {"field": field.api_name}
            raise refuse("VALUE_TYPE_NOT_SUPPORTED", "The value's type is not supported", details)
        case _:
            return str(value)


def check_json(media_type: str) -> None:
    """Refuse a bulk call whose body does not call itself JSON."""
    if media_type.split(";", maxsplit=1)[0].strip().lower() != "application/json":
        raise problem("MEDIA_TYPE_NOT_SUPPORTED", "media type is not supported", status=415)


Refuse = Callable[[str, str, Mapping[str, object]], AnswerError]


def check_callback(asked: Mapping[str, Any], refuse: Refuse = refuse) -> None:
    """Refuse a callback that is no address, or not to be posted to; `refuse` gives the error its shape."""
    callback = asked.get("callback")
    if callback is None:
        return
    if not str(callback.get("url", "")).startswith(("http://", "https://")):
        raise refuse("INVALID_CALLBACK_URL", "The callback URL is invalid", {"api_name": "url"})
    if callback.get("method") != "post":
        raise refuse("INVALID_CALLBACK_METHOD", "The callback method is invalid", {"api_name": "method"})

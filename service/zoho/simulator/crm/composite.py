"""Composite requests: up to five calls in one, in turn, which may use what those before them answered.

What is allowed, the limits, the references and the rollback are those of Zoho's page `composite-api` (v7 and
v8); the facts name the scope, the price and the concurrency alone (`zoho-crm`, 1.4 and 6).
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from service.zoho.simulator.crm import references
from service.zoho.simulator.crm.gate import error_item, problem, serve_within
from service.zoho.simulator.crm.references import Answered, UnresolvedError
from service.zoho.simulator.wire import JSON, AnswerError, Call, Endpoint, Handler, Reply, json_reply
from service.zoho.simulator.world import World

KEY = "__composite_requests"
MOST = 5
MOST_ROWS = 25
"""Rows that one reading call within a composite request gives."""
VERSION = 8
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
RESTRICTED = ("authorization", "x-crm-org")
_CLOSED = re.compile("/bulk|/upload|/__|/merge|_mail|_email|/Emails|/automation/|_export|_bin")
"""Parts of the addresses that may not be called within a composite request."""
_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_]*")
_URI = re.compile(r"/crm(/.*)?/v([0-9]+)([.][0-9]+)?(/.*)")
_LIMIT = re.compile(r"\blimit\s+(\d+)", re.IGNORECASE)
_DONE = "composite sub request executed successfully"
_ROLLED = "the transaction was rolled back since another sub request in the same transaction failed."

Item = dict[str, object]


class _UntriggeredError(Exception):
    """A sub-request that was not even called; `item` says why."""

    def __init__(self, code: str, message: str, details: Mapping[str, object]) -> None:
        super().__init__(code)
        self.item = error_item(code, message, details)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """How one sub-request ended: its item, whether it was called, whether it did what it should."""

    item: Item
    triggered: bool
    good: bool


def over(endpoints: Callable[[], Sequence[Endpoint]]) -> Handler:
    """Return the handler of composite requests over these endpoints."""

    def composite(world: World, call: Call) -> Reply:
        """Answer `POST /__composite_requests`: 200 all were called, 207 some, 400 none or a rollback."""
        given = _given(call)
        asked, rollback = given[KEY], given.get("rollback_on_fail") is True
        if rollback:
            return _together(world, _each(world, call, asked, endpoints()), len(asked))
        ended = list(_each(world, call, asked, endpoints()))
        triggered = sum(one.triggered for one in ended)
        status = 200 if triggered == len(ended) else 207 if triggered else 400
        return json_reply({KEY: [one.item for one in ended]}, status=status)

    return composite


def _together(world: World, each: Iterable[_Ended], count: int) -> Reply:
    """Do all or nothing; two credits for all, one for nothing."""
    happened, ran = len(world.news), len(world.workflow_runs)
    world.db.execute("SAVEPOINT composite")
    done: list[Item] = []
    for one in each:
        if not one.good:
            world.db.execute("ROLLBACK TO composite")
            del world.news[happened:], world.workflow_runs[ran:]
            done = _undone(one.item, len(done), count)
            break
        done.append(one.item)
    else:
        happened = -1
    world.db.execute("RELEASE composite")
    if happened >= 0:
        return json_reply({KEY: done}, status=400)
    world.meter.spend(1, allowance=world.number("crm.credits_per_day"), now=world.clock.now())
    return json_reply({KEY: done})


def _undone(failed: Item, position: int, count: int) -> list[Item]:
    details = {"rollbacked_by_sub_request_index": position}
    before = [error_item("ROLLBACK_PERFORMED", _ROLLED, details) for _ in range(position)]
    behind = [error_item("PROCESSING_STOPPED", _ROLLED, details) for _ in range(count - position - 1)]
    return [*before, failed, *behind]


def _given(call: Call) -> dict[str, Any]:
    """Return the request as far as it concerns all sub-requests, or refuse it."""
    try:
        given = msgspec.json.decode(call.body, type=dict[str, Any])
    except msgspec.DecodeError:
        given = {}
    if given.get(KEY) is None:
        raise _invalid("MANDATORY_NOT_FOUND", "required key not found", KEY)
    for name in ("rollback_on_fail", "parallel_execution"):
        if not isinstance(given.get(name, False), bool):
            raise _invalid("INVALID_DATA", "invalid data", name, expected_data_type="boolean")
    asked = given[KEY]
    if not isinstance(asked, list) or not asked or not all(isinstance(one, dict) for one in asked):
        raise _invalid("INVALID_DATA", "invalid data", KEY, expected_data_type="jsonarray")
    if len(asked) > MOST:
        raise _invalid("INVALID_DATA", "invalid data", KEY, maximum_length=MOST)
    if given.get("rollback_on_fail") and given.get("parallel_execution"):
        both = [{"api_name": n, "json_path": f"$.{n}"} for n in ("rollback_on_fail", "parallel_execution")]
        raise problem("AMBIGUITY_DURING_PROCESSING", "ambiguity while processing", {"ambiguity_due_to": both})
    return given


def _invalid(code: str, message: str, name: str, **more: object) -> AnswerError:
    return problem(code, message, {"api_name": name, "json_path": f"$.{name}", **more})


def _each(
    world: World, call: Call, asked: Sequence[Mapping[str, Any]], endpoints: Sequence[Endpoint]
) -> Iterable[_Ended]:
    answered: Answered = {}
    for position, given in enumerate(asked):
        name = str(given.get("sub_request_id", position + 1))
        try:
            _check(given, f"$.{KEY}[{position}]", known=name in answered)
            endpoint, inner = _prepared(call, given, position, answered, endpoints)
        except _UntriggeredError as refused:
            answered[name] = None
            yield _Ended(item=refused.item, triggered=False, good=False)
            continue
        reply = _limited(inner) or serve_within(world, endpoint, inner)
        body = msgspec.json.decode(reply.body) if reply.body else {}
        good = reply.status < 400  # noqa: PLR2004  # HTTP's own border
        answered[name] = body if good else None
        yield _Ended(item=_shown(reply, body), triggered=True, good=good)


def _shown(reply: Reply, body: object) -> Item:
    response = {"headers": {"content-type": JSON}, "status_code": reply.status, "body": body}
    return {"code": "SUCCESS", "details": {"response": response}, "message": _DONE, "status": "success"}


def _prepared(
    call: Call,
    given: Mapping[str, Any],
    position: int,
    answered: Answered,
    endpoints: Sequence[Endpoint],
) -> tuple[Endpoint, Call]:
    """Return the endpoint that a sub-request calls, and the call."""
    where = f"$.{KEY}[{position}]"
    try:
        told = {name: references.resolve(given.get(name), answered) for name in ("uri", "params", "body")}
    except UnresolvedError as unresolved:
        details = {"api_name": KEY, "json_path": where, "reference": unresolved.reference}
        raise _UntriggeredError("INVALID_REFERENCE", "invalid reference", details) from None
    path = _path(str(told["uri"]), where)
    found = _endpoint(endpoints, given["method"], path)
    if found is None or (given["method"] == "DELETE" and "ids" in (told["params"] or {})):
        raise _UntriggeredError("NOT_SUPPORTED", "this service is not supported", {"json_path": where})
    endpoint, slots = found
    headers = {str(name).lower(): str(value) for name, value in (given.get("headers") or {}).items()}
    inner = replace(
        call,
        method=given["method"],
        path=path,
        query={name: str(value) for name, value in (told["params"] or {}).items()},
        form={},
        slots=slots,
        headers={"authorization": call.headers.get("authorization", ""), **headers},
        body=msgspec.json.encode(told["body"]) if told["body"] is not None else b"",
    )
    return endpoint, _bounded(inner)


def _bounded(call: Call) -> Call:
    """Return a reading call that gives no more rows than it may, where it does not say how many."""
    if call.method == "GET":
        return replace(call, query={"per_page": str(MOST_ROWS), **call.query})
    query = msgspec.json.decode(call.body).get("select_query") if call.path.endswith("/coql") else None
    if not isinstance(query, str) or _LIMIT.search(query):
        return call
    return replace(call, body=msgspec.json.encode({"select_query": f"{query} limit {MOST_ROWS}"}))


def _check(given: Mapping[str, Any], where: str, *, known: bool) -> None:
    """Refuse a sub-request whose keys are missing or are not what they should be."""
    if known:
        details = {"api_name": "sub_request_id", "json_path": f"{where}.sub_request_id"}
        raise _UntriggeredError("DUPLICATE_DATA", "duplicate data", details)
    for name in ("uri", "method"):
        if not isinstance(given.get(name), str):
            details = {"api_name": name, "json_path": f"{where}.{name}"}
            raise _UntriggeredError("MANDATORY_NOT_FOUND", "required key not found", details)
    number = given.get("sub_request_id", "1")
    if not _ID.fullmatch(str(number)):
        raise _unfit("sub_request_id", where, regex=_ID.pattern)
    if given["method"] not in METHODS:
        raise _unfit("method", where, supported_values=METHODS)
    for name in ("params", "headers"):
        if not isinstance(given.get(name, {}), dict):
            raise _unfit(name, where, expected_data_type="jsonobject")
    if closed := [name for name in given.get("headers", {}) if name.lower() in RESTRICTED]:
        raise _unfit("headers", where, restricted_headers=closed)


def _path(uri: str, where: str) -> str:
    """Return the address that is called, in our version; a newer one than the composite's is not allowed."""
    match = _URI.fullmatch(uri)
    if match is None:
        raise _unfit("uri", where, regex=_URI.pattern)
    if int(match[2]) > VERSION:
        versions = {"sub_request_version": int(match[2]), "composite_request_version": VERSION}
        raise _UntriggeredError("NOT_ALLOWED", "this version is not allowed", versions)
    return f"/crm{match[1] or ''}/v{VERSION}{match[4]}"


def _unfit(name: str, where: str, **more: object) -> _UntriggeredError:
    return _UntriggeredError(
        "INVALID_DATA", "invalid data", {"api_name": name, "json_path": f"{where}.{name}", **more}
    )


def _endpoint(
    endpoints: Sequence[Endpoint], method: str, path: str
) -> tuple[Endpoint, dict[str, str]] | None:
    """Return the allowed endpoint at this address, the one with the fewest slots, and what they hold."""
    if _CLOSED.search(path):
        return None
    for endpoint in sorted(endpoints, key=lambda one: one.path.count("{")):
        pattern = re.sub(r"\{(\w+):str\}", r"(?P<\1>[^/]+)", endpoint.path)
        if method in endpoint.methods and (match := re.fullmatch(pattern, path)):
            return endpoint, match.groupdict()
    return None


def _limited(call: Call) -> Reply | None:
    """Return the refusal of a call that reads or writes too many rows for a composite request."""
    by, count, most = "per_page", call.query.get("per_page", "0"), MOST_ROWS
    if call.path.endswith("/coql"):
        found = _LIMIT.search(call.body.decode(errors="replace"))
        by, count = "limit", found[1] if found else "0"
    elif call.method != "GET":
        by, count, most = "data", str(_rows(call.body)), 1
    if not count.isdigit() or int(count) <= most:
        return None
    return json_reply(error_item("LIMIT_EXCEEDED", "limit exceeded", {"by": by, "limit": most}), status=400)


def _rows(body: bytes) -> int:
    given = msgspec.json.decode(body) if body else None
    data = given.get("data") if isinstance(given, dict) else None
    return len(data) if isinstance(data, list) else 0

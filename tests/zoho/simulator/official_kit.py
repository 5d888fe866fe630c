"""What the program that drives Zoho's own Python SDK is made of: steps, their record, plain values."""

import json
import sys
import urllib.request
from collections.abc import Callable
from datetime import datetime

from zohocrmsdk.src.com.zoho.crm.api import HeaderMap, ParameterMap
from zohocrmsdk.src.com.zoho.crm.api.record import BodyWrapper, Record
from zohocrmsdk.src.com.zoho.crm.api.record import record_operations as records
from zohocrmsdk.src.com.zoho.crm.api.util import Choice

BASE = sys.argv[1]
CONTACTS = records.RecordOperations("Contacts")
SEEN: dict[str, object] = {}


def step(name: str) -> Callable[[Callable[[], object]], None]:
    """Run the function now and keep what it returns; a failure of one step leaves the others alone."""

    def run(function: Callable[[], object]) -> None:
        try:
            SEEN[name] = function()
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises is what we came to see
            SEEN[name] = {"raised": f"{type(error).__name__}: {error} {getattr(error, 'details', '')}"}

    return run


def control(path: str, body: dict[str, object]) -> object:
    request = urllib.request.Request(  # noqa: S310 - a loopback address
        f"{BASE}/_control/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - the same
        return json.load(answer)


def params(*pairs: tuple[object, object]) -> ParameterMap:
    return _filled(ParameterMap(), pairs)


def headers(*pairs: tuple[object, object]) -> HeaderMap:
    return _filled(HeaderMap(), pairs)


def _filled(target: object, pairs: tuple[tuple[object, object], ...]) -> object:
    for name, value in pairs:
        target.add(name, value)
    return target


def value(of: object) -> object:
    return of.get_value() if isinstance(of, Choice) else of


def data(response: object) -> dict[str, object]:
    """Return status, class and the records of an answer."""
    body = response.get_object()
    rows = body.get_data() if hasattr(body, "get_data") else []
    return {
        "status": response.get_status_code(),
        "class": type(body).__name__,
        "rows": [{k: plain(v) for k, v in row.get_key_values().items()} for row in rows or ()],
        "info": {
            "count": body.get_info().get_count(),
            "more": body.get_info().get_more_records(),
            "token": body.get_info().get_next_page_token(),
        }
        if hasattr(body, "get_info") and body.get_info() is not None
        else None,
    }


def results(response: object, items: Callable[[object], list[object]] | None = None) -> dict[str, object]:
    """Return status, class and the results of a write."""
    body = response.get_object()
    each = items(body) if items else body.get_data()
    return {
        "status": response.get_status_code(),
        "class": type(body).__name__,
        "items": [
            {
                "class": type(item).__name__,
                "code": value(item.get_code()),
                "message": value(item.get_message()),
                "details": {k: plain(v) for k, v in (item.get_details() or {}).items()},
                **({"action": value(item.get_action())} if hasattr(item, "get_action") else {}),
            }
            for item in each
        ],
    }


def error(response: object) -> dict[str, object]:
    body = response.get_object()
    return {
        "status": response.get_status_code(),
        "class": type(body).__name__,
        "code": value(body.get_code()),
        "details": {k: plain(v) for k, v in (body.get_details() or {}).items()},
    }


def plain(of: object) -> object:
    if isinstance(of, datetime):
        return of.isoformat()
    if of is None or isinstance(of, bool | int | str | list | dict):
        return json.loads(json.dumps(of, default=str))
    return value(of) if isinstance(of, Choice) else type(of).__name__


def body_of(
    *rows: dict[str, object], trigger: list[str] | None = None, check: list[str] | None = None
) -> object:
    body, made = BodyWrapper(), []
    for row in rows:
        record = Record()
        for name, cell in row.items():
            if name == "id":
                record.set_id(cell)
            else:
                record.add_key_value(name, cell)
        made.append(record)
    body.set_data(made)
    if trigger is not None:
        body.set_trigger(trigger)
    if check is not None:
        body.set_duplicate_check_fields(check)
    return body

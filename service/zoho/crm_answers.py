"""CRM's answers: which are errors, in which of their shapes, and what a person should do about them.

Implements facts `zoho-crm` sections 1.3, 2.1, 2.5 and 7: errors stand at the top or inside `data[]`,
empty is 204 or 304, an old 429 has a number for its code, gateways answer HTML.
"""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from service.errors import Unreachable, ZohoDenied, ZohoError
from service.zoho.transport import Verdict
from service.zoho.wire import Answer

Row = Mapping[str, Any]

EXPIRED = {"INVALID_TOKEN", "AUTHENTICATION_FAILURE"}
THROTTLED = {"TOO_MANY_REQUESTS", "RATE_LIMIT_EXCEEDED"}
DENIED = {"OAUTH_SCOPE_MISMATCH", "NO_PERMISSION", "AUTHORIZATION_FAILED", *EXPIRED}
EMPTY = {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}
LARGEST_ERROR = 65_536
"""Bytes; a longer answer with a good status is no error envelope and is not parsed twice."""

TRANSIENT = {
    "RECORD_LOCKED",
    "NOT_APPROVED",
    "NOT_REVIEWED",
    "ALREADY_MODIFIED",
    "INTERNAL_ERROR",
    "INTERNAL_SERVER_ERROR",
    "SERVICE_UNAVAILABLE",
    *THROTTLED,
}
"""Codes of one record that may be gone later; ALREADY_MODIFIED after reading it again."""

ADVICE = {
    "OAUTH_SCOPE_MISMATCH": "make a refresh token with ZohoCRM.modules.ALL, ZohoCRM.coql.READ, "
    "ZohoCRM.settings.fields.READ and ZohoCRM.org.READ",
    "NO_PERMISSION": "give the profile of the API user access to this module and field",
    "AUTHORIZATION_FAILED": "give the profile of the API user access to this module and field",
    "INVALID_MODULE": "correct the name under [[crm.modules]] in policies/zoho.toml",
    "INVALID_QUERY": "correct the field under [crm] or [[crm.modules]] in policies/zoho.toml, or make it "
    "readable for the API user",
    "ALREADY_MODIFIED": "somebody wrote to the record in between: read it again",
    "RECORD_LOCKED": "the record is locked: try again later",
}

_PERSONAL = re.compile(r"\S+@\S+|1000\.[0-9A-Za-z.]{8,}")


def judge(answer: Answer) -> Verdict:
    """Return what the answer means for the transport: status first, code second."""
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Verdict.BROKEN
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS or (
        answer.status >= HTTPStatus.BAD_REQUEST and code(answer) in THROTTLED
    ):
        return Verdict.THROTTLED
    if answer.status == HTTPStatus.UNAUTHORIZED and code(answer) in EXPIRED:
        return Verdict.EXPIRED
    return Verdict.FINE


def code(answer: Answer) -> str:
    """Return Zoho's code of an error answer in any of its shapes, or `HTTP_<status>`."""
    found = _error(answer) or {}
    named = found.get("error") if isinstance(found.get("code"), int) else found.get("code")
    return str(named)[:60] if named else f"HTTP_{answer.status}"


def is_error(answer: Answer, named: str) -> bool:
    """Return whether the answer is the error `named`."""
    return answer.status >= HTTPStatus.BAD_REQUEST and code(answer) == named


def rows(answer: Answer, endpoint: str, *, key: str = "data", about: str = "") -> Sequence[Row]:
    """Return the rows of a read; raises `ZohoDenied` or `ZohoError` for either error shape.

    `about` names the module and fields that were asked for, for the person who reads the error.
    """
    if answer.status in EMPTY:
        return ()
    if answer.status >= HTTPStatus.BAD_REQUEST or _error(answer) is not None:
        raise failure(answer, endpoint, about=about)
    payload = answer.json(endpoint)
    found = payload.get(key) if isinstance(payload, dict) else None
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise Unreachable(
            f"CRM answered {endpoint} without {key!r}, which is not CRM v8: check CONSENT_ZOHO_CRM_URL",
            code="UNREADABLE",
            endpoint=endpoint,
        )
    return found


def single(answer: Answer, endpoint: str) -> Row:
    """Return the one object that an answer is; raises `ZohoDenied` or `ZohoError` for either error shape."""
    if answer.status >= HTTPStatus.BAD_REQUEST or _error(answer) is not None:
        raise failure(answer, endpoint)
    payload = answer.json(endpoint)
    if not isinstance(payload, dict):
        raise Unreachable(
            f"CRM answered {endpoint} with something else than an object; try again later",
            code="UNREADABLE",
            endpoint=endpoint,
        )
    return payload


def number(answer: Answer, endpoint: str, key: str) -> int:
    """Return the number under `key` of a read; raises `ZohoDenied` or `ZohoError` for either error shape."""
    if answer.status >= HTTPStatus.BAD_REQUEST or _error(answer) is not None:
        raise failure(answer, endpoint)
    payload = answer.json(endpoint)
    found = payload.get(key) if isinstance(payload, dict) else None
    if not str(found).isdecimal():
        raise Unreachable(
            f"CRM answered {endpoint} without a number in {key!r}; try again later",
            code="UNREADABLE",
            endpoint=endpoint,
        )
    return int(str(found))


def info(answer: Answer) -> Row:
    """Return the paging information of a read, empty if there is none."""
    if answer.status in EMPTY:
        return {}
    payload = msgspec.json.decode(answer.body)
    found = payload.get("info")
    return found if isinstance(found, dict) else {}


def failure(answer: Answer, endpoint: str, *, about: str = "") -> ZohoError:
    """Return the error that an answer means, with the advice that belongs to its code."""
    found = _error(answer) or {}
    named = code(answer)
    kind = (
        ZohoDenied
        if named in DENIED or answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
        else ZohoError
    )
    details = found.get("details")
    column = _column(details if isinstance(details, dict) else {})
    what = "; ".join(part for part in (f"field {column!r}" if column else "", about) if part)
    message = (
        f"CRM refuses {endpoint} ({named}: {scrub(found.get('message', ''))})"
        f"{f' for {what}' if what else ''}; "
        f"{ADVICE.get(named, 'look the code up in the CRM API guide')}"
    )
    return kind(message, code=named, endpoint=endpoint)


def items(answer: Answer, endpoint: str, expected: int) -> Sequence[Row]:
    """Return the per-record results of a write; raises if the answer is about the request instead."""
    payload = answer.json(endpoint)
    found = payload.get("data") if isinstance(payload, dict) else None
    if isinstance(found, list) and len(found) == expected and all(isinstance(item, dict) for item in found):
        return found
    raise failure(answer, endpoint)


def reason(item: Row) -> str:
    """Return why one record was refused, without anything personal."""
    named = str(item.get("code", ""))
    details = item.get("details")
    column = _column(details if isinstance(details, dict) else {})
    told = scrub(item.get("message", ""))
    return "; ".join(
        part for part in (told, f"field {column}" if column else "", ADVICE.get(named, "")) if part
    )


def scrub(text: object) -> str:
    """Return a product's own words, shortened, with addresses and tokens taken out."""
    return _PERSONAL.sub("<left out>", str(text))[:200]


def _error(answer: Answer) -> Row | None:
    """Return the error object of an answer: at the top, or alone in `data[]`."""
    if len(answer.body) > LARGEST_ERROR:
        return None
    try:
        payload = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(payload, dict):
        return None
    wrapped = payload.get("data")
    if isinstance(wrapped, list) and len(wrapped) == 1 and isinstance(wrapped[0], dict):
        payload = wrapped[0]
    is_error = payload.get("status") == "error" or (
        isinstance(payload.get("code"), int) and "error" in payload
    )
    return payload if is_error or (answer.status >= HTTPStatus.BAD_REQUEST and "code" in payload) else None


def _column(details: Row) -> str:
    named = details.get("column_name") or details.get("api_name") or details.get("param_name") or ""
    return scrub(named)

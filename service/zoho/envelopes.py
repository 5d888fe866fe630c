"""Campaigns' answers: success or error, whatever the status, the case of the keys and the format say. Pure.

Implements facts `zoho-campaigns` sections 0, 1.4, 1.5 and 7. The number and the endpoint decide, never
the text, with one exception: text that speaks of privilege makes "empty" an error, because reading
nothing where something is hidden would look like everybody's withdrawal of the withdrawal.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from xml.etree import ElementTree as ET

import msgspec

from service.errors import Unreachable, ZohoDenied, ZohoError
from service.zoho.crm_answers import scrub
from service.zoho.transport import Verdict
from service.zoho.wire import Answer

Row = Mapping[str, Any]

SUCCESS = {"0", "200"}
UNAUTHORIZED = {"1007", "401"}
CALLS_EXCEEDED = {"2008", "409909"}
GATEWAY_THROTTLE = b"URL_ROLLING_THROTTLES_LIMIT_EXCEEDED"
DENIED = {"901", "902", "2701", "2704", "6304", "6601", "6607", *UNAUTHORIZED}

EMPTY: Mapping[str, frozenset[str]] = {
    "getmailinglists": frozenset({"2401"}),
    "getlistsubscribers": frozenset({"2502"}),
    "getsegmentcontacts": frozenset({"2604", "2706"}),
    "recentcampaigns": frozenset({"6101"}),
    "getcampaignrecipientsdata": frozenset({"6302", "6303", "6501"}),
}
"""By endpoint: the codes that mean "no more rows"."""

ROW_KEYS = ("list_of_details", "segment_contacts", "recent_campaigns", "AB-split-details", "contacts")
LARGEST_ERROR = 16_384
"""Bytes; a longer answer with HTTP 200 is a listing and is not parsed twice."""

NOT_ROWS = {"list_details", "report"}
"""XML elements that hold cells and are no row of the list: what is said of the list, or inside a row."""

LARGEST_XML = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """One answer, whatever it looked like; `rows` is None where the answer carries no list."""

    ok: bool
    code: str
    message: str = ""
    rows: Sequence[Row] | None = None
    values: Row = field(default_factory=dict)

    def empty(self, endpoint: str) -> bool:
        """Return whether this is how `endpoint` says that there is nothing (more)."""
        return (
            not self.ok and self.code in EMPTY.get(endpoint, ()) and "privilege" not in self.message.lower()
        )


def judge(answer: Answer) -> Verdict:
    """Return what the answer means for the transport; Campaigns has four styles of "too many calls"."""
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS or (
        len(answer.body) < LARGEST_ERROR and GATEWAY_THROTTLE in answer.body
    ):
        return Verdict.THROTTLED
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Verdict.BROKEN
    named = code(answer)
    if named in CALLS_EXCEEDED:
        return Verdict.THROTTLED
    return (
        Verdict.EXPIRED if answer.status == HTTPStatus.UNAUTHORIZED or named in UNAUTHORIZED else Verdict.FINE
    )


def code(answer: Answer) -> str:
    """Return the code of a short answer as text, or `HTTP_<status>`."""
    if len(answer.body) > LARGEST_ERROR:
        return f"HTTP_{answer.status}"
    try:
        return _decode(answer).code or f"HTTP_{answer.status}"
    except ValueError:
        return f"HTTP_{answer.status}"


def read(answer: Answer, endpoint: str) -> Envelope:
    """Return the envelope of an answer, be it JSON or XML; raises `Unreachable` where it is neither."""
    try:
        return _decode(answer)
    except ValueError:
        pass
    raise Unreachable(
        f"Campaigns answered {endpoint} with something that is neither its JSON nor its XML "
        f"(HTTP {answer.status}); check CONSENT_ZOHO_CAMPAIGNS_URL, or try again later",
        code="UNREADABLE",
        endpoint=endpoint,
    )


def failure(envelope: Envelope, endpoint: str) -> ZohoError:
    """Return the error that an envelope means."""
    kind = ZohoDenied if envelope.code in DENIED or "privilege" in envelope.message.lower() else ZohoError
    advice = (
        "give the API user's role and refresh token access to it"
        if kind is ZohoDenied
        else "compare keys, labels and segments in policies/zoho.toml with Campaigns"
    )
    return kind(
        f"Campaigns refuses {endpoint} ({envelope.code}: {scrub(envelope.message)}); {advice}",
        code=envelope.code,
        endpoint=endpoint,
    )


def text(row: Row, *names: str) -> str | None:
    """Return the first of the named values that holds something; Campaigns writes nothing as "null"."""
    for name in names:
        value = row.get(name)
        if value is not None and (found := str(value).strip()) and found.lower() != "null":
            return found
    return None


def _decode(answer: Answer) -> Envelope:
    """Return the envelope; raises ValueError for bytes that are none."""
    body = answer.body.lstrip()
    if body.startswith(b"<"):
        return _from_xml(body)
    try:
        payload = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError("not JSON") from None
    if not isinstance(payload, dict):
        raise ValueError("not an object")  # noqa: TRY004  # the bytes are wrong, not a type of ours
    inner = payload.get("response")
    return _from_json(inner if isinstance(inner, dict) else payload)


def _from_json(payload: dict[str, Any]) -> Envelope:
    named = {key.lower(): value for key, value in payload.items()}
    code = "" if named.get("code") is None else str(named["code"])
    status = str(named.get("status", "")).lower()
    found = next((payload[key] for key in ROW_KEYS if _is_rows(payload.get(key))), None)
    ok = status != "error" and (code in SUCCESS or (not code and (status == "success" or found is not None)))
    return Envelope(ok=ok, code=code, message=str(named.get("message", "")), rows=found, values=payload)


def _is_rows(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)


def _from_xml(body: bytes) -> Envelope:
    """Return the envelope of an XML answer: what comes where `resfmt` was not understood.

    Entities are the only danger of a small document, so one that declares any is not parsed.
    """
    if len(body) > LARGEST_XML or b"<!DOCTYPE" in body.upper() or b"<!ENTITY" in body.upper():
        raise ValueError("not XML of Campaigns")
    try:
        root = ET.fromstring(body)  # noqa: S314  # bounded, and without declarations
    except ET.ParseError:
        raise ValueError("not XML") from None
    if root.tag.lower() == "html":
        raise ValueError("a gateway's page")
    code = _told(root, "code")
    status = _told(root, "status").lower()
    rows = list(_xml_rows(root))
    ok = status != "error" and (code in SUCCESS or (not code and bool(rows)))
    found = rows if rows or ok else None
    return Envelope(ok=ok, code=code, message=_told(root, "message"), rows=found)


def _told(root: ET.Element, name: str) -> str:
    """Return what an element says whose name an error may begin with a capital."""
    return (root.findtext(f".//{name}") or root.findtext(f".//{name.capitalize()}") or "").strip()


def _xml_rows(root: ET.Element) -> Iterator[Row]:
    """Yield each element that holds `<fl val="name">value</fl>` as a row."""
    for element in root.iter():
        if element.tag in NOT_ROWS:
            continue
        row = {str(fl.get("val")): fl.text for fl in element.findall("fl") if fl.get("val")}
        if row:
            yield row

"""Campaigns' contact fields, as `contact/allfields` tells them (facts zoho-campaigns, section 2)."""

from collections.abc import Sequence

from service.reconciler.audit.fields import LabelField
from service.zoho import envelopes
from service.zoho.envelopes import Row, text
from service.zoho.listings import BASE
from service.zoho.transport import Call, Transport

ENDPOINT = "contact/allfields"


def read(transport: Transport) -> Sequence[LabelField]:
    """Return all contact fields; an answer without any is an error, since the address is always one."""
    call = Call(method="GET", path=BASE + ENDPOINT, endpoint=ENDPOINT, params={"type": "json"})
    envelope = envelopes.read(transport.send(call), ENDPOINT)
    found = envelope.values.get("fieldnames")
    rows = found.get("fieldname", []) if isinstance(found, dict) else []
    fields = [_field(row) for row in rows if isinstance(row, dict) and text(row, "DISPLAY_NAME")]
    if not fields:
        raise envelopes.failure(envelope, ENDPOINT)
    return fields


def _field(row: Row) -> LabelField:
    """Return one field; nobody published what type and length are called, if they are told at all."""
    length = text(row, "MAX_LENGTH", "FIELD_LENGTH", "LENGTH") or ""
    return LabelField(
        label=text(row, "DISPLAY_NAME") or "",
        type=(text(row, "FIELD_TYPE", "DATA_TYPE", "UITYPE", "TYPE") or "").lower(),
        length=int(length) if length.isdecimal() else 0,
    )

"""From a sighting to a claim: what is recorded of it, under which key, and how its time is known. Pure.

The key is made of what was seen (product, campaign or state, time), never of the run, so that a crash
and a second run record nothing twice. Where a product tells no time, the event carries the moment of
our own sighting, and its evidence says so.
"""

import hashlib
from datetime import datetime
from typing import Any

from service.consent import Category, Provenance
from service.intake import Claim
from service.ledger.canonical import Json
from service.reconciler.context import Context
from service.reconciler.port import OutcomeKind
from service.vault.address import fold

CRM = "zoho-crm"
CAMPAIGNS = "zoho-campaigns"

CATEGORIES = {
    OutcomeKind.COMPLAINED.value: Category.COMPLAINT,
    OutcomeKind.BOUNCED_HARD.value: Category.BOUNCE_HARD,
    OutcomeKind.BOUNCED_SOFT.value: Category.BOUNCE_SOFT,
}


def outcome(context: Context, row: Any, at: datetime) -> Claim:  # noqa: ANN401  # a result row
    """Return the claim about a complaint or bounce of one campaign."""
    if row.happened_at is not None:
        known = "told by Campaigns"
    elif row.sent_at is not None and row.at == row.sent_at:
        known = "not told; the mail was sent then"
    else:
        known = "not told; seen then"
    evidence: dict[str, Json] = {
        "campaign": row.campaign_key,
        "outcome": row.kind,
        "time_known": known,
        "observed_at": _text(row.observed_at),
    }
    if row.sent_at is not None:
        evidence["sent_at"] = _text(row.sent_at)
    return _claim(
        context,
        CATEGORIES[row.kind],
        CAMPAIGNS,
        row,
        at=at,
        key=("outcome", row.campaign_key, row.kind, row.address_index),
        evidence=evidence,
    )


def list_bounce(context: Context, row: Any, at: datetime) -> Claim:  # noqa: ANN401  # a result row
    """Return the claim about somebody whom a list shows as bounced, while no campaign tells of it."""
    return _claim(
        context,
        Category.BOUNCE_HARD,
        CAMPAIGNS,
        row,
        at=at,
        key=("list-bounce", row.bounced_since, row.address_index),
        evidence={"list_status": "bounce", "time_known": "not told; seen then"},
        occurred_at=row.bounced_since,
    )


def withdrawal(context: Context, row: Any, at: datetime) -> Claim:  # noqa: ANN401  # a result row
    """Return the claim about somebody who left, by the sighting whose time is known best."""
    source, signal, when, known = _sighting(row)
    occurred_at = when
    if row.granted_at is not None and when < row.granted_at:
        known += ", not to the millisecond; in the same moment as the consent, which loses the tie"
        occurred_at = row.granted_at
    evidence: dict[str, Json] = {
        "signal": signal,
        "time_known": known,
        "crm_records_opted_out": row.opted_out,
        "crm_records": row.records,
        "campaigns_unsubscribed": row.unsubscribed > 0,
    }
    if row.crm_mode is not None:
        evidence["crm_unsubscribed_mode"] = row.crm_mode
    if row.permission is not None:
        evidence["marketing_permission"] = row.permission
    return _claim(
        context,
        Category.WITHDRAWN,
        source,
        row,
        at=at,
        key=("withdrawn", signal, when, row.address_index),
        evidence=evidence,
        occurred_at=occurred_at,
    )


def _sighting(row: Any) -> tuple[str, str, datetime, str]:  # noqa: ANN401  # a result row
    """Return (source, signal, time, how the time is known) of the sighting that is known best."""
    if row.left_stop and row.left_at == row.optout_told_at:
        return CAMPAIGNS, "unsubscribed", row.left_at, "told by Campaigns"
    if row.crm_stop and row.crm_told_at is not None:
        return CRM, "opted out", row.crm_at, "told by CRM"
    if row.crm_stop:
        return CRM, "opted out", row.crm_at, "not told; the record was last modified then"
    if row.left_stop:
        return CAMPAIGNS, "unsubscribed", row.left_at, "not told; seen then"
    return CAMPAIGNS, "permission refused", row.permission_since, "not told; seen then"


def _claim(
    context: Context,
    category: Category,
    source: str,
    row: Any,  # noqa: ANN401  # a result row
    *,
    at: datetime,
    key: tuple[object, ...],
    evidence: dict[str, Json],
    occurred_at: datetime | None = None,
) -> Claim:
    return Claim(
        category=category,
        source=source,
        key=_key(key),
        address=fold(context.vault.open_address(row.address)),
        purpose=context.governed,
        occurred_at=min(occurred_at or row.at, at),
        received_at=at,
        provenance=Provenance.OBSERVED,
        evidence=evidence,
        enforce=False,
    )


def _key(parts: tuple[object, ...]) -> str:
    text = "\n".join(
        part.hex() if isinstance(part, bytes) else _text(part) if isinstance(part, datetime) else str(part)
        for part in parts
    )
    return f"observed:{hashlib.sha256(text.encode()).hexdigest()}"


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

"""A look-up is an event: who asked about whom, for what, before anything is answered."""

import secrets
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from service.consent import Category
from service.errors import Malformed
from service.intake.claim import Claim
from service.ledger.canonical import Json
from service.vault import Vault

SHORTEST_REASON: Final = 3
LONGEST_REASON: Final = 500


def stated(reason: str, *, what: str = "ask", field: str = "purpose_of_lookup") -> str:
    """Return why somebody does `what`, in single spaces; raises `Malformed` for too little or too much."""
    reason = " ".join(reason.split())
    if not SHORTEST_REASON <= len(reason) <= LONGEST_REASON:
        raise Malformed(
            f"say why you {what}, in {SHORTEST_REASON} to {LONGEST_REASON} characters; it is recorded",
            field=field,
        )
    return reason


def look_up(
    vault: Vault, tx: Connection, *, address: str, actor: str, reason: str, asked_for: str, at: datetime
) -> Claim:
    """Return the claim that records a look-up of a parsed address; record it before answering.

    For an address that is not known there is nobody to seal the reason under: the claim names nobody,
    and the address stands in it as its keyed hash. Who asked is sealed: the signed line names no staff.
    """
    subject = vault.find(tx, address)
    evidence: dict[str, Json] = {"purpose_of_lookup": reason, "actor": actor, "asked_for": asked_for}
    if subject is None:
        evidence["address_index"] = vault.address_index(address).hex()
    return Claim(
        category=Category.ACCESS,
        source="auditor",
        key=secrets.token_hex(16),
        subject=subject,
        received_at=at,
        evidence=evidence,
    )

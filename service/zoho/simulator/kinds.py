"""The kinds of trouble (and of harmless news) that an organisation is planted with, as one table.

Each kind is a share of the people, at least one of them, and no person is of two kinds.
"""

from dataclasses import dataclass
from enum import StrEnum

from service.zoho.simulator.names import GRANTED, REFUSED


class Twin(StrEnum):
    """A second CRM record with the same address, and what its Email_Opt_Out says."""

    NONE = "none"
    SAME = "same"
    OPTED_OUT = "opted out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What both products say about a person of this kind; `status` None means not in Campaigns at all."""

    key: str
    share: float
    is_drift: bool = True
    opted_out: bool = False
    mode: str | None = None
    newsletter: bool = True
    status: str | None = "active"
    dnm: str | None = None
    permission: str = GRANTED
    outcome: str | None = None
    outcomes: int = 1
    twin: Twin = Twin.NONE


KINDS = (
    Kind(
        key="unsubscribed_not_in_crm",
        share=0.020,
        status="unsub",
        dnm="self",
        outcome="optoutcontacts",
    ),
    Kind(key="hard_bounce_not_in_crm", share=0.008, status="bounce", outcome="senthardbounce"),
    Kind(key="repeated_soft_bounce_not_in_crm", share=0.002, outcome="sentsoftbounce", outcomes=3),
    Kind(key="complaint_not_in_crm", share=0.002, status="unsub", dnm="complaint", outcome="spamcontacts"),
    Kind(key="duplicate_contradiction", share=0.006, twin=Twin.OPTED_OUT),
    Kind(key="opted_out_by_hand", share=0.010, opted_out=True, mode="Manual"),
    Kind(key="permission_refused_in_campaigns", share=0.008, permission=REFUSED),
    Kind(key="list_lag_missing", share=0.006, status=None),
    Kind(key="list_lag_stale", share=0.004, newsletter=False),
    Kind(
        key="opted_out_both",
        share=0.030,
        is_drift=False,
        opted_out=True,
        mode="Zoho campaigns",
        status="unsub",
        dnm="self",
        permission=REFUSED,
        outcome="optoutcontacts",
    ),
    Kind(
        key="hard_bounced_both",
        share=0.003,
        is_drift=False,
        opted_out=True,
        mode="Manual",
        status="bounce",
        permission=REFUSED,
        outcome="senthardbounce",
    ),
    Kind(key="single_soft_bounce", share=0.010, is_drift=False, outcome="sentsoftbounce"),
    Kind(key="duplicate_harmless", share=0.005, is_drift=False, twin=Twin.SAME),
)

ORDINARY = Kind(key="ordinary", share=0.0, is_drift=False)
"""Everybody else: mailed by both, and nobody knows whether they ever agreed."""

FEWEST = len(KINDS)
"""The smallest organisation that holds one of each kind."""


def numbers(people: int) -> dict[str, int]:
    """Return how many people are of each kind in an organisation of `people`."""
    return {kind.key: max(1, round(people * kind.share)) for kind in KINDS}

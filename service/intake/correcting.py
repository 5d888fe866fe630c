"""Corrections: an entry that an operator got wrong stops counting, and stays where it is.

Three verbs are kept apart: a withdrawal is a person's word, an erasure forgets them, a correction undoes
what somebody recorded about the wrong one. It is an entry of its own that names the other, with the
reason and who did it. What a person said by their own hand is not corrected here: they say it anew.
A correction that stops mail counts at once. One after which mail may flow again, or need not be stopped
any more, is proposed, and counts once two different people with the role approver agreed; what it then
gives back is what the remaining evidence is worth, no more.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from service.consent import GRANTS, REFUSALS, Category, Event, Provenance, Standing, State, SubjectId
from service.errors import Forbidden, KeyReused, Malformed, ServiceError, UnknownSubject, Unsafe
from service.intake import Intake
from service.intake.claim import MADE, Claim
from service.intake.corrections import Correction, find
from service.ledger.canonical import Json
from service.ledger.entry import commit, decode

APPROVER: Final = "approver"
PROPOSERS: Final = frozenset({APPROVER, "legal", "privacy"})
"""Roles that may propose a correction; those who merely look people up, or run the service, do not."""
NEEDED: Final = 2  # different people who agree before anybody may be mailed again
CORRECTABLE: Final = GRANTS | REFUSALS | {Category.REQUESTED, Category.SUPPRESSION_ADDED}
BY_HAND: Final = frozenset({"operator", "phone", "paper", "script"})
"""Controls (consent-record.md) by which somebody else recorded what a person is said to have said."""
PROPOSED: Final = "proposed"
APPROVED: Final = "approved"
SHORTEST_REASON: Final = 3
LONGEST_REASON: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who asks, with the role that their account has now, and where they said so."""

    account: str
    role: str
    via: str


def propose(
    intake: Intake, who: Person, address: str, entry: int, reason: str, *, now: datetime
) -> Correction:
    """Record that `entry` about a parsed address is wrong, or propose it where that lets mail flow again.

    Raises `UnknownSubject` where the address is not known, `Forbidden` for another role, and `Malformed` for
    an entry that cannot be corrected.
    """
    if who.role not in PROPOSERS:
        raise Forbidden(f"the role {who.role} may not correct; ask one of {', '.join(sorted(PROPOSERS))}")
    reason = " ".join(reason.split())
    if not SHORTEST_REASON <= len(reason) <= LONGEST_REASON:
        raise Malformed("say in 3 to 500 characters what went wrong; it is recorded", field="reason")
    with intake.db.read() as tx:
        sub = intake.vault.find(tx, address)
        if sub is None:
            raise UnknownSubject("no person of this address is known, so there is nothing to correct")
        events = intake.events(tx, sub)
        _require_correctable(intake, tx, events, entry)
        widens = _widens(intake, tx, sub, events, entry, now)
    told: dict[str, Json] = {"corrects": entry, "reason": reason, "actor": who.account, "via": who.via}
    step = PROPOSED if widens else MADE
    index = _record(intake, sub, {**told, "step": step}, key=f"{entry}\n{reason}\n{who.account}", at=now)
    return find(intake, index)


def approve(intake: Intake, who: Person, proposal: int, *, now: datetime) -> Correction:
    """Record that a person agrees to a proposed correction; the second of two makes it count.

    Raises `Forbidden` for another role, `NotFound` for no such proposal, `Malformed` for one that counts
    already or a second word of the same person, `Unsafe` where the evidence does not stand any more.
    """
    if who.role != APPROVER:
        raise Forbidden(f"the role {who.role} may not approve; ask an account that is {APPROVER}")
    found = find(intake, proposal)
    sub = found.subject
    if found.made is not None:
        raise Malformed(f"correction {proposal} counts already, by entry {found.made}")
    if who.account in found.approved_by:
        raise Malformed(f"{who.account} has agreed to correction {proposal} already")
    with intake.db.read() as tx:
        events = intake.events(tx, sub)
        _require_correctable(intake, tx, events, found.corrects)
        _widens(intake, tx, sub, events, found.corrects, now)
    told: dict[str, Json] = {"corrects": found.corrects, "proposal": proposal, "reason": found.reason}
    said: dict[str, Json] = {**told, "step": APPROVED, "actor": who.account, "via": who.via}
    _record(intake, sub, said, key=f"{proposal}\n{who.account}", at=now)
    found = find(intake, proposal)
    if len(found.approved_by) >= NEEDED and found.made is None:
        made: dict[str, Json] = {**told, "step": MADE, "actor": found.proposed_by}
        agreed: list[Json] = [*sorted(found.approved_by)[:NEEDED]]
        _record(intake, sub, {**made, "approved_by": agreed}, key=f"{proposal}\n{MADE}", at=now)
    return find(intake, proposal)


def _require_correctable(intake: Intake, tx: Connection, events: Sequence[Event], entry: int) -> None:
    """Raise `Malformed` unless the entry is one that somebody else recorded about this person."""
    event = next((one for one in events if one.index == entry), None)
    if event is None or event.category not in CORRECTABLE:
        raise Malformed("no consent, refusal or suppression of this person has this number", field="entry")
    if any(one.corrects == entry for one in events):
        raise Malformed(f"entry {entry} was corrected already", field="entry")
    opening = intake.vault.open_payload(tx, entry)
    control = None if opening is None else opening.fields.get("control")
    if event.provenance not in (Provenance.IMPORT, Provenance.BACKFILL) and control not in BY_HAND:
        raise Malformed(
            "this is the person's own word, or what a product showed; only what an import or an operator "
            "recorded can be corrected, everything else is answered by a new event",
            field="entry",
        )


def _widens(  # noqa: PLR0917  # as read by `propose`
    intake: Intake, tx: Connection, sub: SubjectId, events: Sequence[Event], entry: int, now: datetime
) -> bool:
    """Return whether mail may flow again, or need not be stopped, once `entry` does not count.

    Raises `Unsafe` where that would rest on evidence that is not there any more.
    """
    correction = Event(
        index=max(event.index for event in events) + 1,
        category=Category.CORRECTION,
        purpose=None,
        occurred_at=now,
        recorded_at=now,
        source="correction",
        corrects=entry,
    )
    before = intake.standings(tx, sub, now, events)
    after = intake.standings(tx, sub, now, [*events, correction])
    wider = [new for old, new in zip(before, after, strict=True) if _is_wider(old, new)]
    for new in wider:
        if new.state is State.PERMITTED:
            _require_evidence(intake, tx, new)
    return bool(wider)


def _is_wider(old: Standing, new: Standing) -> bool:
    """Return whether a standing permits more than another, or will once what suppresses it has passed."""
    if old.suppressed is not None and new.suppressed is None:
        return True
    if old.state is State.PERMITTED and new.state is State.PERMITTED:
        return _end(new) > _end(old)
    refused_no_more = old.state is State.REFUSED and new.state is not State.REFUSED
    return refused_no_more or (new.state is State.PERMITTED and old.state is not State.PERMITTED)


def _end(one: Standing) -> float:
    return math.inf if one.valid_until is None else one.valid_until.timestamp()


def _require_evidence(intake: Intake, tx: Connection, stands: Standing) -> None:
    assert stands.decided_by is not None, "what permits was decided by an entry"
    index = stands.decided_by
    opening = intake.vault.open_payload(tx, index)
    signed = decode(intake.store.entries(tx, [index])[index])
    if opening is None or commit(opening.fields, opening.event_salt) != signed.commitment:
        raise Unsafe(f"the evidence of entry {index}, which would permit again, does not stand any more")


def _record(intake: Intake, sub: SubjectId, evidence: Mapping[str, Json], *, key: str, at: datetime) -> int:
    """Append one entry about a correction and return its index; the same word said twice is one entry."""
    claim = Claim(
        category=Category.CORRECTION,
        source="correction",
        key=key,
        subject=sub,
        received_at=at,
        evidence=evidence,
    )
    [outcome] = intake.record([claim])
    if isinstance(outcome, KeyReused) and evidence["step"] == MADE:
        return outcome.index  # two agreed at the same moment, and the other's word made it count
    if isinstance(outcome, ServiceError):
        raise outcome
    return outcome.index

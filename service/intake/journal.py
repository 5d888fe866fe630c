"""How a claim becomes entries, and what is written beside them in the same transaction.

The sequencer calls `prepare` outside the lock and the rest inside it. A claim about an address
that is new opens a person first: `subject.opened` and the event are one submission, so that
neither exists without the other.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import uuid_utils
from sqlalchemy import Connection, Table, delete, insert

from service.consent import STOPS, Category, Event, SubjectId
from service.db import Database, happening, payload, standing, subject, subject_key, task
from service.errors import ServiceError
from service.intake.claim import Claim, grade
from service.intake.projection import events_of, row_of, standings
from service.ledger.canonical import Json, canonical
from service.ledger.entry import Entry, Opening, commit, encode
from service.ledger.sequencer import Placed, Submission
from service.ledger.store import LOG_ID
from service.policy import PolicySet
from service.vault import Vault
from service.vault.directory import NewSubject
from service.vault.keys import KEY, Keys

NOBODY = SubjectId(bytes(KEY))
"""Stands for the log itself where an entry is about no person; has a key of its own in the vault."""
CONSENT = frozenset(
    {
        Category.REQUESTED,
        Category.GRANTED,
        Category.CONFIRMED,
        Category.REFUSED,
        Category.WITHDRAWN,
        Category.BOUNCE_HARD,
        Category.BOUNCE_SOFT,
        Category.COMPLAINT,
        Category.SUPPRESSION_ADDED,
        Category.SUPPRESSION_LIFTED,
    }
)
"""Categories that can change what a history adds up to."""
_CHUNK = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What `prepare` hands to `attach`: the claim, whose it is, and what is to be sealed.

    `opens` is the person that this claim opens; `awaits` one whom an earlier claim of the call opens.
    """

    claim: Claim
    sub: SubjectId
    key: bytes | None
    opens: NewSubject | None
    awaits: NewSubject | None
    opening: Opening | None
    grade: str


class ClaimJournal:
    """The journal of claims: makes entries of them and keeps everything derived in step."""

    def __init__(self, db: Database, vault: Vault, keys: Keys, policy: PolicySet) -> None:
        self._db = db
        self._vault = vault
        self._keys = keys
        self._policy = policy
        self._digest = policy.digest.hex()

    def prepare(self, drafts: Sequence[Claim]) -> Sequence[Submission | ServiceError]:
        """Return signed entries for each claim; a person seen twice in one call is opened once."""
        indexes = {c.address: self._vault.address_index(c.address) for c in drafts if c.address is not None}
        with self._db.read() as tx:
            found = self._vault.find_many(tx, list(indexes.values()))
            subs = [*found.values(), *(c.subject for c in drafts if c.subject is not None), NOBODY]
            keys = self._vault.keys_of(tx, list(dict.fromkeys(subs)))
        opened: dict[str, NewSubject] = {}
        made: list[Submission | ServiceError] = []
        for claim in drafts:
            sub = claim.subject if claim.address is None else found.get(indexes[claim.address])
            try:
                made.append(self._submission(self._person(claim, sub, keys, opened)))
            except ServiceError as error:
                made.append(error)
        return made

    def stale(self, tx: Connection, submissions: Sequence[Submission]) -> frozenset[int]:
        """Return the claims whose person somebody else opened, or did not open, in the meantime."""
        contexts = [_context(submission) for submission in submissions]
        new = [context.opens or context.awaits for context in contexts]
        known = self._vault.find_many(tx, list({person.address_index for person in new if person is not None}))
        late: set[int] = set()
        for position, (context, person) in enumerate(zip(contexts, new, strict=True)):
            if person is None:
                continue
            if context.opens is not None:
                known.setdefault(person.address_index, person.sub)
            if known.get(person.address_index) != person.sub:
                late.add(position)
        return frozenset(late)

    def attach(self, tx: Connection, placed: Sequence[Placed]) -> None:
        """Write persons, keys, payloads, events, standings and tasks for what was just appended."""
        rows: dict[Table, list[dict[str, Any]]] = {
            t: [] for t in (subject, subject_key, payload, happening, task)
        }
        opened: set[SubjectId] = set()
        for place in placed:
            context = _context(place.submission)
            if context.opens is not None and len(place.hashes) > 1:
                opened.add(context.sub)
                self._open(rows, context.opens, place)
            self._attach_event(rows, context, place)
        for table, values in rows.items():
            if values and table is not task:
                tx.execute(insert(table), values)
        self._stand(tx, placed, opened)
        if rows[task]:
            tx.execute(insert(task), rows[task])

    def _person(
        self, claim: Claim, sub: SubjectId | None, keys: dict[bytes, bytes], opened: dict[str, NewSubject]
    ) -> Prepared:
        """Return the claim with its person: known, opened by an earlier claim of this call, or new."""
        opens = awaits = None
        if claim.address is None:
            sub = sub or NOBODY
        elif sub is None and (awaits := opened.get(claim.address)) is None:
            opens = opened[claim.address] = self._vault.create(claim.address)
        new = opens or awaits
        sub = sub or (NOBODY if new is None else new.sub)
        key = keys.get(sub) if new is None else new.key
        fields = _fields(claim, grade(claim), self._digest)
        opening = None if key is None else Opening(event_salt=secrets.token_bytes(KEY), fields=fields)
        return Prepared(
            claim=claim, sub=sub, key=key, opens=opens, awaits=awaits, opening=opening, grade=grade(claim)
        )

    def _submission(self, prepared: Prepared) -> Submission:
        claim = prepared.claim
        entries = [] if prepared.opens is None else [self._opening_entry(prepared.opens, claim.received_at)]
        return Submission(
            key=self._keyed(f"{claim.source}\n{claim.key}".encode()),
            request=self._keyed(b"request\n" + _request(claim)),
            entries=(*entries, self._entry(prepared)),
            context=prepared,
        )

    def _keyed(self, data: bytes) -> bytes:
        return hmac.digest(self._keys.dedupe, data, "sha256")

    def _opening_entry(self, opens: NewSubject, at: datetime) -> bytes:
        extra: dict[str, Json] = {"dk": _b64(opens.dk), "dv": _b64(opens.dv)}
        return encode(Entry(category=Category.SUBJECT_OPENED, at=at, extra=extra), self._keys.ingest)

    def _entry(self, prepared: Prepared) -> bytes:
        claim, opening = prepared.claim, prepared.opening
        entry = Entry(
            category=claim.category,
            at=claim.received_at,
            occurred_at=claim.happened_at,
            id=str(uuid_utils.uuid7()),
            subject=None if prepared.sub == NOBODY else prepared.sub,
            commitment=None if opening is None else commit(opening.fields, opening.event_salt),
            source=claim.source,
            source_number=claim.source_number,
        )
        return encode(entry, self._keys.ingest)

    def _open(self, rows: dict[Table, list[dict[str, Any]]], opens: NewSubject, place: Placed) -> None:
        rows[subject].append(
            {
                "sub": opens.sub,
                "address_index": opens.address_index,
                "dk": opens.dk,
                "r": opens.r,
                "version": opens.version,
                "opened_idx": place.first,
                "address": opens.address,
            }
        )
        rows[subject_key].append({"sub": opens.sub, "kek_id": self._keys.kek_id, "wrapped": opens.wrapped})
        context = _context(place.submission)
        rows[happening].append(
            row_of(context.claim, opens.sub, place.first, "F", category=Category.SUBJECT_OPENED)
        )

    def _attach_event(
        self, rows: dict[Table, list[dict[str, Any]]], context: Prepared, place: Placed
    ) -> None:
        claim = context.claim
        if context.sub != NOBODY:
            rows[happening].append(row_of(claim, context.sub, place.index, context.grade))
        if context.opening is not None and context.key is not None:
            sealed = self._vault.seal_payload(context.key, place.hashes[-1], context.opening)
            rows[payload].append({"log_id": LOG_ID, "idx": place.index, "sub": context.sub, "sealed": sealed})
        if claim.enforce and claim.category in STOPS and context.sub != NOBODY:
            rows[task].append(self._task(claim, context.sub, place.index))

    def _task(self, claim: Claim, sub: SubjectId, index: int) -> dict[str, Any]:
        jurisdiction = self._policy.jurisdiction(claim.country)
        due_at, rule = self._policy.stop_by(claim.received_at, jurisdiction, address=claim.address or "")
        return {
            "sub": sub,
            "cause_idx": index,
            "received_at": claim.received_at,
            "due_at": due_at,
            "due_rule": rule.id,
            "state": "open",
            "attempts": 0,
            "not_before": claim.received_at,
        }

    def _stand(self, tx: Connection, placed: Sequence[Placed], opened: set[SubjectId]) -> None:
        """Fold again the history of everybody whose standing can have changed."""
        touched = {
            _context(p.submission).sub for p in placed if _context(p.submission).claim.category in CONSENT
        }
        touched.discard(NOBODY)
        if not touched:
            return
        events = events_of(tx, list(touched))
        rows = [row for sub in touched for row in self._standing_rows(sub, events.get(sub, []))]
        for part in _chunks(list(touched - opened)):
            tx.execute(delete(standing).where(standing.c.sub.in_(part)))
        tx.execute(insert(standing), rows)

    def _standing_rows(self, sub: SubjectId, events: list[Event]) -> Iterable[dict[str, Any]]:
        at = max(event.recorded_at for event in events)
        for found in standings(events, self._policy, at):
            yield {
                "sub": sub,
                "purpose": found.purpose,
                "state": found.state,
                "reason": found.reason,
                "suppressed": found.suppressed,
                "must_stop": int(found.must_stop),
                "decided_by": found.decided_by,
                "decided_at": found.decided_at,
                "suppressed_by": found.suppressed_by,
                "valid_until": found.valid_until,
            }


def _context(submission: Submission) -> Prepared:
    assert isinstance(submission.context, Prepared), "this journal made every submission it is shown"
    return submission.context


def _fields(claim: Claim, graded: str, digest: str) -> dict[str, Json]:
    """Return what is sealed and committed to: the evidence, and the rules it was judged under."""
    fields: dict[str, Json] = {
        **claim.evidence,
        "provenance": str(claim.provenance),
        "grade": graded,
        "policy": digest,
    }
    if claim.address is not None:
        fields["email"] = claim.address
    if claim.purpose is not None:
        fields["purpose"] = claim.purpose
    if claim.country is not None:
        fields["country"] = claim.country
    if claim.valid_until is not None:
        fields["valid_until"] = claim.valid_until.isoformat()
    return fields


def _request(claim: Claim) -> bytes:
    """Return the bytes that tell a retry from another request: all but when and how it reached us."""
    told: dict[str, Json] = {
        "category": str(claim.category),
        "address": claim.address,
        "subject": None if claim.subject is None else claim.subject.hex(),
        "purpose": claim.purpose,
        "occurred_at": None if claim.occurred_at is None else claim.occurred_at.isoformat(),
        "provenance": str(claim.provenance),
        "evidence": hashlib.sha256(canonical(dict(claim.evidence))).hexdigest(),
        "country": claim.country,
        "source_number": claim.source_number,
    }
    return canonical(told)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _chunks(items: Sequence[bytes]) -> Iterable[Sequence[bytes]]:
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))

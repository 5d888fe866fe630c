"""How a claim becomes signed entries: whose it is, what is sealed, what is committed to.

Needs the keys and nothing of the database: what must be looked up is handed in.
"""

import base64
import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import uuid_utils

from service.consent import STOPS, Category, SubjectId
from service.consent.proving import PROVING, Shown, objections
from service.errors import UnknownSubject
from service.intake.claim import CONSENTS, MEETS, UNMET, Claim, grade
from service.intake.suppression import Token, admit
from service.ledger.batch import Submission
from service.ledger.canonical import Json, canonical
from service.ledger.entry import Entry, Opening, commit, encode
from service.ledger.mac import Mac
from service.ledger.merkle import leaf_hash
from service.policy import Place, PolicySet
from service.vault import Vault
from service.vault.directory import NewSubject
from service.vault.keys import KEY, Keys

NOBODY = SubjectId(bytes(KEY))
"""Stands for the log itself where an entry is about no person; has a key of its own in the vault."""


PLACED = CONSENTS | STOPS
"""Categories whose entry says whose law it was judged under."""


@dataclass(slots=True, kw_only=True)
class Known:
    """What the vault knows about the persons of one call; `opened` grows as new ones are met.

    `crm` tells where people are, by keyed address and by person. `tokens` are those of addresses that are
    kept out, `erasures` how many persons were erased until then.
    """

    indexes: Mapping[str, bytes]
    subjects: Mapping[bytes, SubjectId]
    keys: Mapping[bytes, bytes]
    opened: dict[bytes, NewSubject]
    crm: Mapping[bytes, str] = field(default_factory=dict)
    tokens: Mapping[bytes, Token] = field(default_factory=dict)
    erasures: int = 0


@dataclass(frozen=True, slots=True)
class Prepared:
    """A claim with its person, and what is to be written beside its entries.

    `new` is a person whom nobody knew when this was prepared; `opens` tells whether this claim's
    own submission opens them, or an earlier one of the same call. `sealed` is the payload, None where
    nothing is sealed. `erasures` as in `Known`; `crm` is what CRM tells about where the person is, `hint`
    what their address tells. `unmet` as in `Recorded`.
    """

    claim: Claim
    sub: SubjectId
    new: NewSubject | None
    opens: bool
    sealed: bytes | None
    grade: str
    erasures: int
    crm: str | None
    hint: str | None
    unmet: tuple[str, ...] = ()


class Maker:
    """Makes submissions of claims."""

    def __init__(self, vault: Vault, keys: Keys, policy: PolicySet) -> None:
        self._vault = vault
        self._keys = keys
        self._dedupe = Mac(keys.dedupe)
        self._policy = policy
        self._digest = policy.digest.hex()

    def submission(self, claim: Claim, known: Known) -> Submission:
        """Return the signed entries of one claim; raises `Malformed` if its evidence cannot be signed."""
        request = self._keyed(b"request\n" + _request(claim))
        crm, hint = _crm(claim, known), self._policy.atlas.hint(claim.address)
        place = self._policy.atlas.place(country=claim.country, crm=crm, hint=hint)
        claim = self._admitted(claim, known)
        sub, new, opens = self._person(claim, known)
        graded, unmet = grade(claim), self._unmet(claim, place)
        key, opening = known.keys.get(sub) if new is None else new.key, None
        if key is not None:
            fields = {**_fields(claim, graded), **self._judged(claim, place, unmet)}
            opening = Opening(event_salt=secrets.token_bytes(KEY), fields=fields)
        entry = self._entry(claim, sub, opening)
        entries: tuple[bytes, ...] = (entry,)
        if new is not None and opens:
            known.opened[new.address_index] = new
            entries = (self._opening_entry(new.dk, new.dv, claim.received_at), entry)
        elif claim.veiled:
            entries = (self._veil(claim.received_at), entry)
        sealed = None
        if key is not None and opening is not None:
            sealed = self._vault.seal_payload(key, leaf_hash(entry), opening)
        return Submission(
            key=self._keyed(f"{claim.source}\n{claim.key}".encode()),
            request=request,
            entries=entries,
            context=Prepared(
                claim,
                sub,
                new,
                opens,
                sealed,
                graded,
                known.erasures,
                crm,
                hint,
                tuple(f"{rule}: {why}" for rule, why in unmet.items()),
            ),
        )

    def _admitted(self, claim: Claim, known: Known) -> Claim:
        """Return what of a claim may be recorded; raises `UnknownSubject` or `KeptOut` for the erased."""
        if claim.subject is not None and claim.subject not in known.keys:
            raise UnknownSubject(
                "this person is not known, or was erased; nothing more is recorded about them"
            )
        if claim.address is None or not known.tokens:
            return claim
        index = known.indexes[claim.address]
        return admit(claim, known.tokens.get(index), returned=index in known.subjects)

    def _person(self, claim: Claim, known: Known) -> tuple[SubjectId, NewSubject | None, bool]:
        """Return whom a claim is about, who they are if nobody knew them, and whether it opens them."""
        if claim.address is None:
            return claim.subject or NOBODY, None, False
        index = known.indexes[claim.address]
        if (found := known.subjects.get(index)) is not None:
            return found, None, False
        if (earlier := known.opened.get(index)) is not None:
            return earlier.sub, earlier, False
        new = self._vault.create(claim.address, index, version=_version(known, index))
        return new.sub, new, True

    def _unmet(self, claim: Claim, place: Place) -> Mapping[str, str]:
        """Return rules in force that a consent does not meet by itself, each with why.

        What only the history shows is for the fold, as is what a confirmation shows by its request.
        """
        if (came := claim.brought) is None or claim.purpose is None:
            return {}
        at = claim.happened_at
        shown = Shown(brought=came, at=at, asked_at=at, implied=claim.ground is not None)
        if claim.category is Category.CONFIRMED:
            shown = replace(shown, brought=came | PROVING)
        found = objections(self._policy.rules(claim.purpose, place.jurisdiction).proofs, shown)
        return {proof.rule: why for proof, why in found if proof.counts}

    def _judged(self, claim: Claim, place: Place, unmet: Iterable[str]) -> dict[str, Json]:
        """Return the set and the law that a claim is judged under, why that law, and what it misses."""
        told: dict[str, Json] = {"policy": self._digest}
        if claim.category not in PLACED:
            return told
        told |= {"jurisdiction": place.jurisdiction, "jurisdiction_reason": place.reason}
        return {**told, UNMET: ", ".join(unmet) or MEETS} if claim.category in CONSENTS else told

    def _keyed(self, data: bytes) -> bytes:
        return self._dedupe(data)

    def _veil(self, at: datetime) -> bytes:
        """Return an entry that opens nobody and looks like one that does; no address leads to it."""
        return self._opening_entry(secrets.token_bytes(KEY), secrets.token_bytes(KEY), at)

    def _opening_entry(self, dk: bytes, dv: bytes, at: datetime) -> bytes:
        extra: dict[str, Json] = {"dk": _b64(dk), "dv": _b64(dv)}
        return encode(Entry(category=Category.SUBJECT_OPENED, at=at, extra=extra), self._keys.ingest)

    def _entry(self, claim: Claim, sub: SubjectId, opening: Opening | None) -> bytes:
        entry = Entry(
            category=claim.category,
            at=claim.received_at,
            occurred_at=claim.happened_at,
            id=str(uuid_utils.uuid7()),
            subject=None if sub == NOBODY else sub,
            commitment=None if opening is None else commit(opening.fields, opening.event_salt),
            source=claim.source,
            source_number=claim.source_number,
        )
        return encode(entry, self._keys.ingest)


def _version(known: Known, index: bytes) -> int:
    """Return how often the address will stand in the directory, this time included (tlog.md 3.4)."""
    token = known.tokens.get(index)
    return 1 if token is None else token.versions + 1


def _crm(claim: Claim, known: Known) -> str | None:
    """Return what CRM tells about where the person of a claim is."""
    if claim.address is not None:
        return known.crm.get(known.indexes[claim.address])
    return None if claim.subject is None else known.crm.get(claim.subject)


def _fields(claim: Claim, graded: str) -> dict[str, Json]:
    """Return what is sealed and committed to: the evidence, and what it is worth."""
    told: dict[str, Json] = {
        "email": claim.address,
        "purpose": claim.purpose,
        "country": claim.country,
        "valid_until": None if claim.valid_until is None else claim.valid_until.isoformat(),
    }
    fields: dict[str, Json] = {**claim.evidence, **{name: v for name, v in told.items() if v is not None}}
    return {**fields, "provenance": claim.provenance.value, "grade": graded}


def _request(claim: Claim) -> bytes:
    """Return the bytes that tell a retry from another request: all but when and how it reached us."""
    told: dict[str, Json] = {
        "category": claim.category.value,
        "address": claim.address,
        "subject": None if claim.subject is None else claim.subject.hex(),
        "purpose": claim.purpose,
        "occurred_at": None if claim.occurred_at is None else claim.occurred_at.isoformat(),
        "provenance": claim.provenance.value,
        "evidence": hashlib.sha256(canonical(dict(claim.evidence))).hexdigest(),
        "country": claim.country,
        "valid_until": None if claim.valid_until is None else claim.valid_until.isoformat(),
        "source_number": claim.source_number,
    }
    return canonical(told)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()

"""What a source tells, what it gets back, and how good its evidence is. Pure."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from service.consent import GRANTS, Category, Ground, Provenance, SubjectId, brought
from service.consent.event import OWN_WORDS
from service.errors import Malformed
from service.ledger.canonical import Json
from service.ledger.proof import Receipt, encode_proof

FUTURE = timedelta(minutes=5)
"""How far a source's clock may run ahead of ours before its times are refused."""
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
LONGEST_SOURCE = 200  # characters; the name stands in every entry
SHOWN = ("notice_sha256", "control", "page_url")
"""Evidence that shows what a person saw and did (Recital 42 GDPR: how, when, what they were told)."""
RESTED = ("fact", "fact_at", "source_system")
"""Evidence that shows what an implied consent rests on: the fact, its day, and where that is written."""
CONSENTS = GRANTS | {Category.REQUESTED}
"""Categories whose evidence rules look at."""
UNMET = "rules_unmet"
"""Sealed with a consent: ids of the rules in force that it did not meet when it came, or `MEETS`."""
MEETS = "none"
MADE = "made"
"""The step of a correction that counts; "proposed" and "approved" lead to it."""
CHECKED = frozenset({"mail loop", "login", "document"})
"""Ways to know that the address is the person's own (consent-record.md, identity_check)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One event as a source tells it.

    `key` is the source's idempotency key, unique for ever. Exactly one of `address` (normalised)
    and `subject` names the person; an `access` may name neither. `purpose` None is every purpose.
    `evidence` is sealed; its names are those of consent-record.md. `country` is as the source
    writes it. `enforce` writes a task that carries a stop to both products. `veiled` appends as many
    entries about somebody known as about somebody new, so that the log's size does not tell which.
    """

    category: Category
    source: str
    key: str
    received_at: datetime
    address: str | None = None
    subject: SubjectId | None = None
    purpose: str | None = None
    occurred_at: datetime | None = None
    provenance: Provenance = Provenance.LIVE
    evidence: Mapping[str, Json] = field(default_factory=dict)
    country: str | None = None
    enforce: bool = True
    valid_until: datetime | None = None
    source_number: int | None = None
    veiled: bool = False

    @property
    def ground(self) -> Ground | None:
        """Return what an implied consent rests on; None for everything else.

        Raises `Malformed` where the fact or its day is missing: without them no clock could run.
        """
        if self.category not in GRANTS or self.evidence.get("basis") != "implied":
            return None
        fact, told, met = (self.evidence.get(name) for name in ("fact", "fact_at", "conditions"))
        if not isinstance(fact, str) or not isinstance(told, str):
            raise Malformed("an implied consent names its fact, and the fact's day", field="evidence.fact")
        try:
            day = datetime.combine(date.fromisoformat(told[:10]), time(), tzinfo=UTC)
        except ValueError:
            raise Malformed(
                "the day of a fact is written like 2026-01-31", field="evidence.fact_at"
            ) from None
        conditions = frozenset(map(str, met)) if isinstance(met, list | tuple) else frozenset[str]()
        return Ground(fact=fact, at=day, conditions=conditions)

    @property
    def brought(self) -> frozenset[str] | None:
        """Return names of the evidence of a consent that rules may look at; None for everything else."""
        return brought(self.evidence) if self.category in CONSENTS else None

    @property
    def corrects(self) -> int | None:
        """Return the entry that does not count from now on; None for all but corrections that were made."""
        return corrected_by(self.category, self.evidence)

    @property
    def clocks_from(self) -> datetime:
        """Return when the clocks of a stop began (UTC): when the person first told anybody of it.

        A bounce is nobody's word, and a list of suppressions seldom: these count from our own receipt.
        """
        told = self.happened_at if self.category in OWN_WORDS else self.received_at
        return min(told, self.received_at)

    @property
    def happened_at(self) -> datetime:
        """Return when it happened (UTC), as far as anybody knows."""
        return (self.occurred_at or self.received_at).astimezone(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One event as the ledger has it; `receipt` is what the source keeps.

    `unmet` are rules of evidence that a consent does not meet by itself, each with why: it does not count.
    """

    index: int
    entry: bytes
    proof: tuple[bytes, ...]
    checkpoint: bytes
    duplicate: bool
    subject: SubjectId | None
    unmet: tuple[str, ...] = ()

    def receipt(self) -> bytes:
        """Return the C2SP tlog-proof file: entry, place, proof and signed checkpoint."""
        return encode_proof(
            Receipt(index=self.index, entry=self.entry, proof=self.proof, checkpoint_note=self.checkpoint)
        )


def require_sense(claim: Claim, purposes: Container[str]) -> None:
    """Raise `Malformed`, naming the field, for a claim that contradicts itself, the clock or the policy."""
    if claim.address is not None and claim.subject is not None:
        raise Malformed("a claim names a person once, by address or by subject", field="email")
    if claim.address is None and claim.subject is None and claim.category is not Category.ACCESS:
        raise Malformed("a claim must say whom it is about", field="email")
    if claim.purpose is not None and claim.purpose not in purposes:
        raise Malformed("no purpose of this name is declared in policies/purposes.toml", field="purpose")
    if not claim.source.isprintable() or len(claim.source) > LONGEST_SOURCE:
        raise Malformed(f"a source is named in at most {LONGEST_SOURCE} printable characters", field="source")
    _ = claim.ground  # raises what is wrong with it
    if claim.source_number is not None and claim.source_number < 0:
        raise Malformed("a source counts its events from 0 upwards", field="source_number")
    for name in ("key", "address", "country"):
        if not _is_unicode(getattr(claim, name) or ""):
            raise Malformed("a text holds half of a surrogate pair, which is not Unicode", field=name)
    for name in ("occurred_at", "valid_until"):
        _require_time(getattr(claim, name), name)
    if claim.occurred_at is not None and claim.occurred_at > claim.received_at + FUTURE:
        raise Malformed("this time lies in the future; check the clock of the source", field="occurred_at")


def kept_of(category: Category, evidence: Mapping[str, Json]) -> str | None:
    """Return what the row of an entry keeps of the evidence that came with it, by what is sealed.

    None for all but consents, and for those that were recorded before this was kept.
    """
    if category not in CONSENTS or UNMET not in evidence:
        return None
    return ",".join(sorted(brought(evidence)))


def corrected_by(category: Category, evidence: Mapping[str, Json]) -> int | None:
    """Return the entry that a correction corrects, by what is sealed; None for one that was only proposed."""
    told = evidence.get("corrects")
    made = category is Category.CORRECTION and evidence.get("step") == MADE
    return told if made and isinstance(told, int) else None


def _is_unicode(text: str) -> bool:
    return text.isascii() or text.encode(errors="replace").decode() == text


def _require_time(moment: datetime | None, name: str) -> None:
    if moment is None:
        return
    if moment.utcoffset() is None:
        raise Malformed("a time needs its offset from UTC, like 2026-01-31T09:30:00+01:00", field=name)
    if not EARLIEST <= moment <= LATEST:
        raise Malformed(f"a time lies between {EARLIEST:%Y} and {LATEST:%Y}; check the source", field=name)


def grade(claim: Claim) -> str:
    """Return the evidence grade, 'A' (full, live, mailbox confirmed) to 'F' (an assertion without any).

    Shown and checked is A when the mailbox itself answered, B for a login; shown alone is C; live
    without is D, as is an import that brings its evidence along; what we only observed is E. An implied
    consent shows what it rests on instead of a notice.
    """
    shown = all(claim.evidence.get(name) for name in (SHOWN if claim.ground is None else RESTED))
    check = claim.evidence.get("identity_check")
    match claim.provenance:
        case Provenance.LIVE if shown and (check == "mail loop" or claim.category is Category.CONFIRMED):
            return "A"
        case Provenance.LIVE if shown and isinstance(check, str) and check in CHECKED:
            return "B"
        case Provenance.LIVE:
            return "C" if shown else "D"
        case Provenance.OBSERVED:
            return "E"
        case _:
            return "D" if shown and claim.occurred_at is not None else "F"

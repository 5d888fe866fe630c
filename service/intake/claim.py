"""What a source tells, what it gets back, and how good its evidence is. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from service.consent import Category, Provenance, SubjectId
from service.ledger.canonical import Json
from service.ledger.proof import Receipt, encode_proof

SHOWN = ("notice_sha256", "control", "page_url")
"""Evidence that shows what a person saw and did (Recital 42 GDPR: how, when, what they were told)."""
CHECKED = frozenset({"mail loop", "login", "document"})
"""Ways to know that the address is the person's own (consent-record.md, identity_check)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One event as a source tells it.

    `key` is the source's idempotency key, unique for ever. Exactly one of `address` (normalised)
    and `subject` names the person; an `access` may name neither. `purpose` None is every purpose.
    `evidence` is sealed; its names are those of consent-record.md. `country` is as the source
    writes it. `enforce` writes a task that carries a stop to both products.
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

    @property
    def happened_at(self) -> datetime:
        """Return when it happened, as far as anybody knows."""
        return self.occurred_at or self.received_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One event as the ledger has it; `receipt` is what the source keeps."""

    index: int
    entry: bytes
    proof: tuple[bytes, ...]
    checkpoint: bytes
    duplicate: bool
    subject: SubjectId | None

    def receipt(self) -> bytes:
        """Return the C2SP tlog-proof file: entry, place, proof and signed checkpoint."""
        return encode_proof(
            Receipt(index=self.index, entry=self.entry, proof=self.proof, checkpoint_note=self.checkpoint)
        )


def grade(claim: Claim) -> str:
    """Return the evidence grade, 'A' (full, live, mailbox confirmed) to 'F' (an assertion without any).

    Shown and checked is A when the mailbox itself answered, B for a login; shown alone is C; live
    without is D, as is an import that brings its evidence along; what we only observed is E.
    """
    shown = all(claim.evidence.get(name) for name in SHOWN)
    check = claim.evidence.get("identity_check")
    match claim.provenance:
        case Provenance.LIVE if shown and (check == "mail loop" or claim.category is Category.CONFIRMED):
            return "A"
        case Provenance.LIVE if shown and check in CHECKED:
            return "B"
        case Provenance.LIVE:
            return "C" if shown else "D"
        case Provenance.OBSERVED:
            return "E"
        case _:
            return "D" if shown and claim.occurred_at is not None else "F"

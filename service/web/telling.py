"""Say a history in plain words: what the auditors' page shows. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from service.consent import GRANTS, Category, Standing
from service.intake.claim import MEETS, UNMET
from service.ledger.canonical import Json
from service.ledger.note import split_note
from service.ledger.proof import Checkpoint
from service.policy import PolicySet
from service.reports.history import History, Record

_TITLES: Final = {
    "consent.requested": "Asked for consent; waits for confirmation",
    "consent.granted": "Consent given",
    "consent.confirmed": "Consent confirmed by mail",
    "consent.refused": "Consent refused",
    "consent.withdrawn": "Consent withdrawn",
    "bounce.hard": "Mail bounced for good",
    "bounce.soft": "Mail bounced for now",
    "bounce.unknown": "Mail came back, for a reason that says nothing about the mailbox",
    "complaint": "Complained of spam",
    "suppression.added": "Put on the suppression list",
    "suppression.lifted": "Taken off the suppression list",
    "enforcement": "Carried out",
    "correction": "An earlier entry was corrected",
    "access": "Looked up",
    "scanner.fetched": "A mail scanner fetched the link",
    "erasure": "Personal data erased",
    "subject.opened": "First seen: the person's record was opened",
}
_TONES: Final = {
    "consent.granted": "go",
    "consent.confirmed": "go",
    "consent.refused": "stop",
    "consent.withdrawn": "stop",
    "bounce.hard": "stop",
    "complaint": "stop",
    "suppression.added": "stop",
    "access": "quiet",
    "subject.opened": "quiet",
    "scanner.fetched": "quiet",
}
_GRADES: Final = {
    "A": "full, live, and the mailbox answered",
    "B": "live, and the person was identified",
    "C": "live, with what was shown and done",
    "D": "incomplete",
    "E": "only observed in another system",
    "F": "asserted, nothing to show for it",
}
_PROVENANCES: Final = {
    "live": "recorded as it happened",
    "import": "imported",
    "backfill": "added later",
    "observed": "observed in a product",
}
_SOURCES: Final = {
    "form": "web form",
    "api": "program",
    "auditor": "auditor",
    "one-click": "one-click unsubscribe",
    "confirmation": "link of the confirmation mail",
    "zoho-crm": "Zoho CRM",
    "zoho-campaigns": "Zoho Campaigns",
    "correction": "correction",
    "suppression list": "suppression list",
    "ledger": "this ledger",
}
_LABELS: Final = {
    "notice_version": "Version of the notice",
    "notice_sha256": "SHA-256 of the notice",
    "notice_id": "Notice",
    "language": "Language",
    "control": "What the person used",
    "page_url": "On the page",
    "form_id": "Form",
    "ip": "IP address",
    "user_agent": "Browser",
    "collection_method": "How it was collected",
    "purpose_of_lookup": "Purpose of the look-up",
    "actor": "Asked by",
    "asked_for": "Asked for",
    "identity_check": "How the mailbox was checked",
    "confirms": "Confirms entry",
    "corrects": "Corrects entry",
    "reason": "Reason",
    "step": "Step",
    "proposal": "Proposed by entry",
    "approved_by": "Agreed to by",
    "told_as": "Its source called it",
    UNMET: "Rules that it does not meet",
    "reason_class": "Class of the stop",
    "target": "Where",
    "field": "Field",
    "to": "Written",
    "code": "Answer",
    "answer_sha256": "SHA-256 of the answer",
    "read_back": "Read back",
    "cause": "Because of entry",
    "country": "Country",
    "campaign": "Campaign",
}
_ORDER: Final = {name: place for place, name in enumerate(_LABELS)}
_SAID_ABOVE: Final = frozenset(
    {"category", "purpose", "provenance", "grade", "email", "notice_copy", "policy"}
)
_LATE: Final = timedelta(minutes=1)  # what is recorded later than this says both times
_GRADED: Final = "event"
_PROVES: Final = GRANTS | {Category.REQUESTED}
"""Categories whose evidence decides whether they count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """May the person be mailed for one purpose; `tone` is go, stop or unsure."""

    purpose: str
    headline: str
    tone: str
    reasons: tuple[str, ...]
    decided_by: int | None
    decided_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One entry of the timeline; `evidence` are labels with values, `notice` the words shown.

    `learnt_later` tells that it had happened by the moment asked for, and was not known then. `rules` is the
    digest of the policies in force, empty where the entry names none.
    """

    index: int
    title: str
    tone: str
    purpose: str
    source: str
    occurred_at: datetime
    recorded_at: datetime
    late: bool
    quality: str
    notice: str
    evidence: tuple[tuple[str, str], ...]
    learnt_later: bool
    rules: str
    leaf_hash: str
    proof_length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the page says; `root` is the checkpoint's root in hex."""

    known: bool
    now: tuple[Verdict, ...]
    then: tuple[Verdict, ...]
    as_of: datetime | None
    asked_at: datetime
    lines: tuple[Line, ...]
    origin: str
    size: int
    root: str
    log_key: str
    confirmed: str | None


def tell(found: History, policy: PolicySet) -> Told:
    """Return the history as the page shows it; the checkpoint in it has been verified by who made it."""
    head = Checkpoint.parse(split_note(found.checkpoint)[0])
    return Told(
        known=found.subject is not None,
        now=tuple(_verdict(one, policy) for one in found.now),
        then=tuple(_verdict(one, policy) for one in found.then or ()),
        as_of=found.as_of,
        asked_at=found.asked_at,
        lines=tuple(_line(record, policy, found.as_of) for record in found.records),
        origin=found.origin,
        size=found.size,
        root=head.root.hex(),
        log_key=found.log_key,
        confirmed=None if found.confirmed is None else found.confirmed.words(),
    )


def _verdict(one: Standing, policy: PolicySet) -> Verdict:
    headline, tone = "Do not mail: there is no permission", "unsure"
    if one.may_mail:
        headline, tone = "May be mailed", "go"
    elif one.must_stop:
        headline, tone = "Must not be mailed", "stop"
    return Verdict(
        purpose=policy.purposes[one.purpose].title,
        headline=headline,
        tone=tone,
        reasons=one.reasons,
        decided_by=one.decided_by if one.suppressed_by is None else one.suppressed_by,
        decided_at=one.decided_at if one.suppressed_by is None else None,
    )


def _line(record: Record, policy: PolicySet, as_of: datetime | None) -> Line:
    evidence = record.evidence or {}
    graded = record.mark == _GRADED
    return Line(
        index=record.index,
        title=_TITLES.get(record.category.value, record.category.value),
        tone=_TONES.get(record.category.value, "plain"),
        purpose=_purpose(record, policy) if graded else "",
        source=_source(record.source),
        occurred_at=record.occurred_at,
        recorded_at=record.recorded_at,
        late=record.recorded_at - record.occurred_at > _LATE,
        quality=_quality(record) if graded else "",
        notice=str(evidence.get("notice_copy", "")),
        evidence=_rows(evidence),
        learnt_later=record.learnt_after(as_of),
        rules=str(evidence.get("policy", "")),
        leaf_hash=record.leaf_hash.hex(),
        proof_length=len(record.proof),
    )


def _purpose(record: Record, policy: PolicySet) -> str:
    if record.purpose is None:
        return "every purpose"
    known = policy.purposes.get(record.purpose)
    return record.purpose if known is None else known.title


def _source(source: str) -> str:
    kind, _, name = source.partition(":")
    return f"{_SOURCES.get(kind, kind)} {name}".strip()


def _quality(record: Record) -> str:
    """Return how good the evidence is; nobody has to prove that they want no mail."""
    how = _PROVENANCES.get(record.provenance or "", "")
    if record.category not in _PROVES or record.grade is None:
        return how
    return f"{how}; evidence {record.grade}: {_GRADES.get(record.grade, '')}"


def _rows(evidence: Mapping[str, Json]) -> tuple[tuple[str, str], ...]:
    met = {UNMET} if evidence.get(UNMET) == MEETS else set[str]()
    told = evidence.keys() - _SAID_ABOVE - met
    names = sorted(told, key=lambda name: (_ORDER.get(name, len(_ORDER)), name))
    return tuple(
        (_LABELS.get(name, name.replace("_", " ").capitalize()), str(evidence[name])) for name in names
    )

"""`POST /api/events`: programs tell what happened, one event or up to 1,000, and get receipts.

A body is either understood as a whole or refused as a whole; inside an array each event is judged by
itself, so that one bad event does not cost the others.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Final, Literal

import msgspec
from litestar import Response, post
from litestar.di import NamedDependency

from service.consent import GRANTS, STOPS, Category, Provenance
from service.consent.bounces import Bounce, classify
from service.errors import Malformed, ServiceError, TooLarge, Unavailable
from service.intake import Claim
from service.ledger.canonical import Json
from service.ledger.merkle import leaf_hash
from service.policy import PolicySet
from service.vault import address as addresses
from service.web.auth import EVENTS_WRITE, Program
from service.web.edge import Edge
from service.web.keyed import program
from service.web.problems import Problem, describe
from service.web.recording import idempotency_key, record, record_many
from service.web.returning import Outcome
from service.web.strict import EVENTS_BYTES, AnyRequest, Asked, convert, read_json

MAX_EVENTS: Final = 1_000
_ENCODER: Final = msgspec.json.Encoder()
_LEEWAY: Final = timedelta(minutes=5)  # how far a source's clock may be ahead of ours
_FIRST_DAY = datetime(1990, 1, 1, tzinfo=UTC)  # nobody consented to marketing mail before
_BOUNCES: Final = {
    Category.BOUNCE_HARD: Bounce.HARD,
    Category.BOUNCE_SOFT: Bounce.SOFT,
    Category.BOUNCE_UNKNOWN: Bounce.UNKNOWN,
}
_EVERY_PURPOSE = STOPS | _BOUNCES.keys()
"""Categories that may leave out the purpose, and then mean every one."""

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
LongText = Annotated[str, msgspec.Meta(min_length=1, max_length=2_000)]
Hash = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Aware = Annotated[datetime, msgspec.Meta(tz=True)]
Key = Annotated[str, msgspec.Meta(pattern="^[!-~]{1,200}$")]
Control = Literal["tick", "button", "link", "post", "phone", "paper", "script", "operator"]
Told = Literal[
    "consent.granted",
    "consent.requested",
    "consent.confirmed",
    "consent.refused",
    "consent.withdrawn",
    "bounce.hard",
    "bounce.soft",
    "bounce.unknown",
    "complaint",
    "suppression.added",
]
"""What a source may tell; everything else is for the ledger itself to say."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What supports an event; sealed, and opened for auditors only. Hashes are SHA-256 in hex.

    What spoils a consent (`prechecked`, `bundled`, `excess_data`, `opt_out_signal`) is recorded, and the
    consent then does not count where a rule forbids it. `own_initiative` is true where nobody asked the
    person to come back. An implied consent (`basis`) names the fact that it rests on, such as purchase or
    inquiry, the fact's day, and which conditions of the policies were met, such as refusal_offered.
    """

    notice_id: Text | None = None
    notice_version: Text | None = None
    notice_sha256: Hash | None = None
    language: Text | None = None
    privacy_policy_version: Text | None = None
    control: Control | None = None
    page_url: LongText | None = None
    ip: Text | None = None
    user_agent: LongText | None = None
    collection_method: Text | None = None
    form_id: Text | None = None
    source_system: Text | None = None
    identity_check: Literal["none", "mail loop", "login", "document"] | None = None
    file_sha256: Hash | None = None
    import_batch: Text | None = None
    campaign: Text | None = None
    smtp_status: Text | None = None
    diagnostic: LongText | None = None
    note: LongText | None = None
    prechecked: bool | None = None
    bundled: bool | None = None
    excess_data: bool | None = None
    opt_out_signal: bool | None = None
    own_initiative: bool | None = None
    basis: Literal["express", "implied"] | None = None
    fact: Text | None = None
    fact_at: date | None = None
    conditions: Annotated[tuple[Text, ...], msgspec.Meta(max_length=10)] | None = None


class EventIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One event as a source tells it; `key` only inside arrays, alone the header Idempotency-Key."""

    category: Told
    email: Annotated[str, msgspec.Meta(min_length=3, max_length=500)]
    purpose: Text | None = None
    occurred_at: Aware | None = None
    provenance: Literal["live", "import", "backfill"] = "live"
    source_number: Annotated[int, msgspec.Meta(ge=0)] | None = None
    country: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    evidence: Evidence = Evidence()
    key: Key | None = None


class EventOut(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one event; `receipt` is a C2SP tlog-proof file, `leaf_hash` hex.

    `unmet` are rules of evidence that a consent does not meet where the person is, each with why: it is
    recorded, and lets nobody be mailed.
    """

    status: Literal["recorded", "duplicate", "refused"]
    index: int | None = None
    leaf_hash: str | None = None
    receipt: str | None = None
    problem: Problem | None = None
    unmet: tuple[str, ...] = ()


@post("/api/events", name="events")
async def post_events(request: AnyRequest, edge: NamedDependency[Edge]) -> Response[bytes]:
    """Record one event, or each of an array; `shortcut` answers before this, where it can."""
    status, body = await take_events(request, edge)
    return Response(body, status_code=status, media_type="application/json")


async def take_events(request: Asked, edge: Edge) -> tuple[int, bytes]:
    """Record one event, or each of an array, and return the answer's status and body."""
    sender = await program(edge, request, EVENTS_WRITE)
    header = idempotency_key(request)
    value = await read_json(request, EVENTS_BYTES)
    if not isinstance(value, list):
        if header is None:
            raise Malformed(
                "send the header Idempotency-Key, so that a retry is not a second event",
                field="Idempotency-Key",
            )
        recorded = await record(edge, _claim(edge, sender, value, header, at=""))
        return 200 if recorded.duplicate else 201, _ENCODER.encode(_told(recorded, ""))
    return await _take_many(edge, sender, value, header)


async def _take_many(
    edge: Edge, sender: Program, values: list[object], header: str | None
) -> tuple[int, bytes]:
    if len(values) > MAX_EVENTS:
        raise TooLarge(f"an array has at most {MAX_EVENTS} events; send the rest in another request")
    if not values:
        raise Malformed("an array has at least one event")
    claims = [_judge(edge, sender, value, header, place) for place, value in enumerate(values)]
    outcomes = await record_many(edge, claims)
    if all(isinstance(outcome, Unavailable) for outcome in outcomes):
        raise outcomes[0]  # type: ignore[misc]  # the line above says that it is an error
    told = [_told(outcome, f"events[{place}]") for place, outcome in enumerate(outcomes)]
    statuses = {one.status for one in told}
    status = 201 if statuses == {"recorded"} else 200 if statuses == {"duplicate"} else 207
    return status, _ENCODER.encode(told)


def _judge(
    edge: Edge, sender: Program, value: object, header: str | None, place: int
) -> Claim | ServiceError:
    """Return the claim at `place` of an array, or why it is refused."""
    try:
        return _claim(
            edge, sender, value, None if header is None else f"{header} {place}", at=f"events[{place}]"
        )
    except ServiceError as error:
        return error


def _claim(edge: Edge, sender: Program, value: object, key: str | None, *, at: str) -> Claim:
    """Return what an event claims; raises `Malformed` that names the field."""
    event = convert(value, EventIn, at=at)
    if event.key is not None and not at:
        raise Malformed("a single event's key is the header Idempotency-Key", field="key")
    key = event.key or key
    if key is None:
        raise Malformed("give each event a key, or send the header Idempotency-Key", field="key")
    return claim_of(event, key, source=f"api:{sender.name}", policy=edge.policy, now=edge.now())


def claim_of(event: EventIn, key: str, *, source: str, policy: PolicySet, now: datetime) -> Claim:
    """Return what an event claims; raises `Malformed`, naming the field, for what nobody may claim.

    A bounce is recorded as what its status code says it is, with the source's word beside it.
    """
    told = Category(event.category)
    category = _bounced(event, told) if told in _BOUNCES else told
    _require_purpose(event, category, policy)
    _require_time(event, now)
    _require_evidence(event, category, policy)
    return Claim(
        category=category,
        source=source,
        key=key,
        address=addresses.parse(event.email),
        purpose=event.purpose,
        occurred_at=None if event.occurred_at is None else event.occurred_at.astimezone(UTC),
        received_at=now,
        provenance=Provenance(event.provenance),
        evidence={**_sealed(event.evidence), **({} if category is told else {"told_as": told.value})},
        country=event.country,
        source_number=event.source_number,
    )


def _bounced(event: EventIn, told: Category) -> Category:
    """Return what kind of bounce this is; `Malformed` for what is none, such as a vacation reply."""
    evidence = event.evidence
    found = classify(_BOUNCES[told], status=evidence.smtp_status or "", diagnostic=evidence.diagnostic or "")
    if found is Bounce.NONE:
        raise Malformed(
            "this is no bounce: the status or the text says that the mail arrived; nothing was recorded",
            field="evidence.smtp_status" if evidence.smtp_status else "evidence.diagnostic",
        )
    return next(category for category, kind in _BOUNCES.items() if kind is found)


def _require_purpose(event: EventIn, category: Category, policy: PolicySet) -> None:
    if event.purpose is None and category not in _EVERY_PURPOSE:
        raise Malformed(f"{category} is about one purpose; name it", field="purpose")
    if event.purpose is not None and event.purpose not in policy.purposes:
        raise Malformed("no purpose of this name is declared in policies/purposes.toml", field="purpose")


def _require_time(event: EventIn, now: datetime) -> None:
    if event.occurred_at is None:
        if event.provenance != "live":
            raise Malformed("what is imported or backfilled says when it occurred", field="occurred_at")
    elif not _FIRST_DAY <= event.occurred_at <= now + _LEEWAY:
        raise Malformed(
            "this time lies in the future or before 1990; check the source's clock", field="occurred_at"
        )


def _require_evidence(event: EventIn, category: Category, policy: PolicySet) -> None:
    """Refuse a live grant without what the policy demands of each; what the law demands is judged later."""
    if category not in GRANTS or category is Category.CONFIRMED or event.provenance != "live":
        return
    if event.evidence.basis == "implied":
        return  # nobody was shown any words; the fact, its day and the rules decide
    for name, rule in policy.demands(event.purpose).items():
        if not getattr(event.evidence, name, None):
            raise Malformed(
                f"a live grant is recorded only with this evidence ({rule})", field=f"evidence.{name}"
            )


def _sealed(evidence: Evidence) -> Mapping[str, Json]:
    fields: dict[str, Json] = msgspec.to_builtins(evidence)
    return fields


def _told(outcome: Outcome, at: str) -> EventOut:
    if isinstance(outcome, ServiceError):
        return EventOut(status="refused", problem=describe(outcome, at=at))
    return EventOut(
        status="duplicate" if outcome.duplicate else "recorded",
        index=outcome.index,
        leaf_hash=leaf_hash(outcome.entry).hex(),
        receipt=outcome.receipt().decode(),
        unmet=outcome.unmet,
    )

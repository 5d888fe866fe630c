"""Questions of programs about one person: `/api/history`, `/api/standing`, `/api/bundle`.

All take the same body and need the scope `history:read`; addresses travel in bodies, never in URLs.
"""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from litestar import Response, post
from litestar.di import NamedDependency

from service.consent import Standing
from service.ledger.entry import format_time
from service.reports.history import to_json
from service.web.auth import HISTORY_READ, Program
from service.web.edge import Edge
from service.web.keyed import program
from service.web.lookups import Question, ask_bundle, ask_history, question
from service.web.strict import QUESTION_BYTES, AnyRequest, convert, read_json


class QuestionIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom a program asks about, and why; the purpose is recorded in the ledger before the answer."""

    email: Annotated[str, msgspec.Meta(min_length=3, max_length=500)]
    purpose_of_lookup: Annotated[str, msgspec.Meta(min_length=3, max_length=500)]
    as_of: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class BundleIn(QuestionIn, frozen=True, kw_only=True):
    """A question for a bundle; `with_staff` opens what names staff: for auditors, never for the person."""

    with_staff: bool = False


class StandingOut(msgspec.Struct, frozen=True, kw_only=True):
    """May this person be mailed for one purpose, and why; `decided_by` is an index in the log.

    `rule` is the id of the rule that decided, `policy` the digest of its set, `warnings` what rules say that
    are not in force.
    """

    purpose: str
    may_mail: bool
    must_stop: bool
    state: str
    reasons: tuple[str, ...]
    decided_by: int | None
    decided_at: str | None
    rule: str | None
    policy: str
    warnings: tuple[str, ...]


class StandingsOut(msgspec.Struct, frozen=True, kw_only=True):
    """One answer per purpose of the policy, as of `at`.

    `confirmed` says how much of a past answer is confirmed by other clocks than ours.
    """

    at: str
    confirmed: str | None
    standings: tuple[StandingOut, ...]


@post("/api/history", name="history")
async def post_history(request: AnyRequest, edge: NamedDependency[Edge]) -> Response[bytes]:
    """Return every event of an address, oldest first, with evidence and proofs; unknown: an empty history."""
    found = await ask_history(edge, await _question(request, edge))
    return Response(msgspec.json.encode(to_json(found)), status_code=200, media_type="application/json")


@post("/api/standing", name="standing")
async def post_standing(request: AnyRequest, edge: NamedDependency[Edge]) -> Response[bytes]:
    """Return whether an address may be mailed, purpose by purpose."""
    found = await ask_history(edge, await _question(request, edge))
    at = found.as_of or found.asked_at
    told = StandingsOut(
        at=format_time(at),
        confirmed=None if found.confirmed is None else found.confirmed.words(),
        standings=tuple(map(_standing, found.then or found.now)),
    )
    return Response(msgspec.json.encode(told), status_code=200, media_type="application/json")


@post("/api/bundle", name="bundle")
async def post_bundle(request: AnyRequest, edge: NamedDependency[Edge]) -> Response[bytes]:
    """Return the bundle of an address: a zip file that verifies without us."""
    asker = await program(edge, request, HISTORY_READ)
    asked = convert(await read_json(request, QUESTION_BYTES), BundleIn)
    return zipped(await ask_bundle(edge, _about(edge, asker, asked), with_staff=asked.with_staff))


def zipped(data: bytes) -> Response[bytes]:
    """Return a bundle as a download; its name tells nothing about the person."""
    headers = {"Content-Disposition": 'attachment; filename="consent-bundle.zip"'}
    return Response(data, status_code=200, media_type="application/zip", headers=headers)


async def _question(request: AnyRequest, edge: Edge) -> Question:
    asker = await program(edge, request, HISTORY_READ)
    return _about(edge, asker, convert(await read_json(request, QUESTION_BYTES), QuestionIn))


def _about(edge: Edge, asker: Program, asked: QuestionIn) -> Question:
    as_of = None if asked.as_of is None else asked.as_of.astimezone(UTC)
    return question(
        actor=asker.name, email=asked.email, reason=asked.purpose_of_lookup, as_of=as_of, now=edge.now()
    )


def _standing(one: Standing) -> StandingOut:
    return StandingOut(
        purpose=one.purpose,
        may_mail=one.may_mail,
        must_stop=one.must_stop,
        state=one.state,
        reasons=one.reasons,
        decided_by=one.decided_by,
        decided_at=None if one.decided_at is None else format_time(one.decided_at),
        rule=one.rule,
        policy=one.policy,
        warnings=one.warnings,
    )

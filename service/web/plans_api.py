"""`/api/plans` for programs: the list, one plan, and a decision by a key that stands for one person.

A key may decide where it has the scope and the name of an account with the role approver: it speaks for
that person, who is counted once however they spoke.
"""

import asyncio
from typing import Annotated, Literal

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from service.errors import Forbidden
from service.reconciler import plans, showing
from service.reconciler.plans import Decided
from service.web.auth import PLANS_DECIDE, PLANS_READ, role_of
from service.web.edge import Edge
from service.web.keyed import program
from service.web.strict import JSON, QUESTION_BYTES, AnyRequest, convert, read_json


class DecisionIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A decision about exactly the plan of this digest (hex)."""

    digest: Annotated[str, msgspec.Meta(min_length=64, max_length=64)]
    decision: Literal["approve", "refuse"]
    reason: Annotated[str, msgspec.Meta(max_length=500)] = ""


class DecisionOut(msgspec.Struct, frozen=True, kw_only=True):
    """Where the plan stands now: its state, who approved it, and how many people must."""

    plan: int
    state: str
    approved_by: tuple[str, ...]
    needed: int


@get("/api/plans", name="plans")
async def get_plans(request: AnyRequest, edge: NamedDependency[Edge]) -> Response[bytes]:
    """Return the newest plans, those that wait for somebody first."""
    await program(edge, request, PLANS_READ)
    found = await asyncio.to_thread(_listed, edge)
    return Response(msgspec.json.encode(found), status_code=200, media_type=JSON)


@get("/api/plans/{number:int}", name="plan")
async def get_plan(
    request: AnyRequest, edge: NamedDependency[Edge], number: FromPath[int]
) -> Response[bytes]:
    """Return one plan with up to 200 of its changes, from `?from=` on; people are pseudonyms."""
    await program(edge, request, PLANS_READ)
    start = request.query_params.get("from", "0")
    found = await asyncio.to_thread(_shown, edge, number, int(start) if start.isdecimal() else 0)
    return Response(msgspec.json.encode(found), status_code=200, media_type=JSON)


@post("/api/plans/{number:int}/decision", name="plan-decide")
async def post_plan_decision(
    request: AnyRequest, edge: NamedDependency[Edge], number: FromPath[int]
) -> Response[bytes]:
    """Record the decision of the person whose key this is."""
    asker = await program(edge, request, PLANS_DECIDE)
    posted = convert(await read_json(request, QUESTION_BYTES), DecisionIn)
    decided = await asyncio.to_thread(_decide, edge, number, asker.name, posted)
    told = DecisionOut(
        plan=decided.run_id, state=decided.state, approved_by=decided.approved_by, needed=decided.needed
    )
    return Response(msgspec.json.encode(told), status_code=200, media_type=JSON)


def _listed(edge: Edge) -> list[dict[str, object]]:
    with edge.db.read() as tx:
        return [showing.summary_data(one) for one in showing.listed(tx)]


def _shown(edge: Edge, number: int, start: int) -> dict[str, object]:
    with edge.db.read() as tx:
        return showing.to_data(showing.show(tx, number, now=edge.now(), start=start))


def _decide(edge: Edge, number: int, name: str, posted: DecisionIn) -> Decided:
    role = role_of(edge.db, name)
    if role is None:
        raise Forbidden("this key is nobody's: a key that decides has the name of an approver's account")
    who = plans.Person(account=name, role=role, via="api")
    return plans.decide(
        edge.db,
        number,
        posted.digest,
        who,
        posted.decision,
        policy=edge.policy,
        now=edge.now(),
        reason=posted.reason,
    )

"""`/plans` for people: what waits for an approval, one plan whole, and the two decisions about it.

People in a plan are pseudonyms. Who may look people up asks for the names with a POST and a purpose, and
each name is recorded as a look-up before it is shown.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Redirect

from service.errors import Unauthenticated
from service.intake.access import SHORTEST_REASON
from service.reconciler import plans, showing
from service.reconciler.plans import APPROVER
from service.reconciler.showing import Line, Shown
from service.vault.address import fold
from service.web import sessions
from service.web.auth import LOOKUP_ROLES
from service.web.edge import Edge
from service.web.naming import NamesIn, purpose_of, record_names
from service.web.render import page
from service.web.sessions import Person
from service.web.strict import AnyRequest, convert, read_form

PLAN_ROLES: Final = frozenset({"auditor", "legal", "admin", APPROVER})
STATES: Final[Mapping[str, str]] = {
    "open": "Waits for approval",
    "approved": "Approved",
    "applying": "Being written",
    "done": "Done",
    "listed": "Nothing to approve",
    "stale": "Out of date",
    "refused": "Refused",
}
CHANGES: Final[Mapping[str, str]] = {
    "proposed": "proposed",
    "planned": "waits to be written",
    "written": "written, not yet read back",
    "proved": "verified",
    "failed": "failed",
    "superseded": "superseded",
    "contested": "contested",
    "refused": "refused",
}
TONES: Final[Mapping[str, str]] = {"open": "unsure", "approved": "go", "applying": "go", "done": "go"}


class DecisionFormIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the two buttons of a plan post; `digest` is the one that the page showed."""

    form_token: Annotated[str, msgspec.Meta(max_length=200)]
    digest: Annotated[str, msgspec.Meta(max_length=64)]
    decision: Literal["approve", "refuse"]
    reason: Annotated[str, msgspec.Meta(max_length=500)] = ""


@get("/plans", name="plans-page")
async def show_plans(request: AnyRequest, edge: NamedDependency[Edge]) -> Response[bytes] | Redirect:
    """Show the newest plans, those that wait for somebody first."""
    try:
        who = await sessions.person(edge, request, PLAN_ROLES)
    except Unauthenticated:
        return Redirect("/login", status_code=303)
    found = await asyncio.to_thread(_listed, edge)
    return page("plans.html", who=who, plans=found, states=STATES, tones=TONES)


@get("/plans/{number:int}", name="plan-page")
async def show_plan(
    request: AnyRequest, edge: NamedDependency[Edge], number: FromPath[int]
) -> Response[bytes] | Redirect:
    """Show one plan; `?from=` says at which change its list begins."""
    try:
        who = await sessions.person(edge, request, PLAN_ROLES)
    except Unauthenticated:
        return Redirect("/login", status_code=303)
    start = request.query_params.get("from", "0")
    found = await asyncio.to_thread(_shown, edge, number, int(start) if start.isdecimal() else 0)
    return _page(edge, who, found)


@post("/plans/{number:int}/decision", name="plan-decision")
async def post_decision(
    request: AnyRequest, edge: NamedDependency[Edge], number: FromPath[int]
) -> Response[bytes] | Redirect:
    """Approve or refuse exactly the plan that was shown."""
    who = await sessions.person(edge, request, PLAN_ROLES)
    posted = convert(await read_form(request), DecisionFormIn)
    sessions.require_token(who.form_token, posted.form_token)
    if posted.decision == "refuse" and len(posted.reason.strip()) < SHORTEST_REASON:
        found = await asyncio.to_thread(_shown, edge, number, 0)
        return _page(edge, who, found, error="say why you refuse it, in 3 characters at least")
    voice = plans.Person(account=who.name, role=who.role, via="page")
    await asyncio.to_thread(_decide, edge, number, posted, voice)
    return Redirect(f"/plans/{number}", status_code=303)


@post("/plans/{number:int}/names", name="plan-names")
async def show_names(
    request: AnyRequest, edge: NamedDependency[Edge], number: FromPath[int]
) -> Response[bytes]:
    """Show the plan with the addresses of its first people, once the look-ups are recorded."""
    who = await sessions.person(edge, request, LOOKUP_ROLES)
    reason = purpose_of(convert(await read_form(request), NamesIn), who)
    found = await asyncio.to_thread(_shown, edge, number, 0, names=True)
    addresses = [fold(line.address) for line in found.lines if line.address]
    await record_names(edge, who, addresses, reason=reason, asked_for="plan")
    return _page(edge, who, found, named=True)


def _listed(edge: Edge) -> list[showing.Summary]:
    with edge.db.read() as tx:
        return showing.listed(tx)


def _shown(edge: Edge, number: int, start: int, *, names: bool = False) -> Shown:
    with edge.db.read() as tx:
        vault = edge.intake.vault if names else None
        return showing.show(tx, number, now=edge.now(), start=start, vault=vault)


def _decide(edge: Edge, number: int, posted: DecisionFormIn, who: plans.Person) -> None:
    plans.decide(
        edge.db,
        number,
        posted.digest,
        who,
        posted.decision,
        policy=edge.policy,
        now=edge.now(),
        reason=" ".join(posted.reason.split()),
    )


def _page(
    edge: Edge, who: Person, found: Shown, *, named: bool = False, error: str | None = None
) -> Response[bytes]:
    voiced = {voice.account for voice in found.voices}
    is_open = found.summary.state == "open"
    return page(
        "plan.html",
        status=200 if error is None else 400,
        who=who,
        found=found,
        plan=found.summary,
        headline=STATES.get(found.summary.state, found.summary.state),
        tone=TONES.get(found.summary.state, "quiet"),
        changes=CHANGES,
        named=named,
        may_ask=who.role in LOOKUP_ROLES and not named and bool(found.lines),
        may_decide=is_open and who.role == APPROVER and who.name not in voiced,
        has_decided=is_open and who.name in voiced,
        opens=_opens(edge),
        next_start=found.start + len(found.lines),
        groups=_groups(found),
        error=error,
        now=edge.now(),
    )


def _opens(edge: Edge) -> datetime:
    """Return when what is approved may be written, by the clock that the policy names; else by UTC."""
    rules, now = edge.policy.enforcement, edge.now()
    return rules.permissive.opens(rules.quota.local(now, None)).astimezone(UTC)


def _groups(found: Shown) -> list[tuple[str, str, list[Line]]]:
    """Return the shown changes in the three parts in which people think of them."""
    contested = [line for line in found.lines if line.state == "contested"]
    rest = [line for line in found.lines if line.state != "contested"]
    parts = (
        ("permit", "Permit: may be mailed again", [line for line in rest if line.direction == "permit"]),
        ("contested", "Contested: undone again and again", contested),
        ("stop", "Stop: may not be mailed", [line for line in rest if line.direction == "stop"]),
    )
    return [(name, title, [_short(line) for line in lines]) for name, title, lines in parts if lines]


def _short(line: Line) -> Line:
    return replace(line, target=line.target.removeprefix("crm:").replace("campaigns", "Campaigns"))

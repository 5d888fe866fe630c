"""`/deadlines`: both clocks of every withdrawal against each rule; names only for those who say why.

The figures name nobody. Who may look people up asks for the names of breaches with a POST and a purpose,
and each name is recorded as a look-up before it is shown.
"""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Final

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.response import Redirect

from service.errors import Malformed, ServiceError, Unauthenticated
from service.intake import Claim
from service.intake.access import look_up
from service.reports.deadlines import Deadlines, deadlines
from service.reports.wording import duration, span
from service.web import sessions
from service.web.audits import AUDIT_ROLES
from service.web.auth import LOOKUP_ROLES
from service.web.edge import Edge
from service.web.lookups import LONGEST_REASON, SHORTEST_REASON
from service.web.recording import record_many
from service.web.render import page
from service.web.sessions import Person
from service.web.strict import AnyRequest, convert, read_form

PERIOD: Final = timedelta(days=31)
MOST: Final = 500
"""Breaches that are shown; the first deadlines first."""


class NamesIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the form that asks for names posts."""

    purpose_of_lookup: Annotated[str, msgspec.Meta(max_length=1_000)]
    form_token: Annotated[str, msgspec.Meta(max_length=200)]


@get("/deadlines", name="deadlines-page")
async def show_deadlines(request: AnyRequest, edge: NamedDependency[Edge]) -> Response[bytes] | Redirect:
    """Show the clocks of the last 31 days; people are pseudonyms."""
    try:
        who = await sessions.person(edge, request, AUDIT_ROLES)
    except Unauthenticated:
        return Redirect("/login", status_code=303)
    return _page(who, await asyncio.to_thread(_deadlines, edge), names={})


@post("/deadlines", name="deadlines-names")
async def show_names(request: AnyRequest, edge: NamedDependency[Edge]) -> Response[bytes]:
    """Show the same with the names of those in a breach, once the look-ups are recorded."""
    who = await sessions.person(edge, request, LOOKUP_ROLES)
    posted = convert(await read_form(request), NamesIn)
    sessions.require_token(who.form_token, posted.form_token)
    reason = " ".join(posted.purpose_of_lookup.split())
    if not SHORTEST_REASON <= len(reason) <= LONGEST_REASON:
        raise Malformed("say why you want the names, in 3 to 500 characters", field="purpose_of_lookup")
    found = await asyncio.to_thread(_deadlines, edge)
    claims, names = await asyncio.to_thread(_access, edge, who, found, reason)
    for outcome in await record_many(edge, claims):
        if isinstance(outcome, ServiceError):
            raise outcome
    return _page(who, found, names=names)


def _deadlines(edge: Edge) -> Deadlines:
    now = edge.now()
    with edge.db.read() as tx:
        return deadlines(tx, edge.policy, edge.intake.vault, since=now - PERIOD, now=now)


def _access(
    edge: Edge, who: Person, found: Deadlines, reason: str
) -> tuple[list[Claim], Mapping[bytes, str]]:
    """Return the look-ups to record, one a person, and the names that they lead to."""
    vault, names = edge.intake.vault, dict[bytes, str]()
    with edge.db.read() as tx:
        for case in found.breaches[:MOST]:
            if (address := vault.address_of(tx, case.sub)) is not None:
                names[case.sub] = address
        claims = [
            look_up(
                vault,
                tx,
                address=address,
                actor=who.name,
                reason=reason,
                asked_for="deadline",
                at=edge.now(),
            )
            for address in names.values()
        ]
    return claims, names


def _page(who: Person, found: Deadlines, *, names: Mapping[bytes, str]) -> Response[bytes]:
    return page(
        "deadlines.html",
        who=who,
        found=found,
        names=names,
        may_ask=who.role in LOOKUP_ROLES,
        most=MOST,
        stopped=span(found.overall.stopped),
        proved=span(found.overall.proved),
        duration=duration,
    )

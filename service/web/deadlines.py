"""`/deadlines`: both clocks of every withdrawal against each rule; names only for those who say why.

The figures name nobody. Who may look people up asks for the names of breaches with a POST and a purpose,
and each name is recorded as a look-up before it is shown.
"""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.response import Redirect

from service.errors import Unauthenticated
from service.reports.deadlines import Deadlines, deadlines
from service.reports.wording import duration, span
from service.web import sessions
from service.web.audits import AUDIT_ROLES
from service.web.auth import LOOKUP_ROLES
from service.web.edge import Edge
from service.web.naming import NamesIn, purpose_of, record_names
from service.web.render import page
from service.web.sessions import Person
from service.web.strict import AnyRequest, convert, read_form

PERIOD: Final = timedelta(days=31)
MOST: Final = 500
"""Breaches that are shown; the first deadlines first."""


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
    reason = purpose_of(convert(await read_form(request), NamesIn), who)
    found = await asyncio.to_thread(_deadlines, edge)
    names = await asyncio.to_thread(_names, edge, found)
    await record_names(edge, who, names.values(), reason=reason, asked_for="deadline")
    return _page(who, found, names=names)


def _deadlines(edge: Edge) -> Deadlines:
    now = edge.now()
    with edge.db.read() as tx:
        return deadlines(tx, edge.policy, edge.intake.vault, since=now - PERIOD, now=now)


def _names(edge: Edge, found: Deadlines) -> Mapping[bytes, str]:
    with edge.db.read() as tx:
        return edge.intake.vault.addresses_of(tx, [case.sub for case in found.breaches[:MOST]])


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

"""The auditors' pages: search, history, bundle. They work without JavaScript and set no trap for a GET.

A question is a POST with a purpose, so that no address ever stands in a URL and no question goes
unrecorded.
"""

from datetime import UTC, datetime, time
from typing import Annotated

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.response import Redirect

from service.errors import Malformed, Unauthenticated
from service.reconciler.plans import APPROVER
from service.web import sessions
from service.web.api import zipped
from service.web.audits import AUDIT_ROLES
from service.web.auth import LOOKUP_ROLES
from service.web.edge import Edge
from service.web.lookups import Question, ask_bundle, ask_history, question
from service.web.render import page
from service.web.sessions import Person
from service.web.strict import AnyRequest, convert, read_form
from service.web.telling import tell

_LAST_MOMENT = time(23, 59, 59, 999_000)


class SearchIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the search form posts; `as_of` is a day (UTC), and means its end."""

    email: Annotated[str, msgspec.Meta(max_length=500)]
    purpose_of_lookup: Annotated[str, msgspec.Meta(max_length=1_000)]
    form_token: Annotated[str, msgspec.Meta(max_length=200)]
    as_of: Annotated[str, msgspec.Meta(max_length=30)] = ""


@get("/", name="search-page")
async def show_search(request: AnyRequest, edge: NamedDependency[Edge]) -> Response[bytes] | Redirect:
    """Show the search form, the way to the log-in page, or to what this role may see."""
    try:
        who = await sessions.person(edge, request, LOOKUP_ROLES | AUDIT_ROLES | {APPROVER})
    except Unauthenticated:
        return Redirect("/login", status_code=303)
    if who.role == APPROVER:
        return Redirect("/plans", status_code=303)
    if who.role not in LOOKUP_ROLES:
        return Redirect("/audit", status_code=303)
    return _search(edge, who, error=None, posted=None)


@post("/history", name="history-page")
async def show_history(request: AnyRequest, edge: NamedDependency[Edge]) -> Response[bytes]:
    """Show the history of an address: the standing first, then what happened, then what proves it."""
    who, posted = await _posted(request, edge)
    try:
        asked = _question(edge, who, posted)
    except Malformed as error:
        return _search(edge, who, error=str(error), posted=posted)
    found = await ask_history(edge, asked)
    return page(
        "history.html", who=who, asked=asked, posted=posted, told=tell(found, edge.policy), today=edge.now()
    )


@post("/bundle", name="bundle-download")
async def download_bundle(request: AnyRequest, edge: NamedDependency[Edge]) -> Response[bytes]:
    """Give the bundle of an address as a file."""
    who, posted = await _posted(request, edge)
    return zipped(await ask_bundle(edge, _question(edge, who, posted)))


async def _posted(request: AnyRequest, edge: Edge) -> tuple[Person, SearchIn]:
    who = await sessions.person(edge, request, LOOKUP_ROLES)
    posted = convert(await read_form(request), SearchIn)
    sessions.require_token(who.form_token, posted.form_token)
    return who, posted


def _question(edge: Edge, who: Person, posted: SearchIn) -> Question:
    now = edge.now()
    return question(
        actor=who.name,
        email=posted.email,
        reason=posted.purpose_of_lookup,
        as_of=_end_of_day(posted.as_of, now),
        now=now,
    )


def _end_of_day(text: str, now: datetime) -> datetime | None:
    """Return the last moment of a day, of today this one; None without a day."""
    if not text.strip():
        return None
    try:
        day = datetime.strptime(text.strip(), "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise Malformed("write the day as 2026-01-31", field="as_of") from None
    return now if day.date() == now.date() else datetime.combine(day, _LAST_MOMENT, tzinfo=UTC)


def _search(edge: Edge, who: Person, *, error: str | None, posted: SearchIn | None) -> Response[bytes]:
    return page(
        "search.html",
        status=200 if error is None else 400,
        who=who,
        error=error,
        posted=posted,
        today=edge.now(),
    )

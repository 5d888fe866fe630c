"""The sync audit at the edge: `/audit` for people, `POST /api/audit` for programs. It counts, naming nobody.

A GET shows the last audit; only a POST makes a new one, from the last reading of both products.
"""

import asyncio
from typing import Annotated, Final

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.response import Redirect
from markupsafe import Markup

from service.errors import Unauthenticated, Unavailable
from service.reconciler.audit import Audit
from service.reconciler.audit.keeping import last
from service.reports.audit import audit_json, points_html
from service.reports.audit.showing import headline
from service.web import sessions
from service.web.auth import AUDIT_WRITE
from service.web.edge import Edge
from service.web.keyed import program
from service.web.render import page
from service.web.strict import QUESTION_BYTES, AnyRequest, convert, read_form, read_json

AUDIT_ROLES: Final = frozenset({"auditor", "legal", "admin"})
LARGEST_PUSH: Final = 10_000_000


class AuditIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a program asks for: the cost of a planned push of so many contacts is forecast as well."""

    push: Annotated[int, msgspec.Meta(ge=0, le=LARGEST_PUSH)] = 0


class AuditPageIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the button on the page posts."""

    form_token: Annotated[str, msgspec.Meta(max_length=200)]


@post("/api/audit", name="audit")
async def post_audit(request: AnyRequest, edge: NamedDependency[Edge]) -> Response[bytes]:
    """Make an audit from what was read last, and return it."""
    await program(edge, request, AUDIT_WRITE)
    asked = convert(await read_json(request, QUESTION_BYTES), AuditIn)
    found = await asyncio.to_thread(_audit, edge, asked.push)
    return Response(msgspec.json.encode(audit_json(found)), status_code=200, media_type="application/json")


@get("/audit", name="audit-page")
async def show_audit(request: AnyRequest, edge: NamedDependency[Edge]) -> Response[bytes] | Redirect:
    """Show the last audit, or that there is none yet."""
    try:
        who = await sessions.person(edge, request, AUDIT_ROLES)
    except Unauthenticated:
        return Redirect("/login", status_code=303)
    found = await asyncio.to_thread(_last, edge)
    return page(
        "audit.html",
        who=who,
        audit=found,
        headline="" if found is None else headline(found),
        points="" if found is None else Markup(points_html(found)),  # noqa: S704  # escaped by its template
        can_audit=edge.audit is not None,
    )


@post("/audit", name="audit-now")
async def audit_now(request: AnyRequest, edge: NamedDependency[Edge]) -> Redirect:
    """Make a new audit, then show it."""
    who = await sessions.person(edge, request, AUDIT_ROLES)
    posted = convert(await read_form(request), AuditPageIn)
    sessions.require_token(who.form_token, posted.form_token)
    await asyncio.to_thread(_audit, edge, 0)
    return Redirect("/audit", status_code=303)


def _audit(edge: Edge, push: int) -> Audit:
    if edge.audit is None:
        raise Unavailable("no Zoho organisation is connected; run `consent-ledger connect` first")
    return edge.audit(push)


def _last(edge: Edge) -> Audit | None:
    with edge.db.read() as tx:
        return last(tx)

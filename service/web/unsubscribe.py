"""`/u/{token}`: one click and the mail stops (RFC 8058).

GET and HEAD show a page and change nothing, because scanners follow links. POST acts on the token
alone: no cookie, no log-in, no redirect, whatever the body. The answer is the same for a token that
is not ours, so that it tells nothing; only our own failure is different (503), so that the mailbox
provider tries again.
"""

import asyncio
import re
from hashlib import sha256

from litestar import HttpMethod, Response, post, route
from litestar.di import NamedDependency
from litestar.params import FromPath

from service.consent import Category, State, SubjectId
from service.errors import KeyReused, NotFound, ServiceError, Unavailable, UnknownSubject
from service.intake import Claim
from service.web.edge import Edge
from service.web.problems import on_bug, on_service_error, wants_page
from service.web.recording import record, seen
from service.web.render import page
from service.web.strict import FORM_BYTES, AnyRequest, read_body

_ONE_CLICK = re.compile(rb"List-Unsubscribe[\"=\r\n]+One-Click")
"""As it stands in an urlencoded body, and in one of multipart/form-data."""
_DONE = "Done. If this link belongs to you, you are unsubscribed and we will send you no more of this mail.\n"


@route("/u/{token:str}", http_method=[HttpMethod.GET, HttpMethod.HEAD], name="unsubscribe-page")
async def show_unsubscribe(edge: NamedDependency[Edge], token: FromPath[str]) -> Response[bytes]:
    """Show a button; nothing is read or written, so every token looks the same."""
    return page("unsubscribe.html", done=False, token=token, controller=edge.policy.controller)


def _fail(request: AnyRequest, error: Exception) -> Response[bytes]:
    """Answer any failure of ours with 503, so that the sender of the request tries again."""
    on_bug(request, error)
    return on_service_error(
        request, Unavailable("this could not be recorded just now; try again in a minute")
    )


@post(
    "/u/{token:str}",
    status_code=200,
    name="unsubscribe",
    exception_handlers={ServiceError: _fail, Exception: _fail},
)
async def post_unsubscribe(
    request: AnyRequest, edge: NamedDependency[Edge], token: FromPath[str]
) -> Response[bytes]:
    """Withdraw the consent that the token stands for."""
    how = await _how(request)
    try:
        subject, purpose = edge.intake.vault.open_token(token)
    except NotFound:
        return _done(request, edge, token)
    await _withdraw(edge, subject, purpose, token, {"collection_method": how, **seen(request)})
    return _done(request, edge, token)


async def _how(request: AnyRequest) -> str:
    try:
        body = await read_body(request, FORM_BYTES)
    except ServiceError:
        return "post whose body was too long or too late"
    if _ONE_CLICK.search(body):
        return "one-click"
    return "button" if b"control=button" in body else "post without the one-click body"


async def _withdraw(
    edge: Edge, subject: SubjectId, purpose: str, token: str, evidence: dict[str, str]
) -> None:
    """Record the withdrawal once for each time that mail was permitted; a second click changes nothing.

    A purpose that is no longer declared cannot be withdrawn by name; then every purpose is.
    """
    decided = await asyncio.to_thread(_deciding, edge, subject, purpose)
    if decided is None:
        return
    claim = Claim(
        category=Category.WITHDRAWN,
        source="one-click",
        key=f"{sha256(token.encode()).hexdigest()} {decided}",
        subject=subject,
        purpose=purpose if purpose in edge.policy.purposes else None,
        received_at=edge.now(),
        evidence=evidence,
    )
    try:
        await record(edge, claim)
    except KeyReused:  # the same click, sent twice in two ways at the same moment: it is recorded
        return
    except UnknownSubject:  # erased, and kept out already: nothing more is recorded about them
        return


def _deciding(edge: Edge, subject: SubjectId, purpose: str) -> str | None:
    """Return what the standing rests on, or None where it is refused already."""
    with edge.db.read() as tx:
        found = next((one for one in edge.intake.standings(tx, subject) if one.purpose == purpose), None)
    if found is None:
        return "purpose not declared"
    return None if found.state is State.REFUSED else str(found.decided_by)


def _done(request: AnyRequest, edge: Edge, token: str) -> Response[bytes]:
    if wants_page(request):
        return page("unsubscribe.html", done=True, token=token, controller=edge.policy.controller)
    return Response(_DONE.encode(), status_code=200, media_type="text/plain")

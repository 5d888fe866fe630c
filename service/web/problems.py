"""Turn every error into an RFC 9457 problem, or into a page for people, without telling internals.

A log line about an error names its class and the place in our code, never its message: messages of
foreign libraries may carry parameters, and parameters may be addresses.
"""

import re
import traceback
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import msgspec
import structlog
from litestar import Response
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap

from service.errors import Busy, Malformed, ServiceError, Unauthenticated, Unavailable
from service.web.render import page
from service.web.strict import AnyRequest

MEDIA_TYPE: Final = "application/problem+json"
_RETRY_S: Final = 5  # for what is down; a full queue says itself when it will have room
_OURS: Final = "It is our fault, not yours, and has been noted. Try again later; tell us if it stays so."
_DETAILS: Final = {
    404: "There is nothing at this address; /openapi.json lists what there is.",
    405: "This address does not answer this method; the header Allow lists those that it does.",
}

log = structlog.get_logger()


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """RFC 9457: what went wrong; `field` is the path of the input at fault, where one is."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None


def describe(error: ServiceError, *, at: str = "") -> Problem:
    """Return the problem that tells a caller about `error`; `at` is the path of the input it is about.

    What is our own fault (500) is told without its message.
    """
    field = error.field if isinstance(error, Malformed) else None
    return Problem(
        type=_type(type(error).__name__),
        title=error.title,
        status=error.status,
        detail=str(error) if error.status != HTTPStatus.INTERNAL_SERVER_ERROR else _OURS,
        field=f"{at}.{field}" if at and field and not field.startswith(at) else field or at or None,
    )


def wants_page(request: AnyRequest) -> bool:
    """Return whether a person's browser asks; programs get JSON, and under /api everybody does."""
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/api/")


def answer(
    request: AnyRequest, problem: Problem, headers: Mapping[str, str] | None = None
) -> Response[bytes]:
    """Return the response that shows `problem`: a page to a browser, a problem document to a program."""
    if wants_page(request):
        return page("problem.html", status=problem.status, headers=headers, problem=problem)
    return Response(
        msgspec.json.encode(problem),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers=dict(headers or {}),
    )


def document(error: ServiceError) -> tuple[int, dict[str, str], bytes]:
    """Return status, header fields and body of the problem document about an error of our own tree."""
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        note(error)
    headers = {"Content-Type": MEDIA_TYPE, **_headers(error)}
    return error.status, headers, msgspec.json.encode(describe(error))


def on_service_error(request: AnyRequest, error: ServiceError) -> Response[bytes]:
    """Answer an error of our own tree with its status."""
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        note(error)
    return answer(request, describe(error), _headers(error))


def on_http_error(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    """Answer what the framework refuses (no such path, wrong method) without repeating the path."""
    status = HTTPStatus(error.status_code)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        note(error)
    problem = Problem(
        type="about:blank",
        title=status.phrase,
        status=status,
        detail=_DETAILS.get(
            status, _OURS if status >= HTTPStatus.INTERNAL_SERVER_ERROR else status.description
        ),
    )
    return answer(request, problem, error.headers)


def on_bug(request: AnyRequest, error: Exception) -> Response[bytes]:
    """Answer what nobody foresaw with a plain 500."""
    note(error)
    return answer(request, describe(ServiceError()))


HANDLERS: Final[ExceptionHandlersMap] = {
    ServiceError: on_service_error,
    HTTPException: on_http_error,
    Exception: on_bug,
}


def _headers(error: ServiceError) -> dict[str, str]:
    match error:
        case Busy():
            return {"Retry-After": str(error.retry_after_s)}
        case Unavailable():
            return {"Retry-After": str(_RETRY_S)}
        case Unauthenticated():
            return {"WWW-Authenticate": 'Bearer realm="consent-ledger"'}
        case _:
            return {}


def note(error: Exception) -> None:
    """Log which error it was and where, never what it says."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    log.error(
        "request failed",
        error=type(error).__name__,
        where=[f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames],
    )


def _type(name: str) -> str:
    return "urn:consent-ledger:problem:" + re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()

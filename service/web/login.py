"""`/login` and `/logout`: the doors of the auditors' pages."""

import asyncio
import secrets
from datetime import timedelta
from typing import Annotated

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.response import Redirect

from service.errors import Unauthenticated
from service.web import sessions
from service.web.auth import ROLES, check_password
from service.web.edge import LOGIN_S, Edge, at_least
from service.web.render import page
from service.web.strict import AnyRequest, convert, read_form


class LoginIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the log-in page posts."""

    name: Annotated[str, msgspec.Meta(max_length=200)]
    password: Annotated[str, msgspec.Meta(max_length=2_000)]
    form_token: Annotated[str, msgspec.Meta(max_length=200)]


class LogoutIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the log-out button posts."""

    form_token: Annotated[str, msgspec.Meta(max_length=200)]


@get("/login", name="login-page")
async def show_login(edge: NamedDependency[Edge]) -> Response[bytes]:
    """Show the log-in page."""
    return _form(edge, error=None)


@post("/login", name="login")
async def post_login(request: AnyRequest, edge: NamedDependency[Edge]) -> Response[bytes] | Redirect:
    """Open a session; whatever is wrong, the answer and its time are the same."""
    posted = convert(await read_form(request), LoginIn)
    sessions.require_token(
        request.cookies.get(sessions.cookie_name(edge, sessions.LOGIN), ""), posted.form_token
    )
    try:
        async with at_least(LOGIN_S), edge.logins:
            name = await asyncio.to_thread(check_password, edge.db, posted.name, posted.password, edge.now())
    except Unauthenticated as error:
        return _form(edge, error=str(error))
    token = await asyncio.to_thread(sessions.open_session, edge.db, name, edge.now())
    cookies = [
        sessions.cookie(edge, sessions.SESSION, token),
        sessions.cookie(edge, sessions.LOGIN, "", lasts=timedelta()),
    ]
    return Redirect("/", status_code=303, cookies=cookies)


@post("/logout", name="logout")
async def post_logout(request: AnyRequest, edge: NamedDependency[Edge]) -> Redirect:
    """End the session, here and in the browser."""
    found = await sessions.person(edge, request, ROLES)
    sessions.require_token(found.form_token, convert(await read_form(request), LogoutIn).form_token)
    token = request.cookies[sessions.cookie_name(edge, sessions.SESSION)]
    await asyncio.to_thread(sessions.close_session, edge.db, token)
    return Redirect(
        "/login", status_code=303, cookies=[sessions.cookie(edge, sessions.SESSION, "", lasts=timedelta())]
    )


def _form(edge: Edge, *, error: str | None) -> Response[bytes]:
    token = secrets.token_urlsafe(32)
    found = page("login.html", status=200 if error is None else 401, form_token=token, error=error)
    found.cookies.append(sessions.cookie(edge, sessions.LOGIN, token))
    return found

"""Logged-in browsers: server-side sessions, their cookies, and the tokens that keep forms ours.

A cookie is 256 random bits, of which the database keeps the SHA-256. Every page that posts carries
the session's form token; the log-in page, which has no session yet, carries a token that must equal
a cookie of its own.
"""

import asyncio
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from litestar.datastructures import Cookie
from sqlalchemy import delete, insert, select

from service.db import Database, account, session
from service.errors import Forbidden, Unauthenticated
from service.web.edge import Edge
from service.web.strict import AnyRequest

SESSION: Final = "session"
LOGIN: Final = "login"
_LASTS: Final = timedelta(hours=8)  # a working day


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A person who has logged in; `form_token` must come back with everything they post."""

    name: str
    role: str
    form_token: str


async def person(edge: Edge, request: AnyRequest, roles: frozenset[str]) -> Person:
    """Return who asks; raises `Unauthenticated` without a session, `Forbidden` for another role."""
    token = request.cookies.get(cookie_name(edge, SESSION), "")
    found = await asyncio.to_thread(find_session, edge.db, token, edge.now()) if token else None
    if found is None:
        raise Unauthenticated("log in first, at /login")
    if found.role not in roles:
        raise Forbidden(f"the role {found.role} may not look people up; ask for an account that may")
    return found


def require_token(expected: str, given: str) -> None:
    """Raise `Forbidden` unless a posted form carries the token that its page was given."""
    if not expected or not hmac.compare_digest(expected.encode(), given.encode()):
        raise Forbidden("this form is too old or did not come from our page; load the page again and retry")


def open_session(db: Database, name: str, now: datetime) -> str:
    """Return the cookie of a new session of the account `name`; forgets sessions that are over."""
    token = secrets.token_urlsafe(32)
    with db.begin() as tx:
        tx.execute(delete(session).where(session.c.expires_at <= now))
        tx.execute(
            insert(session).values(
                id_sha256=_digest(token),
                account=name,
                form_token=secrets.token_urlsafe(32),
                expires_at=now + _LASTS,
            )
        )
    return token


def find_session(db: Database, token: str, now: datetime) -> Person | None:
    """Return who this cookie belongs to, with the role that the account has now."""
    with db.read() as tx:
        row = tx.execute(
            select(account.c.name, account.c.role, session.c.form_token)
            .join_from(session, account, account.c.name == session.c.account)
            .where(session.c.id_sha256 == _digest(token), session.c.expires_at > now)
        ).one_or_none()
    return None if row is None else Person(name=row.name, role=row.role, form_token=row.form_token)


def close_session(db: Database, token: str) -> None:
    """Forget a session."""
    with db.begin() as tx:
        tx.execute(delete(session).where(session.c.id_sha256 == _digest(token)))


def cookie_name(edge: Edge, name: str) -> str:
    """Return the cookie's name: bound to the host over https; plain http is for loopback alone."""
    return f"__Host-{name}" if edge.secure else name


def cookie(edge: Edge, name: str, value: str, *, lasts: timedelta | None = None) -> Cookie:
    """Return the cookie `name`; without `lasts` it ends with the browser, with zero it ends at once."""
    return Cookie(
        key=cookie_name(edge, name),
        value=value,
        path="/",
        max_age=None if lasts is None else int(lasts.total_seconds()),
        secure=edge.secure,
        httponly=True,
        samesite="lax",
    )


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()

"""Who may use the service: keys for programs, accounts for people.

Of a key only the SHA-256 of its secret half is kept (the secret has 256 random bits), of a password
its argon2id hash. Scopes and roles are exact names; what is not granted is denied. Names of keys and
accounts stand in signed entries for ever, so they may not be addresses.
"""

import hmac
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from sqlalchemy import insert, select, update

from service.db import Database, account, api_key
from service.errors import Forbidden, Malformed, NotFound, Unauthenticated

EVENTS_WRITE: Final = "events:write"
HISTORY_READ: Final = "history:read"
LOG_READ: Final = "log:read"
ERASURE_WRITE: Final = "erasure:write"
LINKS_READ: Final = "links:read"
AUDIT_WRITE: Final = "audit:write"
PLANS_READ: Final = "plans:read"
PLANS_DECIDE: Final = "plans:decide"
CORRECTIONS_WRITE: Final = "corrections:write"
SCOPES: Final = frozenset(
    {
        *(EVENTS_WRITE, HISTORY_READ, LOG_READ, ERASURE_WRITE, LINKS_READ, AUDIT_WRITE),
        *(PLANS_READ, PLANS_DECIDE, CORRECTIONS_WRITE),
    }
)
ROLES: Final = frozenset({"auditor", "legal", "admin", "privacy", "approver"})
LOOKUP_ROLES: Final = frozenset({"auditor", "legal"})
"""Who may ask about a person; running the service is no reason to read people's histories."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_SHORTEST_PASSWORD = 12
_LONGEST_PASSWORD = 1024  # argon2 reads it all; nobody types more
_FAILURES = 5
_LOCKED = timedelta(minutes=15)
_REMEMBERED = timedelta(seconds=2)  # a revoked key dies this much later, at most
_HASHER = PasswordHasher(time_cost=3, memory_cost=65536, parallelism=4)  # RFC 9106 section 4, second choice
_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$nLzfCxzzX4yHeO3m5rniUQ$iB0122EjckIKQ3ri3Z1XZsNYeLujkq2Sl65p2RK1sUE"
"""The hash that a password is compared with where the account does not exist: as slow as the others."""
_WRONG = (
    "name and password do not belong together, or there were too many attempts; "
    f"after {_FAILURES} of them wait {_LOCKED // timedelta(minutes=1)} minutes"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program that showed a valid key."""

    id: str
    name: str
    scopes: frozenset[str]

    def require(self, scope: str) -> None:
        """Raise `Forbidden` unless the key was made for exactly this."""
        if scope not in self.scopes:
            raise Forbidden(f"this key has no scope {scope}; ask the operator for one that has")


def create_key(db: Database, name: str, scopes: Iterable[str], *, at: datetime | None = None) -> str:
    """Return a new key `cl_<id>_<secret>`, shown this once; raises `Malformed` for an unknown scope.

    `name` becomes the source of what the key records ("api:<name>"): a key that replaces another takes
    over its name, and with it its idempotency keys.
    """
    _require_name(name)
    wanted = frozenset(scopes)
    if not wanted or wanted - SCOPES:
        raise Malformed(f"scopes are one or more of {', '.join(sorted(SCOPES))}", field="scopes")
    identity, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    with db.begin() as tx:
        tx.execute(
            insert(api_key).values(
                id=identity,
                name=name,
                secret_sha256=sha256(secret.encode()).digest(),
                scopes=",".join(sorted(wanted)),
                created_at=at or datetime.now(UTC),
                revoked_at=None,
            )
        )
    return f"cl_{identity}_{secret}"


def revoke_key(db: Database, identity: str, *, at: datetime | None = None) -> None:
    """Make the key `cl_<identity>_...` useless from now on; raises `NotFound` if there is none."""
    with db.begin() as tx:
        done = tx.execute(
            update(api_key).where(api_key.c.id == identity).values(revoked_at=at or datetime.now(UTC))
        )
        if done.rowcount == 0:
            raise NotFound("there is no key of this id; it is the part between the underscores")


class KeyRing:
    """Knows keys, and remembers for two seconds those that it has just looked up."""

    def __init__(self, db: Database, now: Callable[[], datetime]) -> None:
        self._db = db
        self._now = now
        self._seen: dict[bytes, tuple[datetime, Program]] = {}

    def recall(self, authorization: str) -> Program | None:
        """Return the program behind an `Authorization` header if it was seen just now; no waiting."""
        until, program = self._seen.get(sha256(authorization.encode()).digest(), (None, None))
        return program if until is not None and self._now() < until else None

    def look_up(self, authorization: str) -> Program:
        """Return the program behind an `Authorization` header; `Unauthenticated` if none."""
        scheme, _, token = authorization.partition(" ")
        prefix, identity, secret = [*token.strip().split("_", 2), "", ""][:3]
        if scheme.lower() != "bearer" or prefix != "cl" or not secret:
            raise Unauthenticated("send the header Authorization: Bearer cl_<id>_<secret>")
        with self._db.read() as tx:
            row = tx.execute(
                select(api_key.c.id, api_key.c.name, api_key.c.secret_sha256, api_key.c.scopes).where(
                    api_key.c.id == identity, api_key.c.revoked_at.is_(None)
                )
            ).one_or_none()
        digest = sha256(secret.encode()).digest()
        if row is None or not hmac.compare_digest(digest, row.secret_sha256):
            raise Unauthenticated("this key is unknown or revoked; ask the operator for a new one")
        program = Program(id=row.id, name=row.name, scopes=frozenset(row.scopes.split(",")))
        self._seen[sha256(authorization.encode()).digest()] = (self._now() + _REMEMBERED, program)
        return program


def create_account(db: Database, name: str, password: str, role: str, *, at: datetime | None = None) -> None:
    """Let a person log in; raises `Malformed` for a short password, an unknown role or a taken name."""
    _require_name(name)
    if role not in ROLES:
        raise Malformed(f"a role is one of {', '.join(sorted(ROLES))}", field="role")
    if not _SHORTEST_PASSWORD <= len(password) <= _LONGEST_PASSWORD:
        raise Malformed(f"a password has at least {_SHORTEST_PASSWORD} characters", field="password")
    hashed = _HASHER.hash(password)
    with db.begin() as tx:
        if tx.execute(select(account.c.name).where(account.c.name == name)).one_or_none():
            raise Malformed("an account of this name exists already; choose another", field="name")
        tx.execute(
            insert(account).values(
                name=name,
                password=hashed,
                role=role,
                created_at=at or datetime.now(UTC),
                failures=0,
                locked_until=None,
            )
        )


def check_password(db: Database, name: str, password: str, now: datetime) -> str:
    """Return the account's name if the password is right; raises `Unauthenticated` otherwise.

    A wrong password, an unknown name and a locked account cost the same work and give the same text.
    """
    with db.read() as tx:
        row = tx.execute(
            select(account.c.name, account.c.password, account.c.locked_until).where(account.c.name == name)
        ).one_or_none()
    right = _verify(_NOBODY if row is None else row.password, password)
    if row is None or (row.locked_until is not None and row.locked_until > now):
        raise Unauthenticated(_WRONG)
    _count(db, name, right=right, now=now)
    if not right:
        raise Unauthenticated(_WRONG)
    return name


def role_of(db: Database, name: str) -> str | None:
    """Return the role that an account has now, None where there is no such account."""
    with db.read() as tx:
        return tx.scalar(select(account.c.role).where(account.c.name == name))


def _verify(hashed: str, password: str) -> bool:
    try:
        return len(password) <= _LONGEST_PASSWORD and _HASHER.verify(hashed, password)
    except (VerifyMismatchError, InvalidHashError):
        return False


def _count(db: Database, name: str, *, right: bool, now: datetime) -> None:
    """Note a failure, locking the account at the fifth; a success forgets those before it."""
    mine = account.c.name == name
    with db.begin() as tx:
        if right:
            tx.execute(
                update(account).where(mine, account.c.failures > 0).values(failures=0, locked_until=None)
            )
            return
        tx.execute(update(account).where(mine).values(failures=account.c.failures + 1))
        tx.execute(
            update(account)
            .where(mine, account.c.failures >= _FAILURES)
            .values(failures=0, locked_until=now + _LOCKED)
        )


def _require_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise Malformed(
            "a name is up to 64 lower-case letters, digits, dots, dashes and underscores; "
            "it is signed into the ledger, so it may not be an address",
            field="name",
        )

"""One access token for all processes: read from the database, fetched by one of them at a time.

Zoho gives ten per refresh token in ten minutes (facts `zoho-crm`, 1.2 and 1.3): were each process to fetch
its own, a handful of commands would leave the worker without.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import uuid4

import msgspec

from service.db import Database
from service.vault.access_token import AccessToken

CLAIM: Final = timedelta(seconds=60)
"""How long the others wait for the one that fetches: two attempts that end in timeouts."""


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """One access token; `api_domain` is where Zoho says that CRM answers for it."""

    value: str
    api_domain: str | None
    renew_at: datetime
    scopes: tuple[str, ...] | None = None
    """What it opens, None where the answer does not say."""

    def __repr__(self) -> str:
        """Return a description without the token itself."""
        return f"Token(api_domain={self.api_domain!r}, renew_at={self.renew_at!r}, scopes={self.scopes!r})"


Good = Callable[[Token], bool]


class Keeper(Protocol):
    """Where the token is that other processes may use too."""

    def read(self) -> Token | None:
        """Return the token that was kept last."""

    def claim(self, good: Good, now: datetime) -> Token | bool:
        """Return a kept token that is `good`; else whether the caller is the one to fetch another."""

    def keep(self, token: Token, now: datetime) -> None:
        """Keep a token for all."""

    def release(self) -> None:
        """Let others fetch; the token is kept, or could not be had."""


class Unshared:
    """The token of a process that has no database: nobody else's."""

    def read(self) -> Token | None:
        """Return None."""

    def claim(self, good: Good, now: datetime) -> Token | bool:  # noqa: ARG002  # the keeper's signature
        """Return True: nobody else fetches."""
        return True

    def keep(self, token: Token, now: datetime) -> None:
        """Keep nothing."""

    def release(self) -> None:
        """Do nothing."""


class SharedToken:
    """The token in the database, for all processes that have the same refresh token."""

    def __init__(self, db: Database, row: AccessToken) -> None:
        self._db = db
        self._row = row
        self._name = uuid4().hex

    def read(self) -> Token | None:
        """Return the token that was kept last, by whichever process."""
        with self._db.read() as tx:
            return _opened(self._row.read(tx))

    def claim(self, good: Good, now: datetime) -> Token | bool:
        """Look again under the row's lock, so that of many processes one fetches."""
        with self._db.begin() as tx:
            self._row.lock(tx)
            kept = _opened(self._row.read(tx))
            if kept is not None and good(kept):
                return kept
            return self._row.claim(tx, self._name, now=now, until=now + CLAIM)

    def keep(self, token: Token, now: datetime) -> None:
        """Keep it sealed, in the place of the one before."""
        with self._db.begin() as tx:
            self._row.keep(tx, msgspec.json.encode(token), renew_at=token.renew_at, now=now)

    def release(self) -> None:
        """Let others fetch, in case that this one got none."""
        with self._db.begin() as tx:
            self._row.release(tx, self._name)


def _opened(plain: bytes | None) -> Token | None:
    """Return the token, None for what another version kept."""
    try:
        return None if plain is None else msgspec.json.decode(plain, type=Token)
    except msgspec.MsgspecError:
        return None

"""Access tokens: who holds one, for how long, for what; and how many were asked for lately."""

import secrets
from collections import defaultdict, deque
from dataclasses import dataclass, field

LIFETIME_S = 3600
THROTTLE_S = 600


@dataclass(frozen=True, slots=True)
class Grant:
    """What one access token opens, and until when."""

    scopes: tuple[str, ...]
    expires_at: float


@dataclass(slots=True)
class Tokens:
    """All living tokens, the revoked refresh tokens, and the times of recent issues per source."""

    live: dict[str, Grant] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    _issued: dict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))

    def throttled(self, source: str, *, limit: int, now: float) -> bool:
        """Return whether `source` has had its tokens of the last ten minutes."""
        issued = self._issued[source]
        while issued and issued[0] <= now - THROTTLE_S:
            issued.popleft()
        return len(issued) >= limit

    def issue(self, source: str, scopes: tuple[str, ...], now: float) -> str:
        """Return a new token of one hour."""
        token = f"1000.{secrets.token_hex(16)}.{secrets.token_hex(16)}"
        self.live[token] = Grant(scopes, now + LIFETIME_S)
        self._issued[source].append(now)
        return token

    def revoke(self, token: str) -> None:
        """Forget an access token, or refuse a refresh token from now on."""
        self.live.pop(token, None)
        self.revoked.add(token)

    def grant(self, header: str, *, bearer: bool, now: float) -> Grant | None:
        """Return what an Authorization header opens, None if it opens nothing."""
        scheme, _, token = header.partition(" ")
        if scheme != "Zoho-oauthtoken" and not (bearer and scheme == "Bearer"):
            return None
        grant = self.live.get(token.strip())
        return grant if grant and grant.expires_at > now else None


def covers(scopes: tuple[str, ...], needed: str) -> bool:
    """Return whether one of `scopes` opens `needed`, e.g. `ZohoCRM.modules.ALL` the Contacts' READ."""
    *where, what = needed.lower().split(".")
    return any(_covers(scope.lower().split("."), where, what) for scope in scopes)


def _covers(scope: list[str], where: list[str], what: str) -> bool:
    *place, operation = scope
    if where[: len(place)] != place:
        return False
    written = {"write": {"create", "update", "delete", "write"}, "create-update": {"create", "update"}}
    return operation in ("all", what) or what in written.get(operation, set())

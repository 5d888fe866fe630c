"""Grant codes, refresh tokens and access tokens: who holds one, where, for how long, for what."""

import secrets
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from service.zoho.scopes import covers

__all__ = ["LIFETIME_S", "Code", "Grant", "Tokens", "covers"]

LIFETIME_S = 3600
THROTTLE_S = 600
MOST_REFRESH_TOKENS = 20
"""Per user; one more drops the oldest (facts `zoho-crm`, 1.2)."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What one access token opens, until when, and in which data centre."""

    scopes: tuple[str, ...]
    expires_at: float
    centre: str = "eu"
    source: str = ""


@dataclass(frozen=True, slots=True)
class Code:
    """A grant code that nobody has exchanged yet; `redirect_uri` is None for one of a self client."""

    scopes: tuple[str, ...]
    expires_at: float
    redirect_uri: str | None = None
    offline: bool = True


@dataclass(slots=True)
class Tokens:
    """All living codes and tokens, the revoked refresh tokens, and the times of recent issues per source."""

    live: dict[str, Grant] = field(default_factory=dict)
    codes: dict[str, Code] = field(default_factory=dict)
    refresh: dict[str, tuple[str, ...]] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    _issued: dict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))

    def throttled(self, source: str, *, limit: int, now: float) -> bool:
        """Return whether `source` has had its tokens of the last ten minutes."""
        issued = self._issued[source]
        while issued and issued[0] <= now - THROTTLE_S:
            issued.popleft()
        return len(issued) >= limit

    def issues(self, now: float) -> dict[str, list[float]]:
        """Return when each source got the tokens that the throttle still counts."""
        recent = {s: [at for at in times if at > now - THROTTLE_S] for s, times in self._issued.items()}
        return {source: times for source, times in recent.items() if times}

    def recall(self, issues: Mapping[str, Sequence[float]]) -> None:
        """Count the tokens that the program before this one issued."""
        self._issued = defaultdict(deque, {source: deque(times) for source, times in issues.items()})

    def issue(self, source: str, scopes: tuple[str, ...], now: float, centre: str = "eu") -> str:
        """Return a new token of one hour, good in one data centre."""
        token = _random()
        self.live[token] = Grant(scopes, now + LIFETIME_S, centre, source)
        self._issued[source].append(now)
        return token

    def keep_newest(self, source: str, most: int) -> None:
        """Let the oldest access tokens of a source die above so many; 0 for any number."""
        mine = [token for token, grant in self.live.items() if grant.source == source]
        for token in mine[: max(0, len(mine) - most)] if most else ():
            del self.live[token]

    def issue_code(self, code: Code) -> str:
        """Return a new grant code."""
        text = _random()
        self.codes[text] = code
        return text

    def redeem(self, text: str, now: float) -> Code | None:
        """Return what a grant code stands for, once; None for one that is used, expired or unknown."""
        code = self.codes.pop(text, None)
        return code if code and code.expires_at > now else None

    def issue_refresh(self, scopes: tuple[str, ...]) -> str:
        """Return a new refresh token, which lives until it is revoked or twenty newer ones exist."""
        token = _random()
        self.refresh[token] = scopes
        while len(self.refresh) > MOST_REFRESH_TOKENS:
            del self.refresh[next(iter(self.refresh))]
        return token

    def revoke(self, token: str) -> None:
        """Forget an access token, or refuse a refresh token from now on."""
        self.live.pop(token, None)
        self.refresh.pop(token, None)
        self.revoked.add(token)

    def grant(self, header: str, *, bearer: bool, now: float, centre: str | None = None) -> Grant | None:
        """Return what an Authorization header opens in a data centre (None: in any), None for nothing."""
        scheme, _, token = header.partition(" ")
        if scheme != "Zoho-oauthtoken" and not (bearer and scheme == "Bearer"):
            return None
        grant = self.live.get(token.strip())
        if grant is None or grant.expires_at <= now or centre not in (None, grant.centre):
            return None
        return grant


def _random() -> str:
    return f"1000.{secrets.token_hex(16)}.{secrets.token_hex(16)}"

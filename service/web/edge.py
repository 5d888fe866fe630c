"""What every handler of the edge is given, and how long an answer about a person takes at least."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from service.db import Database
from service.intake import Intake
from service.ledger.quorum import LogPolicy
from service.policy import PolicySet
from service.reconciler.audit import Audit
from service.web.auth import KeyRing
from service.web.returning import Returns

LOOKUP_S: Final = 0.02  # longer than the difference between a hit and a miss (reliability.md, S11)
LOGIN_S: Final = 0.5  # longer than one argon2id and a write of the failure count
AT_ONCE: Final = 2  # log-ins checked at the same time: each takes 64 MiB and a core
_JITTER = 0.1  # of the floor, at most

_SCATTER = random.SystemRandom()


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """The parts that the handlers need; `public_url` is where browsers reach us."""

    public_url: str
    policy: PolicySet
    db: Database
    intake: Intake
    keyring: KeyRing
    now: Callable[[], datetime]
    log_policy: LogPolicy = field(default_factory=LogPolicy)
    """Whose cosignatures upgrade a receipt."""
    audit: Callable[[int], Audit] | None = None
    """Makes a sync audit that forecasts a push of so many contacts; None where no Zoho is connected."""
    hook_token: str = field(default="", repr=False)
    """What webhooks carry; empty: none are taken."""
    returns: Returns = field(default_factory=Returns)
    logins: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    @property
    def origin(self) -> str:
        """Return our own origin as browsers send it: scheme, host and port."""
        where = urlsplit(self.public_url)
        return f"{where.scheme}://{where.netloc}"

    @property
    def secure(self) -> bool:
        """Return whether browsers reach us over https; only then can cookies be bound to the host."""
        return urlsplit(self.public_url).scheme == "https"


@asynccontextmanager
async def at_least(floor_s: float) -> AsyncIterator[None]:
    """Let the block, whether it returns or raises, take `floor_s` seconds and a little more."""
    clock = asyncio.get_running_loop()
    started = clock.time()
    try:
        yield
    finally:
        wanted = floor_s * (1 + _SCATTER.random() * _JITTER)
        await asyncio.sleep(max(0.0, wanted - (clock.time() - started)))

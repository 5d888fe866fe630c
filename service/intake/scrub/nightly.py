"""The nightly look at a share of everything stored, so that all of it is looked at again every week.

What it finds is kept, logged and told in the nightly mail; it stops nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime

import structlog

from service.db import Database
from service.intake.erasures import ErasureList
from service.intake.scrub import beside_the_log, of_the_log
from service.ledger.fence import Fence
from service.ledger.scrub import Damage, looks, scrub
from service.ledger.scrub.blocks import STEP
from service.ledger.scrub.share import Share, plan
from service.ledger.store import Store
from service.policy import PolicySet
from service.vault.keys import Keys

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrub:
    """Looks at the next share each night; a round over everything ends within `days` nights.

    `keys` returns the keys as they are now; `now` is the clock.
    """

    db: Database
    keys: Callable[[], Keys]
    policy: PolicySet
    fence: Fence
    erasures: ErasureList
    days: int
    now: Callable[[], datetime]
    step: int = STEP

    def look(self, night: date) -> None:
        """Look at the share of this night and keep what was found; nothing if that was done already."""
        started_at, keys = self.now(), self.keys()
        with self.db.read() as tx:
            store = Store(keys.log.name)
            if looks.has(tx, night) or not store.exists(tx):
                return
            size = store.size(tx)
            share, began = plan(looks.where(tx), size, night, self.days, step=self.step)
        found = self._found(share, keys)
        with self.db.begin() as tx:
            looks.keep(
                tx,
                share,
                found,
                night=night,
                began=began,
                size=size,
                started_at=started_at,
                finished_at=self.now(),
            )
        _tell(share, size, found)

    def _found(self, share: Share, keys: Keys) -> list[Damage]:
        parts = [
            *of_the_log(keys, self.fence, share),
            *beside_the_log(keys, self.policy, self.erasures.read().persons, share),
        ]
        return list(scrub(self.db, parts, lambda *_: None))


def _tell(share: Share, size: int, found: list[Damage]) -> None:
    for one in found[:10]:
        log.error("scrub.damaged", where=one.where, what=one.what)
    log.info("scrub.looked", start=share.start, stop=share.upto(size), size=size, damaged=len(found))

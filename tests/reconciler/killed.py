"""A worker in a process of its own that stops at one step, so that it can be killed there."""

import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from service.reconciler.context import Progress
from service.reconciler.enforce import carry_out
from service.zoho.quota import Limit
from service.zoho.shared import SharedQuota
from tests.reconciler.apart import reconciler
from tests.reconciler.conftest import Clock


class Narrow(SharedQuota):
    """The budget of all nodes, where five minutes allow five calls about Do-Not-Mail."""

    MOST = 5

    def limits(self, account: str) -> Sequence[Limit]:
        if account.endswith("contactdonotmail"):
            return (Limit(self.MOST, 300),)
        return super().limits(account)


def work(database: str, vendor: str, step: str, mark: str) -> None:
    """Carry out, and leave a mark and wait for ever once `step` is reached."""
    with reconciler(database, vendor, now=Clock(), progress=_waits_at(step, Path(mark))) as context:
        carry_out(context, worker="killed")


def work_narrowly(database: str, vendor: str, mark: str, ahead_s: str, limit: str) -> None:
    """The same once Campaigns was written, with a clock and a budget as those have who go on."""
    now, progress = Clock(timedelta(seconds=float(ahead_s))), _waits_at("campaigns refused", Path(mark))
    with reconciler(
        database, vendor, now=now, progress=progress, quota=lambda db: Narrow(db, clock=now)
    ) as context:
        carry_out(context, worker="killed", limit=int(limit))


def _waits_at(step: str, mark: Path) -> Progress:
    def progress(now: str, _done: int, _total: int) -> None:
        if now == step:
            mark.touch()
            time.sleep(600)

    return progress

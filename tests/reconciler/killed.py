"""A worker in a process of its own that stops at one step, so that it can be killed there."""

import time
from pathlib import Path

from service.reconciler.enforce import carry_out
from tests.reconciler.apart import reconciler
from tests.reconciler.conftest import Clock


def work(database: str, vendor: str, step: str, mark: str) -> None:
    """Carry out, and leave a mark and wait for ever once `step` is reached."""

    def progress(now: str, _done: int, _total: int) -> None:
        if now == step:
            Path(mark).touch()
            time.sleep(600)

    with reconciler(database, vendor, now=Clock(), progress=progress) as context:
        carry_out(context, worker="killed")

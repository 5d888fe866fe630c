"""A reconciler in a process of its own that can be stopped dead at one step, and wakes up out of date."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from service.errors import ServiceError
from service.reconciler.run import reconcile
from tests.reconciler.apart import reconciler
from tests.test_crash import processes
from tests.waiting import until


@dataclass(frozen=True, slots=True)
class Places:
    """The files by which two processes speak: here it stands, it may go on, so much time has passed."""

    folder: Path

    @property
    def reached(self) -> Path:
        return self.folder / "reached"

    @property
    def released(self) -> Path:
        return self.folder / "released"

    @property
    def slept(self) -> Path:
        return self.folder / "slept"

    @property
    def ended(self) -> Path:
        return self.folder / "ended"

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=float(self.slept.read_text()))


def reconcile_until(database: str, vendor: str, step: str, places: Places) -> None:
    """Run once, and stand still at the first `step` until released."""

    def progress(now: str, _done: int, _total: int) -> None:
        if now == step:
            places.reached.touch()
            while not places.released.exists():
                time.sleep(0.002)

    with reconciler(database, vendor, now=places.now, progress=progress) as context:
        try:
            reconcile(context, applying=True)
        except (ServiceError, DBAPIError) as error:
            places.ended.write_text(type(error).__name__)


@contextmanager
def frozen(database: str, vendor: str, step: str, folder: Path, *, slept_s: float) -> Iterator[BaseProcess]:
    """Stop another process's run with SIGSTOP while the block lasts; then let it go on to its end."""
    places = Places(folder)
    places.slept.write_text("0")
    process = processes.Process(target=reconcile_until, args=(database, vendor, step, places), daemon=True)
    process.start()
    try:
        until(places.reached.exists, within_s=60)
        os.kill(process.pid, signal.SIGSTOP)
        yield process
        places.slept.write_text(str(slept_s))
        places.released.touch()
        os.kill(process.pid, signal.SIGCONT)
        process.join(60)
    finally:
        process.kill()

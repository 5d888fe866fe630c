"""Callers that never give up: each event is sent again under its key until it is answered."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

from service.db import Database
from service.errors import Unavailable
from service.intake import Claim, Intake
from tests import running
from tests.test_crash import Auditor

CALLERS = 8
PATIENCE_S = 60.0


@dataclass
class Load:
    """What callers were told: a receipt per event, and how often they had to ask again."""

    intake: Intake
    name: str
    receipts: list[bytes] = field(default_factory=list)
    refused: int = 0
    _over: threading.Event = field(default_factory=threading.Event)
    _given_up: threading.Event = field(default_factory=threading.Event)

    def call(self, caller: int) -> None:
        for number in count():
            if self._over.is_set():
                return
            key = f"{self.name}-{caller}-{number}"
            if (receipt := self.until_answered(running.claim(f"{key}@example.org", key=key))) is not None:
                self.receipts.append(receipt)

    def until_answered(self, told: Claim) -> bytes | None:
        """Return the receipt; None if there was none when it was long over."""
        while not self._given_up.is_set():
            try:
                return self.intake.submit(told).result(PATIENCE_S).receipt()
            except Unavailable:
                self.refused += 1
                time.sleep(0.01)
        return None

    @contextmanager
    def running(self, callers: int = CALLERS) -> Iterator["Load"]:
        """Call from so many threads; afterwards every call has been answered."""
        threads = [threading.Thread(target=self.call, args=(number,)) for number in range(callers)]
        for thread in threads:
            thread.start()
        try:
            yield self
        except BaseException:
            self._given_up.set()
            raise
        finally:
            self._over.set()
            for thread in threads:
                thread.join(PATIENCE_S)
        assert not any(thread.is_alive() for thread in threads)


def look(database: Database, receipts: list[bytes]) -> int:
    """Judge the ledger by every receipt: all there, dense, one row per key; return its size."""
    auditor = Auditor(database, running.keys())
    auditor.look(receipts)
    assert len(set(receipts)) == len(receipts)
    return auditor.heads[-1].size

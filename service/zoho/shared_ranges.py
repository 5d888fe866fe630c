"""How many rows of each listing Campaigns gives at once, kept in the database for all nodes."""

import threading
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import msgspec

from service.db import Database
from service.zoho import blocks
from service.zoho.wire import Clock

ACCOUNT: Final = "campaigns.ranges"
BELIEVED_FOR = timedelta(days=30)
"""How long a refusal is remembered; then 500 rows are asked for once more."""
KNOWN_FOR_S = 60.0
"""How long what another node found out may stay unseen."""


class SharedRanges:
    """What any node found out, in the database."""

    def __init__(self, db: Database, *, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._known: Mapping[str, int] = {}
        self._known_until = 0.0
        self._mutex = threading.Lock()

    @property
    def known(self) -> Mapping[str, int]:
        """Return what is smaller than usual, as of a minute ago at most."""
        with self._mutex:
            if time.monotonic() >= self._known_until:
                with self._db.read() as tx:
                    self._remember(self._decoded(blocks.facts(tx, ACCOUNT)))
            return self._known

    def keep(self, endpoint: str, rows: int) -> None:
        """Remember it for all nodes, beside what they found out about other endpoints."""
        now = self._clock()
        with self._mutex, self._db.begin() as tx:
            blocks.locked(tx, ACCOUNT)
            found = {**self._decoded(blocks.facts(tx, ACCOUNT)), endpoint: rows}
            blocks.keep_facts(tx, ACCOUNT, msgspec.json.encode(found).decode(), now)
            self._remember(found)

    def _decoded(self, facts: blocks.Facts | None) -> Mapping[str, int]:
        if facts is None or facts[1] <= self._clock() - BELIEVED_FOR:
            return {}
        return msgspec.json.decode(facts[0], type=dict[str, int])

    def _remember(self, found: Mapping[str, int]) -> None:
        self._known, self._known_until = found, time.monotonic() + KNOWN_FOR_S

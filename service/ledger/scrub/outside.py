"""What others know of the log: the fence and witnesses, so that a database that is whole but old is told."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection

from service.ledger.attestors import sightings
from service.ledger.fence import Fence, Guard, Sighting
from service.ledger.note import split_note
from service.ledger.proof import Checkpoint
from service.ledger.scrub import Count, Damage
from service.ledger.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """Compares one log with its fence and with what witnesses have seen."""

    store: Store
    fence: Fence | None

    def look(self, tx: Connection, count: Count) -> Iterator[Damage]:
        """Yield how the log contradicts what is known of it outside the database."""
        count(0, 0)
        if not self.store.exists(tx):
            return
        seen = sightings(tx, proven=False)
        known = None if self.fence is None else self.fence.read()
        if known is not None:
            seen.insert(0, Sighting(who="the fence", size=known.size, root=known.root))
        guard = Guard()
        head = Checkpoint.parse(split_note(self.store.head(tx))[0])
        guard.judge(tx, self.store, head, seen)
        if guard.trouble is not None:
            yield Damage(where="the log", what=guard.trouble)

"""Have witnesses cosign the newest published checkpoint, and learn what they have seen of this log.

Each witness is asked for itself. It says by a 409 answer which size it knows, behind ours or ahead of it;
the proof that leads from there is made from the stored hashes, never from memory of what we sent before.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import structlog

from service.anchor.http import Answer, Wire
from service.db import Database
from service.errors import Malformed, Tampered, Unavailable
from service.ledger import anchors, attestors, merkle
from service.ledger.attestors import Kind
from service.ledger.note import Verifies
from service.ledger.proof import Checkpoint, open_checkpoint
from service.ledger.publication import Published, latest
from service.ledger.quorum import Party
from service.ledger.store import Store
from service.ledger.witness import (
    SIZE_TYPE,
    Addition,
    Cosignature,
    accept,
    decode_size,
    encode_request,
    monitoring_path,
)

ROUNDS: Final = 3
"""Requests to one witness in one attempt: another process may be telling it of the same log."""

log = structlog.get_logger()


class WitnessClient:
    """Speaks with one witness; `log_keys` are all that ever signed checkpoints of this log."""

    def __init__(
        self,
        db: Database,
        store: Store,
        log_keys: Sequence[Verifies],
        *,
        witness: Party,
        monitor: str,
        now: Callable[[], datetime],
    ) -> None:
        assert witness.url, "a witness without an address cannot be asked"
        self.witness = witness
        self._url = f"{witness.url.rstrip('/')}/add-checkpoint"
        self._monitor = f"{monitor.rstrip('/')}/{monitoring_path(store.origin)}"
        self._db = db
        self._store = store
        self._log_keys = log_keys
        self._now = now

    def attend(self, wire: Wire) -> bool:
        """Have the newest published checkpoint cosigned if that is due; return whether it was.

        What goes wrong is noted in the database and logged, never raised.
        """
        with self._db.read() as tx:
            published, known = latest(tx), attestors.seen_size(tx, self.witness.name)
            done = published is None or self._is_done(attestors.attestors(tx, self._now()), published)
        if done or published is None:
            return False
        try:
            found = self._cosign(wire, published, min(known, published.size))
        except (Unavailable, Malformed, Tampered) as error:
            return self._failed(str(error))
        with self._db.begin() as tx:
            anchors.keep_cosignatures(tx, published.size, [found])
            attestors.succeeded(tx, Kind.WITNESS, self.witness.name, published.size, self._now())
            attestors.saw(tx, self.witness.name, published.size, published.root)
        return True

    def look(self, wire: Wire) -> Checkpoint | None:
        """Return the checkpoint of ours that the witness shows, and note it; None if it shows none.

        For the start of the service: a database that is behind what a witness cosigned must not sign.
        """
        try:
            answer = wire.get(self._monitor)
            if answer.status != 200:  # noqa: PLR2004  # HTTP's own number
                return None
            seen = open_checkpoint(answer.body, self._log_keys)
        except (Unavailable, Tampered) as error:
            log.warning("witness.not_seen", witness=self.witness.name, why=str(error))
            return None
        if seen.origin != self._store.origin:
            return None
        with self._db.begin() as tx:
            attestors.saw(tx, self.witness.name, seen.size, seen.root)
        return seen

    def _is_done(self, found: tuple[attestors.Attestor, ...], published: Published) -> bool:
        """Return whether nothing is to be asked: attested at this size, and not a day ago."""
        mine = next((o for o in found if (o.kind, o.name) == (Kind.WITNESS, self.witness.name)), None)
        return mine is not None and mine.size >= published.size and mine.due_at is None

    def _cosign(self, wire: Wire, published: Published, old: int) -> Cosignature:
        for _ in range(ROUNDS):
            answer = wire.post(self._url, self._request(published, old), "text/plain")
            if answer.status == 200:  # noqa: PLR2004  # HTTP's own number
                return accept(published.note, answer.body, self.witness.key, now=self._now())
            known = self._known(answer)
            if known == old:
                raise Malformed(f"the witness asks for a proof from size {old}, which it was given")
            if known > published.size:
                raise self._ahead(wire, published, known)
            old = known
        raise Unavailable("the witness is being told of this log by another process")

    def _request(self, published: Published, old: int) -> bytes:
        with self._db.read() as tx:
            proof = merkle.consistency_proof(old, published.size, self._store.reader(tx))
        return encode_request(Addition(old=old, proof=tuple(proof), note=published.note))

    def _known(self, answer: Answer) -> int:
        """Return the size that a witness answered instead of cosigning; raises for any other answer."""
        if answer.status != 409 or answer.kind != SIZE_TYPE:  # noqa: PLR2004  # HTTP's own number
            told = {
                403: "it does not know the key that signed",
                404: "it does not know this log; ask its operator to add it",
                422: "it holds that this log does not continue the one that it knows",
            }
            raise Unavailable(
                f"the witness answered {answer.status}: {told.get(answer.status, 'no cosignature')}"
            )
        return decode_size(answer.body)

    def _ahead(self, wire: Wire, published: Published, known: int) -> Unavailable:
        """Return why a witness that knows more than was published is no help, and note what it knows."""
        with self._db.read() as tx:
            newest = latest(tx)
        if newest is not None and newest.size >= known:
            return Unavailable("a newer checkpoint was published meanwhile")
        seen = self.look(wire)
        if seen is None or seen.size < known:
            with self._db.begin() as tx:
                attestors.saw(tx, self.witness.name, known, None)
        log.error("witness.ahead", witness=self.witness.name, knows=known, published=published.size)
        return Unavailable(
            f"the witness knows {known} entries of this log, but only {published.size} are published; was an "
            "older backup restored?"
        )

    def _failed(self, why: str) -> bool:
        log.warning("witness.failed", witness=self.witness.name, why=why)
        with self._db.begin() as tx:
            attestors.failed(tx, Kind.WITNESS, self.witness.name, self._now(), why)
        return False

"""One log in the database: read its entries, hashes and head, and append to it inside a transaction.

Only this module and the sequencer touch the ledger tables. Nothing here commits. The head row is
locked by every append, which is what makes indexes dense whoever appends (tlog.md 3.6).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from typing import Any, TypeAlias

from sqlalchemy import Connection, Table, bindparam, insert, select, text, update

from service.db import dedupe, insert_all, insert_rows, leaf, log_state, node, rows_between, rows_in
from service.errors import KeysChanged, ReadOnly, Tampered
from service.ledger import merkle
from service.ledger.merkle import Edge
from service.ledger.note import Signs
from service.ledger.proof import Checkpoint, sign_checkpoint

LOG_ID = 1
_OF_LOG = f"log_id = {LOG_ID}"

_LOCK = (
    select(log_state.c.edge, log_state.c.generation, log_state.c.erasures, log_state.c.frozen)
    .where(log_state.c.log_id == LOG_ID)
    .with_for_update()
)
_ADVANCE = (
    update(log_state)
    .where(log_state.c.log_id == LOG_ID, log_state.c.size == bindparam("old_size"))
    .values(size=bindparam("new_size"), edge=bindparam("new_edge"), head=bindparam("new_head"))
)
_ADVANCE_TOO = (
    "UPDATE log_state SET size = %b::bigint, edge = %b::bytea, head = %b::bytea "
    "WHERE log_id = 1 AND size = %b::bigint"
)
"""The same as the end of a statement of PostgreSQL that also inserts."""
_KNOWN = (dedupe.c.key, dedupe.c.request, dedupe.c.idx, dedupe.c.size)


Request: TypeAlias = tuple[bytes, bytes, int]
"""An idempotency key, the hash of what was asked under it, and which of the appended entries answers it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What an idempotency key stands for: the request's hash, the entry, the receipt's tree size."""

    request: bytes
    index: int
    size: int


def dedupe_digest(key: bytes, known: Known) -> bytes:
    """Return what tells whether a row of `dedupe` is as it was written; PostgreSQL checks it then."""
    numbers = known.index.to_bytes(8, "big") + known.size.to_bytes(8, "big")
    return sha256(key + known.request + numbers).digest()[:8]


@dataclass(frozen=True, slots=True)
class Extent:
    """What one append added: the first index, the new size, the leaf hashes between, the signed head."""

    start: int
    size: int
    hashes: Sequence[bytes]
    head: bytes


class Store:
    """The ledger tables of one log; `signer` is the log key, None where nothing is appended.

    `generation` is that of the keys in use. `erasures` is how many persons were erased when the head was
    last locked, `locked` how many entries there were; only whoever holds that lock may trust them.
    """

    def __init__(self, origin: str, signer: Signs | None = None, *, generation: int = 0) -> None:
        self.origin = origin
        self.generation = generation
        self.erasures = 0
        self.locked = 0
        self._signer = signer
        self._settled = merkle.Settled()

    def adopt(self, signer: Signs, generation: int) -> None:
        """Sign with this key, of this generation, from now on."""
        self._signer, self.generation = signer, generation

    def exists(self, tx: Connection) -> bool:
        """Return whether this log was begun in this database; `Tampered` if another one was."""
        origin = tx.scalar(select(log_state.c.origin).where(log_state.c.log_id == LOG_ID))
        if origin not in (None, self.origin):
            raise Tampered(f"this database holds the log {origin}, not {self.origin}; correct CONSENT_ORIGIN")
        return origin is not None

    def begin(self, tx: Connection) -> None:
        """Begin an empty log."""
        edge = Edge()
        tx.execute(
            insert(log_state).values(
                log_id=LOG_ID, origin=self.origin, size=0, edge=edge.to_bytes(), head=self._sign(edge)
            )
        )

    def lock(self, tx: Connection) -> Edge:
        """Lock the head row until the transaction ends and return the right edge of the tree.

        Raises `KeysChanged` where the ledger is at a newer generation of keys, `ReadOnly` for a frozen log.
        """
        found = tx.execute(_LOCK).one_or_none()
        if found is None:
            raise Tampered("the head of the log is missing; restore the database from a backup that verifies")
        edge, generation, self.erasures, frozen = found
        if generation > self.generation:
            raise KeysChanged(generation)
        if frozen:
            raise ReadOnly("this log is frozen and takes no entry any more; send the event to its successor")
        found_edge = Edge.from_bytes(edge)
        self.locked = found_edge.size
        return found_edge

    def append(
        self, tx: Connection, edge: Edge, entries: Sequence[bytes], requests: Sequence[Request] = ()
    ) -> Extent:
        """Write entries behind the locked `edge`, which grows, then advance and sign the head.

        Each request is bound to one of these entries, for ever.
        """
        start = edge.size
        hashes = [merkle.leaf_hash(entry) for entry in entries]
        nodes = [completed for leaf_hash in hashes for completed in edge.add(leaf_hash)]
        leaves = zip(range(start, edge.size), hashes, entries, strict=True)
        bound = [
            (key, Known(request=request, index=start + place, size=edge.size))
            for key, request, place in requests
        ]
        rows: dict[Table, Sequence[dict[str, Any]]] = {
            leaf: [{"log_id": LOG_ID, "idx": i, "hash": h, "entry": e} for i, h, e in leaves],
            node: [{"log_id": LOG_ID, "level": n, "idx": i, "hash": h} for n, i, h in nodes],
            dedupe: _remembered(bound),
        }
        return Extent(start, edge.size, hashes, self._write(tx, rows, start, edge))

    @property
    def trouble(self) -> str | None:
        """Return why nothing may be signed any more; None, as nobody here compares."""
        return None

    def committed(self) -> None:
        """Hear that the last append was committed; nothing here depends on it."""

    def known(self, tx: Connection, keys: Sequence[bytes]) -> dict[bytes, Known]:
        """Return what these idempotency keys already stand for."""
        rows = rows_in(tx, _KNOWN, dedupe.c.key, keys, _OF_LOG)
        return {key: Known(request=request, index=index, size=size) for key, request, index, size in rows}

    def remember(self, tx: Connection, rows: Sequence[tuple[bytes, Known]]) -> None:
        """Bind idempotency keys to the entries they recorded, for ever."""
        insert_rows(tx, dedupe, _remembered(rows))

    def note_replay(self, tx: Connection) -> None:
        """Make this transaction write, so that a replayed answer waits for replication like a new one."""
        if tx.dialect.name == "postgresql":
            tx.execute(text("SELECT pg_logical_emit_message(true, 'consent-ledger', 'replay')"))

    def head(self, tx: Connection) -> bytes:
        """Return the signed checkpoint of the log as it stands."""
        return tx.execute(select(log_state.c.head).where(log_state.c.log_id == LOG_ID)).scalar_one()

    def size(self, tx: Connection) -> int:
        """Return how many entries the log has."""
        return tx.execute(select(log_state.c.size).where(log_state.c.log_id == LOG_ID)).scalar_one()

    def last_entry(self, tx: Connection) -> bytes | None:
        """Return the entry at the end of the log, None of an empty one."""
        last = select(log_state.c.size - 1).where(log_state.c.log_id == LOG_ID).scalar_subquery()
        return tx.scalar(select(leaf.c.entry).where(leaf.c.log_id == LOG_ID, leaf.c.idx == last))

    def ledger_generation(self, tx: Connection) -> int:
        """Return how often the service's keys changed, as the ledger counts it."""
        return tx.execute(select(log_state.c.generation).where(log_state.c.log_id == LOG_ID)).scalar_one()

    def note(self, tx: Connection, *, erasures: int = 0, generation: int | None = None) -> None:
        """Count erasures, or say which generation of keys begins; the caller's transaction holds the head."""
        changed = {"erasures": log_state.c.erasures + erasures}
        told = changed if generation is None else {**changed, "generation": generation}
        tx.execute(update(log_state).where(log_state.c.log_id == LOG_ID).values(**told))

    def freeze(self, tx: Connection) -> None:
        """Take no entry any more after this transaction, which holds the head."""
        tx.execute(update(log_state).where(log_state.c.log_id == LOG_ID).values(frozen=1))

    def frozen(self, tx: Connection) -> bool:
        """Return whether the log has its last entry."""
        return bool(tx.scalar(select(log_state.c.frozen).where(log_state.c.log_id == LOG_ID)))

    def checkpoint(self, tx: Connection, size: int) -> bytes:
        """Return the signed checkpoint of the log as it was at `size`; the same bytes every time."""
        return self._checkpoint(size, merkle.root(size, self.reader(tx)))

    def entries(self, tx: Connection, indexes: Iterable[int]) -> dict[int, bytes]:
        """Return the bytes of these entries, as they were signed."""
        return dict(rows_between(tx, (leaf.c.idx, leaf.c.entry), leaf.c.idx, _runs(indexes), _OF_LOG))

    def leaf_hashes(self, tx: Connection, indexes: Iterable[int]) -> dict[int, bytes]:
        """Return the stored leaf hashes of these entries."""
        return dict(rows_between(tx, (leaf.c.idx, leaf.c.hash), leaf.c.idx, _runs(indexes), _OF_LOG))

    def proofs(
        self, tx: Connection, indexes: Sequence[int], size: int, *, settled: bool = False
    ) -> dict[int, list[bytes]]:
        """Return the inclusion proofs of these entries in the tree of `size`.

        `settled` says that all of it is committed; then hashes of former calls are used again.
        """
        return merkle.inclusion_proofs(indexes, size, self.reader(tx), self._settled if settled else None)

    def reader(self, tx: Connection) -> merkle.Read:
        """Return a reader of stored hashes for `merkle`; few statements however many are asked for."""

        def read(wanted: Sequence[tuple[int, int]]) -> list[bytes]:
            found: dict[tuple[int, int], bytes] = {}
            for level, pairs in groupby(sorted(set(wanted)), key=lambda pair: pair[0]):
                hashes = self._level(tx, level, [index for _, index in pairs])
                found.update(((level, index), value) for index, value in hashes.items())
            if missing := [pair for pair in wanted if pair not in found]:
                raise Tampered(
                    f"the log misses the stored hash at level {missing[0][0]}, index {missing[0][1]}"
                )
            return [found[pair] for pair in wanted]

        return read

    def _level(self, tx: Connection, level: int, indexes: Sequence[int]) -> dict[int, bytes]:
        if level == 0:
            return self.leaf_hashes(tx, indexes)
        where = f"{_OF_LOG} AND level = {level}"
        return dict(rows_between(tx, (node.c.idx, node.c.hash), node.c.idx, _runs(indexes), where))

    def _write(
        self, tx: Connection, rows: Mapping[Table, Sequence[dict[str, Any]]], old_size: int, edge: Edge
    ) -> bytes:
        """Write these rows and advance the head, on PostgreSQL in one statement; return the signed head."""
        head = self._sign(edge)
        moved = {"new_size": edge.size, "new_edge": edge.to_bytes(), "new_head": head, "old_size": old_size}
        if tx.dialect.name == "postgresql":
            advanced = insert_all(tx, rows, _ADVANCE_TOO, tuple(moved.values()))
        else:
            insert_all(tx, rows)
            advanced = tx.execute(_ADVANCE, moved).rowcount
        if advanced != 1:
            raise Tampered("the head of the log moved while it was locked; nothing was written")
        return head

    def _sign(self, edge: Edge) -> bytes:
        return self._checkpoint(edge.size, edge.root())

    def _checkpoint(self, size: int, root: bytes) -> bytes:
        assert self._signer is not None, "a log without its key only reads"
        return sign_checkpoint(Checkpoint(origin=self.origin, size=size, root=root), self._signer)


def _remembered(rows: Iterable[tuple[bytes, Known]]) -> list[dict[str, Any]]:
    return [
        {
            "log_id": LOG_ID,
            "key": key,
            "request": known.request,
            "idx": known.index,
            "size": known.size,
            "digest": dedupe_digest(key, known),
        }
        for key, known in rows
    ]


def _runs(indexes: Iterable[int]) -> list[tuple[int, int]]:
    """Return these indexes as runs of neighbours, each with its first and last."""
    found: list[tuple[int, int]] = []
    for index in sorted(set(indexes)):
        if found and found[-1][1] == index - 1:
            found[-1] = found[-1][0], index
        else:
            found.append((index, index))
    return found

"""The published log as a folder of files: the auditor's package, and a mirror that any web server serves.

The paths are those of `/log/` (c2sp.org/tlog-tiles); beside them stand `policy.txt`, `keys.txt` and
`SPEC.md`. Every entry is read and hashed again on its way out. The checkpoint is written last, so a
folder that has one has all that it promises; an export that was interrupted goes on where it stopped,
and a later one adds only what is new.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from service.db import Database
from service.errors import NotFound, Tampered
from service.ledger import merkle
from service.ledger.anchors import dressed, time_stamps
from service.ledger.export.folder import Folder
from service.ledger.merkle import HASH_BYTES, Edge
from service.ledger.note import Verifies
from service.ledger.proof import Checkpoint, open_checkpoint
from service.ledger.publication import latest
from service.ledger.reread import edge_at, reread
from service.ledger.store import Store
from service.ledger.tiles import WIDTH, Tile, encode_entries, entry_tiles, hash_tile, tiles

CHECKPOINT = "checkpoint"
STAMPS = "tsr"

_UNFIT = re.compile(r"[^a-zA-Z0-9._-]")  # for a file name

Progress = Callable[[int, int], None]
"""Told, after each step, how many entries are in the folder and how many there will be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export did: the log's size in the folder, before and now, and how many files it wrote."""

    before: int
    size: int
    files: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """From a log into a folder; `verifiers` are the log's own keys, Ed25519 and ML-DSA-44."""

    db: Database
    store: Store
    verifiers: Sequence[Verifies]

    def run(self, out: Folder, texts: Mapping[str, bytes], progress: Progress) -> Exported:
        """Bring the folder to the newest published checkpoint; `texts` are the files beside the log.

        Raises `NotFound` before anything is published, and `Tampered` if the folder holds another log or
        a file that this one does not have, or if the log is not what it published.
        """
        with self.db.read() as tx:
            published = latest(tx)
        if published is None:
            raise NotFound("nothing is published yet; start `consent-ledger serve` or `worker` first")
        head = self._open(published.note, "the published checkpoint")
        before = self._held(out, head)
        start = before // WIDTH * WIDTH if _is_whole(out, before) else 0
        self._write_tiles(out, start, head, progress)
        for name, text in texts.items():
            out.put(name, text)
        self._write_stamps(out, head.size)
        out.settle()  # all that the checkpoint promises is on the disk before the checkpoint is
        with self.db.read() as tx:
            note = dressed(tx, published.size, published.note)
        out.put(CHECKPOINT, note)
        out.settle()
        _drop_outgrown(out, start, head.size)
        return Exported(before=before, size=head.size, files=out.written)

    def _open(self, note: bytes, what: str) -> Checkpoint:
        found = open_checkpoint(note, self.verifiers)
        if found.origin != self.store.origin:
            raise Tampered(f"{what} is one of {found.origin}, not of {self.store.origin}")
        return found

    def _held(self, out: Folder, head: Checkpoint) -> int:
        """Return the size of the log that the folder has already, 0 if it has none or is unfinished."""
        note = out.read(CHECKPOINT)
        if note is None:
            return 0
        held = self._open(note, "the checkpoint in the folder")
        with self.db.read() as tx:
            ours = held.size <= head.size and merkle.root(held.size, self.store.reader(tx)) == held.root
        if not ours:
            raise Tampered(
                f"the folder holds {held.size} entries that are not the first of the {head.size} published "
                "here: one of the two was changed, or restored from an older copy. Keep both and compare them"
            )
        return held.size

    def _write_tiles(self, out: Folder, start: int, head: Checkpoint, progress: Progress) -> None:
        """Write all tiles from entry `start` on; the entries are read again and lead to the signed root."""
        with self.db.read() as tx:
            edge = edge_at(start, self.store.reader(tx))
        progress(edge.size, head.size)
        while edge.size < head.size:
            self._write_chunk(out, edge, head.size)
            progress(edge.size, head.size)
        if edge.root() != head.root:
            raise Tampered(f"the first {head.size} entries do not add up to the root that was published")
        for tile in tiles(head.size, since=start):
            if tile.level:
                with self.db.read() as tx:
                    out.keep(tile.path, hash_tile(tile, self.store.reader(tx)))

    def _write_stamps(self, out: Folder, size: int) -> None:
        """Write the time stamps of published checkpoints, each with what it is over and its chain."""
        with self.db.read() as tx:
            stamps = [stamp for stamp in time_stamps(tx) if stamp.size <= size]
        for stamp in stamps:
            name = f"{stamp.size}-{stamp.at:%Y%m%dT%H%M%SZ}-{_UNFIT.sub('-', stamp.authority)}"
            for ending, data in (("checkpoint", stamp.note), ("tsr", stamp.reply), ("pem", stamp.chain)):
                out.keep(f"{STAMPS}/{name}.{ending}", data)

    def _write_chunk(self, out: Folder, edge: Edge, end: int) -> None:
        """Write some tiles of entries, then the level-0 tiles over them, in a transaction of their own."""
        first = edge.size
        with self.db.read() as tx:
            entries = next(reread(tx, self.store, edge, end))
        groups = [entries[at : at + WIDTH] for at in range(0, len(entries), WIDTH)]
        for index, group in enumerate(groups, first // WIDTH):
            out.keep(Tile(level=None, index=index, width=len(group)).path, encode_entries(group))
        for index, group in enumerate(groups, first // WIDTH):
            hashes = b"".join(map(merkle.leaf_hash, group))
            out.keep(Tile(level=0, index=index, width=len(group)).path, hashes)


def _is_whole(out: Folder, size: int) -> bool:
    """Return whether all tiles of the log's first `size` entries are there; wrong lengths are refused."""
    for tile in chain(tiles(size), entry_tiles(size)):
        found = out.size(tile.path)
        if found is None:
            return False
        wanted = found if tile.level is None else tile.width * HASH_BYTES
        if found != wanted:
            raise Tampered(
                f"{tile.path} has {found} bytes; a tile of {tile.width} hashes has {wanted}. "
                "Move the folder away and export into a new one"
            )
    return True


def _drop_outgrown(out: Folder, start: int, size: int) -> None:
    """Remove the partial tiles of earlier checkpoints wherever the full tile is there now."""
    for tile in chain(tiles(size, since=start), entry_tiles(size, since=start)):
        if tile.full:
            out.drop(f"{tile.path}.p")

"""The way through a published log, tile by tile from the left: pieces out, results in, one growing edge.

Pure. Pieces are checked on other cores while the next ones are read; results are taken in the order of the
log, so the first thing that is wrong is named first. Only the right edge and one unfinished tile of each
level are kept.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Callable
from typing import Final

from service.errors import Tampered
from service.ledger.merkle import Edge
from service.ledger.note import Verifier
from service.ledger.proof import Checkpoint
from service.ledger.replay.files import Files
from service.ledger.replay.lists import Lists
from service.ledger.replay.piece import Found, Named, Piece, names_keys, require_order
from service.ledger.replay.source import Progress, Submit
from service.ledger.tiles import WIDTH, Tile, entry_tiles

AHEAD: Final = 16
"""Pieces that are read before the oldest result is taken: some 2 MB, enough for several cores."""


class Walk:
    """One pass over the tiles that a checkpoint promises.

    Set `marks` to the sizes at which `roots` are wanted, and `wanted` to the indexes of which `leaves` are.
    `known` entries from the left are all there; `whole` tells whether every hash was.
    """

    def __init__(self, files: Files, head: Checkpoint, lists: Lists) -> None:
        self._files = files
        self._head = head
        self._lists = lists
        self._edge = Edge()
        self._ahead: deque[tuple[Piece, Callable[[], Found]]] = deque()
        self._rows: defaultdict[int, list[bytes]] = defaultdict(list)
        self._before: str | None = None
        self._keys: tuple[Verifier, ...] | None = None
        self._gap = False  # entries are missing, so that keys may be unknown
        self.size = head.size
        self.whole = True
        self.known = 0
        self.marks: set[int] = set()
        self.wanted: set[int] = set()
        self.roots: dict[int, bytes] = {}
        self.leaves: dict[int, bytes] = {}
        self.named = Named()
        self.checked: Counter[str] = Counter()

    def run(self, submit: Submit, progress: Progress) -> None:
        """Take every tile; `Tampered` names file, byte and entry of the first thing that contradicts."""
        progress(0, self.size)
        for tile in entry_tiles(self.size):
            piece = self._piece(tile)
            self._ahead.append((piece, submit(piece)))
            most = 0 if tile.index == 0 or names_keys(piece.entries) else AHEAD
            while len(self._ahead) > most:
                self._take(progress)
        while self._ahead:
            self._take(progress)
        self._finish()

    def _piece(self, tile: Tile) -> Piece:
        hashes = Tile(level=0, index=tile.index, width=tile.width)
        entries = self._files.tile(tile)
        piece = Piece(
            origin=self._head.origin,
            index=tile.index,
            width=tile.width,
            entries=entries,
            entries_path=tile.path,
            hashes=self._files.tile(hashes),
            hashes_path=hashes.path,
            keys=self._keys,
            gap=self._gap,
        )
        self._gap = self._gap or entries is None
        return piece

    def _take(self, progress: Progress) -> None:
        """Take the oldest result."""
        piece, wait = self._ahead.popleft()
        found = wait()
        if found.wrong is not None:
            raise Tampered(found.wrong)
        first = piece.index * WIDTH
        self._order(found, f"{piece.entries_path}, byte 0 (entry {first})")
        self._learn(found)
        if found.checked and self.known == first:
            self.known += found.checked
        self._lists.collect(found)
        self.checked["entries"] += found.checked
        self.checked["signatures on entries"] += found.signatures
        self.checked["hash tiles"] += piece.hashes is not None
        self._grow(found.leaves)
        progress(first + piece.width, self.size)

    def _order(self, found: Found, place: str) -> None:
        if self._before is not None and found.times is not None:
            try:
                require_order(self._before, found.times[0])
            except Tampered as error:
                raise Tampered(f"{place}: {error}") from None
        self._before = None if found.times is None else found.times[1]

    def _learn(self, found: Found) -> None:
        self.named = self.named.joined(found.named)
        if self._keys is not None or self.known == 0 < found.checked:
            self._keys = self.named.ingest

    def _grow(self, leaves: list[bytes]) -> None:
        self.whole = self.whole and bool(leaves)
        if not self.whole:
            return
        for leaf in leaves:
            self._mark(leaf)
            for level, index, node in self._edge.add(leaf):
                row = self._rows[level]
                row.append(node)
                if len(row) == WIDTH:
                    self._require_tile(Tile(level=level, index=index // WIDTH), row)
                    row.clear()

    def _mark(self, leaf: bytes | None) -> None:
        size = self._edge.size
        if size in self.marks:
            self.roots[size] = self._edge.root()
        if size in self.wanted and leaf is not None:
            self.leaves[size] = leaf

    def _finish(self) -> None:
        if not self.whole:
            return
        self._mark(None)
        for level, row in self._rows.items():
            if row:
                index = (self._edge.size >> 8 * level) // WIDTH
                self._require_tile(Tile(level=level, index=index, width=len(row)), row)
        if self._edge.root() != self._head.root:
            raise Tampered(
                f"checkpoint: the {self.size} entries here do not add up to the root that was signed"
            )

    def _require_tile(self, tile: Tile, row: list[bytes]) -> None:
        """Compare a tile above level 0 with what the entries below it add up to."""
        data = self._files.tile(tile)
        if data is None:
            return
        for position, node in enumerate(row):
            if data[position * 32 : position * 32 + 32] != node:
                raise Tampered(
                    f"{tile.path}, byte {position * 32}: the hash is not that of the entries below it"
                )
        self.checked["hash tiles"] += 1

"""The log as static files (c2sp.org/tlog-tiles v0.1.0): which there are, their names, their bytes.

Pure: hashes come from the reader that the caller brings. A hash tile holds up to 256 stored hashes of
one level; an entry tile holds the entries whose leaf hashes are in the level-0 tile of the same index.
A partial tile exists only where some tree of a published size ends; its hash is never put upward.

Mirrored pairs: `Tile.path`/`parse_path`, `encode_entries`/`decode_entries`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from service.errors import Tampered
from service.ledger.entry import MAX_ENTRY_BYTES
from service.ledger.merkle import HASH_BYTES, Read

WIDTH: Final = 256  # hashes or entries in a full tile
FULL_BYTES: Final = WIDTH * HASH_BYTES
MAX_LEVEL: Final = 63  # the layout's own limit; a log that fits into this world ends at level 7

_HEIGHT = 8  # levels of the binary tree per tile level
_LENGTH_BYTES = 2  # in front of each entry
_MAX_GROUPS = 7  # 21 digits, more than any index has
_PATH = re.compile(
    r"tile/(?P<level>0|[1-9][0-9]?|entries)/(?P<index>(?:x[0-9]{3}/)*[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Tile:
    """One file of the layout: `level` 0 and up for hashes, None for the entries themselves."""

    level: int | None
    index: int
    width: int = WIDTH

    def __post_init__(self) -> None:
        if not (self.level is None or 0 <= self.level <= MAX_LEVEL) or self.index < 0:
            raise ValueError("a tile has a level from 0 to 63 and an index that is not negative")
        if not 1 <= self.width <= WIDTH:
            raise ValueError("a tile holds 1 to 256 hashes or entries")

    @property
    def path(self) -> str:
        """Return the tile's path below the log's prefix, like `tile/0/x001/x234/067.p/8`."""
        groups = [f"{self.index % 1000:03d}"]
        rest = self.index // 1000
        while rest:
            groups.insert(0, f"x{rest % 1000:03d}")
            rest //= 1000
        level = "entries" if self.level is None else str(self.level)
        partial = "" if self.full else f".p/{self.width}"
        return f"tile/{level}/{'/'.join(groups)}{partial}"

    @property
    def full(self) -> bool:
        """Return whether the tile will never get longer."""
        return self.width == WIDTH

    @property
    def first(self) -> int:
        """Return the index, at the tile's own level, of the first thing in it."""
        return self.index * WIDTH

    @property
    def sizes(self) -> range:
        """Return the tree sizes whose last tile of this level is this one; of a full tile, those it needs."""
        scale = 1 << (_HEIGHT * (self.level or 0))
        needed = (self.first + self.width) * scale
        return range(needed, needed + scale)


def parse_path(path: str) -> Tile | None:
    """Return the tile with exactly this path, None if no tile has it."""
    found = _PATH.fullmatch(path)
    if found is None or path.count("/") > _MAX_GROUPS + 3:
        return None
    level = None if found["level"] == "entries" else int(found["level"])
    width = WIDTH if found["width"] is None else int(found["width"])
    index = int(re.sub(r"[x/]", "", found["index"]))
    if width > WIDTH or (level or 0) > MAX_LEVEL:
        return None
    tile = Tile(level=level, index=index, width=width)
    return tile if tile.path == path else None


def tiles(size: int, *, since: int = 0) -> Iterator[Tile]:
    """Yield the hash tiles of a tree of `size`, level 0 first, each level from the left.

    With `since`, only those that a tree of that smaller size does not have.
    """
    level = 0
    while size >> (_HEIGHT * level):
        yield from _row(level, size >> (_HEIGHT * level), since >> (_HEIGHT * level))
        level += 1


def entry_tiles(size: int, *, since: int = 0) -> Iterator[Tile]:
    """Yield the entry tiles of a tree of `size`, from the left; `since` as for `tiles`."""
    yield from _row(None, size, since)


def hash_tile(tile: Tile, read: Read) -> bytes:
    """Return the bytes of a hash tile, 32 for each hash in it; `Tampered` if stored hashes are missing."""
    assert tile.level is not None, "entry tiles are made by encode_entries"
    level = tile.level
    hashes = read([(level, index) for index in range(tile.first, tile.first + tile.width)])
    data = b"".join(hashes)
    if len(hashes) != tile.width or len(data) != tile.width * HASH_BYTES:
        raise Tampered(f"{tile.path} cannot be made: stored hashes are missing or have a wrong length")
    return data


def encode_entries(entries: Sequence[bytes]) -> bytes:
    """Return the entry tile of these entries: before each its length as 2 bytes, big endian."""
    assert 1 <= len(entries) <= WIDTH, "an entry tile holds 1 to 256 entries"
    assert all(len(entry) <= MAX_ENTRY_BYTES for entry in entries), "longer entries are never written"
    return b"".join(len(entry).to_bytes(_LENGTH_BYTES, "big") + entry for entry in entries)


def decode_entries(data: bytes, width: int) -> list[bytes]:
    """Return the entries in an entry tile of `width`; `Tampered` if it is cut short, or has another width."""
    entries: list[bytes] = []
    position = 0
    while position < len(data):
        start = position + _LENGTH_BYTES
        position = start + int.from_bytes(data[position:start], "big")
        if start > len(data) or position > len(data):
            raise Tampered(f"an entry tile ends in the middle of its entry {len(entries)}")
        entries.append(data[start:position])
    if len(entries) != width:
        raise Tampered(f"an entry tile holds {len(entries)} entries; its name says {width}")
    return entries


def _row(level: int | None, count: int, since: int) -> Iterator[Tile]:
    """Yield the tiles of one level that hold `count` things, except those that `since` things fill alike."""
    for index in range(since // WIDTH, count // WIDTH):
        yield Tile(level=level, index=index)
    if count % WIDTH and count != since:
        yield Tile(level=level, index=count // WIDTH, width=count % WIDTH)

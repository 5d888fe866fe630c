"""The tiles of one tree size among the files that a source has: the right ones, at their right length.

Pure. A partial tile may have been dropped since for the full one, which begins alike. Files of earlier
sizes may still be there and must begin alike too; files beyond the size are not part of this log.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from service.errors import Tampered
from service.ledger.merkle import HASH_BYTES
from service.ledger.replay.piece import ROTATED
from service.ledger.replay.source import Source
from service.ledger.tiles import WIDTH, Tile, decode_entries, entry_tiles, parse_path


class Files:
    """What a source has of a log of `size` entries; `missing` names what it should have and has not."""

    def __init__(self, source: Source, size: int) -> None:
        self._source = source
        self._size = size
        self.missing: list[str] = []

    def tile(self, tile: Tile) -> bytes | None:
        """Return a tile's bytes, exactly as many as its name promises for hashes; None where it is missing.

        Of a full tile that stands in for a partial one, hashes are cut, entries are not needed to be.
        """
        data = self._source.read(tile.path)
        if data is not None:
            return data if tile.level is None else _whole(tile, data)
        full = Tile(level=tile.level, index=tile.index)
        data = None if tile.full else self._source.read(full.path)
        if data is None:
            self.missing.append(tile.path)
            return None
        if tile.level is not None:
            return _whole(full, data)[: tile.width * HASH_BYTES]
        kept = _items(full, data)[: tile.width]
        return data[: sum(2 + len(entry) for entry in kept)]

    def require_others(self) -> Counter[str]:
        """Look at every other file among the tiles; `Tampered` if one differs from the log.

        Returns how many there were, in words for people.
        """
        seen: Counter[str] = Counter()
        for path in self._source.paths("tile"):
            tile = parse_path(path)
            if tile is None:
                raise Tampered(f"{path}: no tile of any log has this name")
            if tile == self._own(tile):
                continue
            data = self._source.read(path)
            if data is not None:
                inside = self._require_alike(tile, _items(tile, data))
                seen["tiles of earlier sizes" if inside else "tiles beyond the checkpoint (not checked)"] += 1
        return seen

    def _count(self, tile: Tile) -> int:
        """Return how many hashes or entries there are at a tile's level."""
        return self._size >> (8 * (tile.level or 0))

    def _own(self, tile: Tile) -> Tile | None:
        """Return the tile of this size at the same place, None if the log does not reach there."""
        width = min(WIDTH, self._count(tile) - tile.first)
        return Tile(level=tile.level, index=tile.index, width=width) if width > 0 else None

    def _require_alike(self, tile: Tile, items: Sequence[bytes]) -> bool:
        own = self._own(tile)
        if own is None:
            return False
        data = self._source.read(own.path)
        if data is not None:
            for position, (here, there) in enumerate(zip(items, _items(own, data), strict=False)):
                if here != there:
                    raise Tampered(f"{tile.path}: item {position} is another one than in {own.path}")
        return True


def handovers(source: Source, size: int) -> Iterator[bytes]:
    """Yield the `key.rotated` entries among the first `size`, as far as they are here; not yet believed."""
    for tile in entry_tiles(size):
        data = source.read(tile.path)
        if data is None:
            return
        if ROTATED in data:
            yield from (entry for entry in _items(tile, data) if ROTATED in entry)


def _items(tile: Tile, data: bytes) -> Sequence[bytes]:
    """Return the hashes or entries in a tile; `Tampered` if there are not as many as its name says."""
    if tile.level is None:
        try:
            return decode_entries(data, tile.width)
        except Tampered as error:
            raise Tampered(f"{tile.path}: {error}") from None
    return [_whole(tile, data)[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]


def _whole(tile: Tile, data: bytes) -> bytes:
    wanted = tile.width * HASH_BYTES
    if len(data) != wanted:
        raise Tampered(
            f"{tile.path}, byte {min(len(data), wanted)}: the file has {len(data)} bytes; "
            f"{tile.width} hashes have {wanted}"
        )
    return data

"""The RFC 6962 Merkle tree: growing its right edge, proving, and checking proofs.

Pure: hashes come from a reader that the caller brings. Two kinds of hashes are stored, and no others:
level 0 holds the leaf hashes, level L the roots of full subtrees of 256**L leaves (the tiles of
c2sp.org/tlog-tiles). Every other hash is computed from those.

Mirrored pairs: `inclusion_proof`/`verify_inclusion`, `consistency_proof`/`verify_consistency`.
An odd last node is carried up, never duplicated (RFC 6962, section 2.1).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import accumulate, pairwise

from service.errors import Tampered

HASH_BYTES = 32
EMPTY = sha256(b"").digest()

_TILE_HEIGHT = 8  # levels of the binary tree per stored level: one stored hash stands for 256 below it

Read = Callable[[Sequence[tuple[int, int]]], Sequence[bytes]]
"""Given (level, index) pairs, return the stored hashes in that order; `Tampered` if one is missing."""

_Range = tuple[int, int]  # leaves [start, end)
_STORED_WIDTHS = frozenset(256**level for level in range(8))
_MOST_SETTLED = 1 << 18  # hashes kept; some 50 MB


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of one entry as a leaf (RFC 6962, section 2.1)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node (RFC 6962, section 2.1)."""
    return sha256(b"\x01" + left + right).digest()


class Edge:
    """The right edge of a growing tree: all that an appender must remember, at most 64 hashes.

    `size` counts leaves; the stack holds the roots of the full binary subtrees, widest first.
    """

    __slots__ = ("_stack", "size")

    def __init__(self) -> None:
        self.size = 0
        self._stack: list[bytes] = []

    def add(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """Append one leaf hash and return the stored nodes that it completes.

        Each is (level, index, hash) of a subtree of 256**level leaves, level 1 or more, lowest first.
        """
        completed: list[tuple[int, int, bytes]] = []
        remaining, height, node = self.size, 0, leaf
        while remaining & 1:
            node = node_hash(self._stack.pop(), node)
            remaining, height = remaining >> 1, height + 1
            if height % _TILE_HEIGHT == 0:
                completed.append((height // _TILE_HEIGHT, self.size >> height, node))
        self._stack.append(node)
        self.size += 1
        return completed

    def root(self) -> bytes:
        """Return the root of the tree as it stands."""
        return _fold(self._stack)

    def copy(self) -> "Edge":
        """Return an edge that grows by itself."""
        return Edge.from_bytes(self.to_bytes())

    def subtrees(self) -> dict[tuple[int, int], bytes]:
        """Return the roots of the full subtrees by the leaves [start, end) that they stand for."""
        widths = [1 << height for height in range(self.size.bit_length()) if self.size >> height & 1]
        ends = list(accumulate(reversed(widths)))
        return dict(zip(pairwise([0, *ends]), self._stack, strict=True))

    def to_bytes(self) -> bytes:
        """Return the edge as stored: the size as 8 bytes, big endian, then the hashes, widest first."""
        return self.size.to_bytes(8, "big") + b"".join(self._stack)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Edge":
        """Return the edge that `to_bytes` wrote; `Tampered` if the length does not fit the size."""
        edge = cls()
        edge.size = int.from_bytes(data[:8], "big")
        if len(data) != 8 + HASH_BYTES * edge.size.bit_count():
            raise Tampered(
                f"the stored right edge has {len(data)} bytes, which does not fit a tree of {edge.size} "
                "entries; restore the ledger from a backup that passes the integrity check"
            )
        edge._stack = [data[at : at + HASH_BYTES] for at in range(8, len(data), HASH_BYTES)]
        return edge


def root(size: int, read: Read) -> bytes:
    """Return the root of the first `size` leaves, in one call of the reader."""
    if size == 0:
        return EMPTY
    return _Hashes.read([(0, size)], read).of(0, size)


def inclusion_proof(index: int, size: int, read: Read) -> list[bytes]:
    """Return the hashes that lead from a leaf to the root of `size` leaves, the leaf's sibling first."""
    return inclusion_proofs([index], size, read)[index]


def inclusion_proofs(
    indexes: Iterable[int], size: int, read: Read, settled: "Settled | None" = None
) -> dict[int, list[bytes]]:
    """Return the inclusion proof of each index, all against the root of `size` leaves.

    The reader is called once for all of them, and what several proofs share is computed once. What is
    `settled` is not read again, and what is read here is settled afterwards.
    """
    paths = {index: _inclusion_path(index, size) for index in indexes}
    parts = {part for path in paths.values() for part in path}
    hashes = _Hashes.read(parts, read) if settled is None else settled.read(parts, read)
    return {index: [hashes.of(*part) for part in path] for index, path in paths.items()}


def appended_proofs(
    before: Edge, leaves: Sequence[bytes], indexes: Iterable[int]
) -> dict[int, tuple[bytes, ...]]:
    """Return inclusion proofs of entries just appended, each against the root that now is.

    Needs no reader: whatever stands beside the way from a new leaf is new, or one of the full subtrees
    of the edge as it was `before` the leaf hashes were added.
    """
    size = before.size + len(leaves)
    known = before.subtrees()
    known.update(((before.size + n, before.size + n + 1), leaf) for n, leaf in enumerate(leaves))
    hashes = _Hashes(known)
    return {i: tuple(hashes.of(*part) for part in _inclusion_path(i, size)) for i in indexes}


def consistency_proof(old_size: int, new_size: int, read: Read) -> list[bytes]:
    """Return the hashes that show that the first `old_size` leaves of the larger tree are the smaller one."""
    path = _consistency_path(old_size, new_size)
    hashes = _Hashes.read(path, read)
    return [hashes.of(*part) for part in path]


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """Tell whether the proof leads from the leaf hash to the root (RFC 9162, section 2.1.3.2).

    A root does not commit to the size: take both from one signed checkpoint, never from the proof.
    """
    if not 0 <= index < size or not _are_hashes((leaf, root, *proof)):
        return False
    position, last, node = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if position & 1 or position == last:
            node = node_hash(sibling, node)
            position, last = _skip_carried(position, last)
        else:
            node = node_hash(node, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and node == root


def verify_consistency(
    old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Tell whether the larger tree continues the smaller one (RFC 9162, section 2.1.4.2).

    Equal sizes need equal roots and an empty proof; the empty tree is continued by every tree, with an
    empty proof only.
    """
    if not 0 <= old_size <= new_size or not _are_hashes((old_root, new_root, *proof)):
        return False
    if (old_size == 0 and old_root != EMPTY) or (new_size == 0 and new_root != EMPTY):
        return False
    if old_size in (0, new_size):
        return not proof and (old_size == 0 or old_root == new_root)
    return _climb(old_size, new_size, proof, old_root) == (old_root, new_root)


def _climb(
    old_size: int, new_size: int, proof: Sequence[bytes], old_root: bytes
) -> tuple[bytes, bytes] | None:
    """Return the two roots that the proof adds up to, or None if it has the wrong length."""
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    if not path or not proof:
        return None
    position, last = old_size - 1, new_size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return None
        if position & 1 or position == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            position, last = _skip_carried(position, last)
        else:
            new = node_hash(new, sibling)
        position, last = position >> 1, last >> 1
    return (old, new) if last == 0 else None


def _skip_carried(position: int, last: int) -> tuple[int, int]:
    """Skip the levels at which the node is the odd last one and is carried up unchanged."""
    while not position & 1 and position:
        position, last = position >> 1, last >> 1
    return position, last


def _are_hashes(values: Iterable[bytes]) -> bool:
    return all(len(value) == HASH_BYTES for value in values)


def _split(count: int) -> int:
    """Return the largest power of two below `count`: where RFC 6962 divides a tree."""
    return 1 << ((count - 1).bit_length() - 1)


def _inclusion_path(index: int, size: int) -> list[_Range]:
    """Return the subtrees beside the way from the leaf to the root, lowest first."""
    if not 0 <= index < size:
        raise ValueError(f"entry {index} is not in a tree of {size} entries")
    start, end, path = 0, size, []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    return path[::-1]


def _consistency_path(old_size: int, new_size: int) -> list[_Range]:
    """Return the subtrees of a consistency proof, lowest first (RFC 6962, section 2.1.2)."""
    if not 0 <= old_size <= new_size:
        raise ValueError(f"a tree of {old_size} entries cannot have grown to {new_size}")
    if old_size in (0, new_size):
        return []
    start, end, path = 0, new_size, []
    while old_size != end:
        middle = start + _split(end - start)
        if old_size <= middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    if start:  # otherwise the old tree is one whole subtree, whose hash the verifier has: the old root
        path.append((start, end))
    return path[::-1]


def _fold(roots: Sequence[bytes]) -> bytes:
    """Return the root over full subtrees given widest first."""
    if not roots:
        return EMPTY
    node = roots[-1]
    for left in reversed(roots[:-1]):
        node = node_hash(left, node)
    return node


def _stored_blocks(start: int, end: int) -> Iterable[tuple[int, int]]:
    """Yield the (level, index) of the stored hashes that a subtree is made of, widest first.

    A subtree of RFC 6962 begins at a multiple of a power of two that is no smaller than itself.
    """
    for level in range(((end - start).bit_length() - 1) // _TILE_HEIGHT, -1, -1):
        width = 256**level
        first, count = start // width, (end - start) // width
        for index in range(first, first + count):
            yield level, index
        start += count * width


class _Hashes:
    """Hashes of subtrees, from stored ones that are read once; what is computed is kept."""

    def __init__(self, known: dict[_Range, bytes]) -> None:
        self._known = known

    @classmethod
    def read(cls, ranges: Iterable[_Range], read: Read) -> "_Hashes":
        """Return hashes that know what these ranges are made of."""
        wanted = sorted(dict.fromkeys(block for part in ranges for block in _stored_blocks(*part)))
        found = read(wanted) if wanted else []
        if len(found) != len(wanted) or not _are_hashes(found):
            raise Tampered(
                "a stored hash of the tree is missing or has a wrong length; restore from a backup"
            )
        known = {
            (index * 256**level, (index + 1) * 256**level): node
            for (level, index), node in zip(wanted, found, strict=True)
        }
        return cls(known)

    def learn(self, known: Mapping[_Range, bytes]) -> None:
        """Take in what is known of other subtrees."""
        self._known.update(known)

    def whole(self) -> dict[_Range, bytes]:
        """Return the hashes of full subtrees, those of single leaves and of tiles left out."""
        return {
            (start, end): node
            for (start, end), node in self._known.items()
            if (end - start) & (end - start - 1) == 0 and end - start not in _STORED_WIDTHS
        }

    def of(self, start: int, end: int) -> bytes:
        """Return the hash of the subtree over leaves [start, end)."""
        node = self._known.get((start, end))
        if node is None:
            middle = start + _split(end - start)
            node = self._known[start, end] = node_hash(self.of(start, middle), self.of(middle, end))
        return node


class Settled:
    """Hashes of whole subtrees that were computed once: whatever is appended, they stay what they are.

    Only for what is committed, as the rest can still be taken back. A wrong one does no harm but a proof that
    does not hold.
    """

    def __init__(self) -> None:
        self._found: dict[_Range, bytes] = {}

    def read(self, parts: Iterable[_Range], read: Read) -> _Hashes:
        """Return hashes that know what these parts are made of, reading only what is not settled."""
        known: dict[_Range, bytes] = {}
        wanted = [block for part in sorted(parts) for block in self._missing(*part, known)]
        hashes = _Hashes.read(wanted, read)
        hashes.learn(known)
        for part in parts:
            hashes.of(*part)
        if len(self._found) > _MOST_SETTLED:
            self._found.clear()
        self._found.update(hashes.whole())
        return hashes

    def _missing(self, start: int, end: int, known: dict[_Range, bytes]) -> Iterator[_Range]:
        """Yield the stored subtrees that this one is made of; those that are settled become `known`."""
        width = end - start
        if (found := self._found.get((start, end))) is not None:
            known[start, end] = found
        elif width & (width - 1) == 0 and (width.bit_length() - 1) % _TILE_HEIGHT == 0:
            yield start, end
        else:
            middle = start + _split(width)
            yield from self._missing(start, middle, known)
            yield from self._missing(middle, end, known)

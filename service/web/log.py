"""The published log for anybody's verifier: `/log/checkpoint` and `/log/tile/...` (c2sp.org/tlog-tiles).

Checkpoint and hash tiles are public and tell nothing about anybody. Entries are pseudonymous and need the
role auditor, or a key with the scope `log:read`. Only tiles that some published checkpoint requires exist;
each is the same for ever, so caches may keep it, those of entries in the reader's own cache alone.
"""

import asyncio
import gzip
from typing import Final

from litestar import Response, get
from litestar.di import NamedDependency
from sqlalchemy import Connection

from service.errors import NotFound
from service.ledger.anchors import dressed
from service.ledger.publication import latest, was_published
from service.ledger.store import Store
from service.ledger.tiles import FULL_BYTES, Tile, encode_entries, hash_tile, parse_path
from service.web.auth import LOG_READ
from service.web.edge import Edge
from service.web.keyed import program
from service.web.sessions import person
from service.web.strict import AnyRequest

OCTETS: Final = "application/octet-stream"
READERS: Final = frozenset({"auditor"})

_PLAIN = "text/plain"  # the framework adds the charset
_FRESH = "public, max-age=5"  # the layout asks for a few seconds at most
_FOR_EVER = "max-age=31536000, immutable"


@get("/log/checkpoint", name="log-checkpoint", sync_to_thread=True)
def show_checkpoint(edge: NamedDependency[Edge]) -> Response[bytes]:
    """Return the newest published checkpoint, with all its signature lines."""
    with edge.db.read() as tx:
        found = latest(tx)
        note = None if found is None else dressed(tx, found.size, found.note)
    if note is None:
        raise NotFound("nothing is published yet; the first checkpoint comes within seconds of the start")
    return Response(note, media_type=_PLAIN, headers={"Cache-Control": _FRESH})


@get("/log/tile/{tile:path}", name="log-tile")
async def show_tile(request: AnyRequest, edge: NamedDependency[Edge]) -> Response[bytes]:
    """Return a hash tile, or the entries of a tile; 404 unless a published checkpoint requires it."""
    wanted = parse_path(request.scope["path"].removeprefix("/log/"))
    if wanted is None:
        raise NotFound("no tile has this path; the layout is that of c2sp.org/tlog-tiles")
    if wanted.level is None:
        await _require_reader(edge, request)
        data = await asyncio.to_thread(_read, edge, wanted)
        return await _entries(request, data)
    data = await asyncio.to_thread(_read, edge, wanted)
    assert not wanted.full or len(data) == FULL_BYTES, "what a cache keeps for ever is a whole tile"
    return Response(data, media_type=OCTETS, headers={"Cache-Control": f"public, {_FOR_EVER}"})


async def _require_reader(edge: Edge, request: AnyRequest) -> None:
    """Raise `Unauthenticated` or `Forbidden` unless a key or an auditor's session may read entries."""
    if "authorization" in request.headers:
        await program(edge, request, LOG_READ)
    else:
        await person(edge, request, READERS)


async def _entries(request: AnyRequest, data: bytes) -> Response[bytes]:
    headers = {"Cache-Control": f"private, {_FOR_EVER}", "Vary": "Accept-Encoding, Authorization, Cookie"}
    if _takes_gzip(request.headers.get("accept-encoding", "")):
        data = await asyncio.to_thread(gzip.compress, data, 6, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return Response(data, media_type=OCTETS, headers=headers)


def _takes_gzip(accepted: str) -> bool:
    """Return whether an Accept-Encoding header lists gzip and does not refuse it (RFC 9110, 12.5.3)."""
    for item in accepted.lower().split(","):
        name, _, weight = item.partition(";")
        if name.strip() == "gzip":
            return weight.replace(" ", "").rstrip("0") not in {"q=", "q=0."}
    return False


def _read(edge: Edge, tile: Tile) -> bytes:
    with edge.db.read() as tx:
        _require_published(tx, tile)
        if tile.level is not None:
            return hash_tile(tile, edge.intake.store.reader(tx))
        return _entry_tile(tx, edge.intake.store, tile)


def _require_published(tx: Connection, tile: Tile) -> None:
    """Raise `NotFound` unless a tree that was published has this tile."""
    newest = latest(tx)
    if newest is None or newest.size < tile.sizes.start:
        raise NotFound("the published log does not reach this tile")
    if not tile.full and not was_published(tx, tile.sizes):
        raise NotFound("no published checkpoint ends in this partial tile; ask for the full one")


def _entry_tile(tx: Connection, store: Store, tile: Tile) -> bytes:
    indexes = range(tile.first, tile.first + tile.width)
    found = store.entries(tx, indexes)
    return encode_entries([found[index] for index in indexes])

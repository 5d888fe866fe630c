"""The published log as a verifier meets it over HTTP."""

import gzip
import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from tlog_scales.backend import HttpBackend
from tlog_scales.reader import TilesReader
from tlog_scales.signing import Vkey

from service.ledger import merkle, tiles
from service.ledger.proof import open_checkpoint
from service.ledger.publication import Publisher
from service.ledger.tiles import Tile, decode_entries, hash_tile
from service.web.auth import EVENTS_WRITE, LOG_READ, create_key
from service.web.site import create_site

from .conftest import Site, let_in

SIZES = (3, 256, 259)


@pytest.fixture
def published(site: Site) -> Site:
    """Return the site with a log of 300 entries, of which three smaller sizes were published."""
    edge = site.edge
    store, keys = edge.intake.store, edge.intake.keys
    publisher = Publisher(edge.db, store, keys.log, keys.log_pq, site.clock)
    for size in (*SIZES, 300):
        with edge.db.begin() as tx:
            grown = store.lock(tx)
            store.append(tx, grown, [b"entry %d" % n for n in range(grown.size, size)])
        if size in SIZES:
            publisher.publish()
    return site


@pytest.fixture
def reader(published: Site) -> dict[str, str]:
    key = create_key(published.edge.db, "mirror", [LOG_READ], at=published.clock())
    return {"Authorization": f"Bearer {key}"}


def stored(site: Site, path: str) -> bytes:
    with site.edge.db.read() as tx:
        return hash_tile(tiles.parse_path(path), site.edge.intake.store.reader(tx))


def test_before_anything_is_published_there_is_no_checkpoint(site: Site):
    assert site.client.get("/log/checkpoint").status_code == 404
    assert site.client.get("/log/tile/0/000.p/1").status_code == 404


def test_the_newest_checkpoint_is_public_and_kept_for_seconds(published: Site):
    answer = published.client.get("/log/checkpoint")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Cache-Control"] == "public, max-age=5"
    keys = published.edge.intake.keys
    assert open_checkpoint(answer.content, [keys.log.verifier, keys.log_pq.verifier]).size == 259


@pytest.mark.parametrize("path", ["0/000", "0/000.p/3", "0/001.p/3", "1/000.p/1"])
def test_hash_tiles_that_a_checkpoint_requires_are_public_and_kept_for_ever(published: Site, path: str):
    answer = published.client.get(f"/log/tile/{path}")
    assert answer.status_code == 200
    assert answer.content == stored(published, f"tile/{path}")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    if ".p" not in path:
        assert len(answer.content) == 8192


@pytest.mark.parametrize(
    "path",
    [
        "0/000.p/2",  # no checkpoint of this size
        "0/001.p/4",
        "0/001.p/44",  # of the unpublished head
        "0/001",
        "0/002",
        "1/000.p/2",
        "1/000",
        "2/000.p/1",
        "0/000.p/256",
        "0/0",
        "00/000",
        "8/0/000",
        "64/000",
        "data/000",
        "",
    ],
)
def test_no_other_tile_exists(published: Site, path: str):
    assert published.client.get(f"/log/tile/{path}").status_code == 404


def test_the_root_of_the_checkpoint_is_rebuilt_over_http(published: Site):
    client = published.client
    head = open_checkpoint(client.get("/log/checkpoint").content, [published.edge.intake.keys.log.verifier])
    files = {t.path: client.get(f"/log/{t.path}").content for t in tiles.tiles(head.size)}

    def read(wanted):
        found = []
        for level, index in wanted:
            width = min(256, (head.size >> 8 * level) - index // 256 * 256)
            data = files[Tile(level=level, index=index // 256, width=width).path]
            found.append(data[index % 256 * 32 :][:32])
        return found

    assert merkle.root(head.size, read) == head.root


def test_entries_are_for_keys_with_the_scope(published: Site, reader: dict[str, str]):
    answer = published.client.get("/log/tile/entries/000", headers=reader)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    entries = decode_entries(answer.content, 256)
    assert b"".join(map(merkle.leaf_hash, entries)) == stored(published, "tile/0/000")
    partial = published.client.get("/log/tile/entries/001.p/3", headers=reader)
    assert decode_entries(partial.content, 3) == [b"entry 256", b"entry 257", b"entry 258"]


def test_entries_are_for_nobody_else(published: Site):
    ask = published.client.get
    assert ask("/log/tile/entries/000").status_code == 401
    assert ask("/log/tile/entries/999").status_code == 401
    for scopes in ([EVENTS_WRITE], ["history:read"]):
        key = create_key(published.edge.db, "other", scopes, at=published.clock())
        answer = ask("/log/tile/entries/000", headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 403


@pytest.mark.parametrize(("role", "status"), [("auditor", 200), ("legal", 403), ("admin", 403)])
def test_entries_are_for_the_role_auditor(published: Site, role: str, status: int):
    let_in(published, "ada", role)
    assert published.client.get("/log/tile/entries/000").status_code == status


def test_entries_that_no_checkpoint_requires_do_not_exist(published: Site, reader: dict[str, str]):
    for path in ("entries/001", "entries/001.p/44", "entries/002", "entries/000.p/255"):
        assert published.client.get(f"/log/tile/{path}", headers=reader).status_code == 404


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip", "gzip"),
        ("br, GZIP;q=0.5", "gzip"),
        ("gzip;q=0", None),
        ("gzip; q=0.000", None),
        ("identity", None),
        ("", None),
    ],
)
def test_entries_travel_compressed_where_that_is_accepted(
    published: Site, reader: dict[str, str], accepted: str, encoding: str | None
):
    headers = {**reader, "Accept-Encoding": accepted}
    with published.client.stream("GET", "/log/tile/entries/000", headers=headers) as answer:
        raw = b"".join(answer.iter_raw())
    assert answer.headers.get("Content-Encoding") == encoding
    assert "Accept-Encoding" in answer.headers["Vary"]
    assert len(decode_entries(gzip.decompress(raw) if encoding else raw, 256)) == 256


@pytest.fixture
def address(published: Site) -> Iterator[str]:
    """Yield where a real server answers for the site, on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(create_site(published.edge), log_level="error", access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started:
                thread.join(0.02)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/log"
        finally:
            server.should_exit = True
            thread.join()


def test_a_foreign_reader_verifies_the_log_over_http(published: Site, reader: dict[str, str], address: str):
    backend = HttpBackend(address)
    backend.session.headers.update(reader)
    with backend.session:
        foreign = TilesReader(backend)
        head = foreign.get_checkpoint()
        for key in (published.edge.intake.keys.log, published.edge.intake.keys.log_pq):
            head.verify(Vkey.from_string(key.vkey))
        assert foreign.calculate_root_hash() == head.root_hash
        assert [foreign.get_entry(index) for index in (100, 258)] == [b"entry 100", b"entry 258"]
        with published.edge.db.read() as tx:
            first = merkle.root(SIZES[0], published.edge.intake.store.reader(tx))
        foreign.get_consistency_proof(SIZES[0], head.size).check(first, head.root_hash)

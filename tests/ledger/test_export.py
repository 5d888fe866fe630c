"""The log as a folder: complete, incremental, resumable, and refused when it is not the log's own."""

import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from sqlalchemy import insert

from service.db import Database, cosignature
from service.errors import Busy, NotFound, Tampered
from service.ledger import anchors, merkle, tiles
from service.ledger.anchors import TimeStamp
from service.ledger.export import Export
from service.ledger.export.folder import Folder
from service.ledger.proof import Checkpoint, open_checkpoint
from service.ledger.store import LOG_ID
from service.ledger.tiles import decode_entries, parse_path
from tests.ledger.evidence import VECTORS
from tests.ledger.exporting import FULL, TEXTS, VERIFIERS, begin, export, files, grow, publish, sequential
from tests.running import ORIGIN, keys

ROOTS = VECTORS["sequential_leaves"]["roots"]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "export"


@pytest.fixture
def store(database):
    return begin(database)


def checkpoint(folder):
    return open_checkpoint((folder / "checkpoint").read_bytes(), VERIFIERS)


def layout(size):
    return {tile.path for tile in (*tiles.tiles(size), *tiles.entry_tiles(size))} | {*TEXTS, "checkpoint"}


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 513])
def test_an_export_is_the_published_layout_and_nothing_else(database, store, folder, size):
    grow(database, store, size)
    done = export(database, store, folder)
    found = files(folder)
    assert found.keys() == layout(size)
    assert (done.before, done.size, done.files) == (0, size, len(found))
    assert checkpoint(folder) == Checkpoint(ORIGIN, size, bytes.fromhex(ROOTS[str(size)]))
    entries = []
    for tile in tiles.entry_tiles(size):
        group = decode_entries(found[tile.path], tile.width)
        entries += group
        assert found[tile.path.replace("entries", "0")] == b"".join(map(merkle.leaf_hash, group))
    assert entries == sequential(size)


def test_seventy_thousand_entries_export_to_the_published_tiles(sqlite_url, folder):
    with closing(Database(sqlite_url)) as database:
        store = begin(database)
        grow(database, store, FULL)
        told = []
        export(database, store, folder, lambda done, total: told.append((done, total)))
        found = files(folder)
        assert found.keys() == layout(FULL)
        assert checkpoint(folder).root.hex() == ROOTS[str(FULL)]
        for path in (
            "tile/0/000",
            "tile/0/272",
            "tile/0/273.p/112",
            "tile/1/000",
            "tile/1/001.p/17",
            "tile/2/000.p/1",
        ):
            assert sha256(found[path]).hexdigest() == VECTORS["tile_bytes_sha256"][path]
        assert told[0] == (0, FULL)
        assert told[-1] == (FULL, FULL)
        assert told == sorted(told)


def test_a_second_export_adds_only_what_is_new(database, store, folder):
    for size, written in ((300, None), (300, 0), (310, 3), (600, None)):
        grow(database, store, size)
        done = export(database, store, folder)
        assert written is None or done.files == written  # entries, hashes, checkpoint
    assert files(folder).keys() - layout(600) == {"tile/1/000.p/1"}  # the full one is not there yet
    assert checkpoint(folder).root == merkle.root(600, _from(folder, 600))


def _from(folder, size):
    def read(wanted):
        found = []
        for level, index in wanted:
            width = min(256, (size >> 8 * level) - index // 256 * 256)
            tile = tiles.Tile(level=level, index=index // 256, width=width)
            found.append((folder / tile.path).read_bytes()[index % 256 * 32 :][:32])
        return found

    return read


def test_partial_tiles_stay_until_the_full_one_is_there(database, store, folder):
    for size in (10, 20):
        grow(database, store, size)
        export(database, store, folder)
    assert (folder / "tile/0/000.p/10").exists()
    assert (folder / "tile/entries/000.p/10").exists()
    grow(database, store, 256)
    export(database, store, folder)
    assert files(folder).keys() == layout(256)


def test_what_is_missing_is_written_again(database, store, folder):
    grow(database, store, 600)
    export(database, store, folder)
    (folder / "tile/entries/001").unlink()
    (folder / "tile/0/000").unlink()
    assert export(database, store, folder).files == 2
    assert files(folder).keys() == layout(600)


@pytest.mark.parametrize("path", ["tile/0/000", "tile/0/002.p/88", "tile/1/000.p/2"])
def test_a_tile_of_a_wrong_length_is_refused_and_left_as_it_is(database, store, folder, path):
    grow(database, store, 600)
    export(database, store, folder)
    cut = (folder / path).read_bytes()[:-32]
    (folder / path).write_bytes(cut)
    with pytest.raises(Tampered, match=path):
        export(database, store, folder)
    assert (folder / path).read_bytes() == cut


@pytest.mark.parametrize("path", ["tile/0/000", "tile/entries/001", "tile/entries/002.p/88"])
def test_an_unfinished_export_with_a_changed_file_is_refused(database, store, folder, path):
    grow(database, store, 600)
    export(database, store, folder)
    (folder / "checkpoint").unlink()
    changed = bytearray((folder / path).read_bytes())
    changed[5] ^= 1
    (folder / path).write_bytes(changed)
    with pytest.raises(Tampered, match=path):
        export(database, store, folder)


def test_a_folder_of_another_history_is_refused(database, store, folder):
    grow(database, store, 20)
    other = keys().log.sign(Checkpoint(ORIGIN, 10, bytes(32)).text())
    folder.mkdir()
    (folder / "checkpoint").write_bytes(other)
    with pytest.raises(Tampered, match="not the first of the 20 published"):
        export(database, store, folder)
    ahead = keys().log.sign(Checkpoint(ORIGIN, 30, bytes(32)).text())
    (folder / "checkpoint").write_bytes(ahead)
    with pytest.raises(Tampered, match="restored from an older copy"):
        export(database, store, folder)


def test_a_folder_of_another_log_is_refused(database, store, folder):
    folder.mkdir()
    stranger = keys("other.example/log-1").log
    (folder / "checkpoint").write_bytes(stranger.sign(Checkpoint(stranger.name, 0, merkle.EMPTY).text()))
    with pytest.raises(Tampered):
        export(database, store, folder)


def test_before_anything_is_published_there_is_nothing_to_export(database, store, folder):
    with pytest.raises(NotFound, match="nothing is published yet"), Folder(folder) as out:
        Export(db=database, store=store, verifiers=VERIFIERS).run(out, TEXTS, print)


def test_only_what_is_published_is_exported(database, store, folder):
    grow(database, store, 5)
    publish(database, store)
    grow(database, store, 300)
    with Folder(folder) as out:
        Export(db=database, store=store, verifiers=VERIFIERS).run(out, TEXTS, lambda _done, _total: None)
    assert files(folder).keys() == layout(5)


def test_two_exports_into_one_folder_do_not_meet(folder):
    with Folder(folder), pytest.raises(Busy, match="another export"), Folder(folder):
        pass
    with Folder(folder):
        pass


def test_an_interrupted_export_goes_on_where_it_stopped(database, store, folder):
    class Interrupted(Exception):  # what happens, not what is wrong
        pass

    def stop(done, _total):
        if done:
            raise Interrupted

    grow(database, store, 5000)
    with pytest.raises(Interrupted):
        export(database, store, folder, stop)
    left = files(folder)
    assert "checkpoint" not in left
    assert len(left) == 2 * 16
    (folder / "tile/0/.016.new").write_bytes(b"half a ti")
    done = export(database, store, folder)
    assert done.files == len(layout(5000)) - len(left)
    assert files(folder).keys() - {"tile/0/.016.new"} == layout(5000)


KILLED = """
import sys
from pathlib import Path
from service.db import Database, cosignature
from service.ledger.store import Store
from tests.ledger.exporting import export
from tests.running import ORIGIN, keys
export(Database(sys.argv[1]), Store(ORIGIN, keys().log), Path(sys.argv[2]))
"""


def _require_whole(found):
    tiles_found = {parse_path(path): data for path, data in found.items() if not path.endswith(".new")}
    assert tiles_found
    for tile, data in tiles_found.items():
        assert len(data) == 32 * tile.width if tile.level == 0 else decode_entries(data, tile.width)


@pytest.mark.crash
def test_no_file_of_a_killed_export_is_half_and_the_next_run_completes_it(sqlite_url, folder):
    with closing(Database(sqlite_url)) as database:
        store = begin(database)
        grow(database, store, 20_000)
        for _ in range(3):
            before = len(files(folder))
            running = subprocess.Popen([sys.executable, "-c", KILLED, sqlite_url, folder])
            while running.poll() is None and len(files(folder)) < before + 20:
                time.sleep(0.001)
            running.kill()
            running.wait()
            assert "checkpoint" not in files(folder)
            _require_whole(files(folder))
        export(database, store, folder)
        assert files(folder).keys() == layout(20_000)
        assert checkpoint(folder).size == 20_000


def test_time_stamps_and_lines_of_witnesses_go_out_with_the_log(database, store, folder):
    grow(database, store, 3)
    export(database, store, folder)
    note = (folder / "checkpoint").read_bytes()
    at = datetime(2026, 3, 1, 9, 16, 40, tzinfo=UTC)
    stamp = TimeStamp(authority="TSA one/é", at=at, size=3, note=note, reply=b"reply", chain=b"chain")
    with database.begin() as tx:
        anchors.keep_time_stamp(tx, stamp)
        tx.execute(insert(cosignature).values(log_id=LOG_ID, size=3, witness="w1", at=at, line=b"line\n"))
    export(database, store, folder)
    stem = folder / "tsr/3-20260301T091640Z-TSA-one--"
    assert [stem.with_suffix(f".{ending}").read_bytes() for ending in ("checkpoint", "tsr", "pem")] == [
        note,
        b"reply",
        b"chain",
    ]
    assert (folder / "checkpoint").read_bytes() == note + b"line\n"


def test_the_texts_beside_the_log_name_its_keys(database, store, folder):
    export(database, store, folder)
    policy = (folder / "policy.txt").read_text()
    assert f"log {keys().log.vkey} https://ledger.example/log\nquorum none\n" in policy
    listed = [line.split(" ", 1) for line in (folder / "keys.txt").read_text().splitlines() if line[0] != "#"]
    assert listed == [
        ["checkpoint", keys().log.vkey],
        ["checkpoint", keys().log_pq.vkey],
        ["entry", keys().ingest.vkey],
    ]


def test_the_specification_gives_the_examples_of_the_vectors():
    text = TEXTS["SPEC.md"].decode()
    for path in VECTORS["tiles_for_size"]["70000"]["paths"]:
        assert f"`{path}`" in text
    assert "x001/x234/067" in text


def test_files_may_be_read_by_a_web_server_of_another_user(database, store, folder):
    grow(database, store, 3)
    export(database, store, folder)
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in folder.rglob("*"))

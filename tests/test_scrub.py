"""Whatever is changed behind the walls, on the disk or by a stranger, is found and named."""

import json
import os
import shutil
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner
from sqlalchemy import text

from service.cli import group
from service.db import Database
from service.errors import ReadOnly, Tampered
from service.intake.epoch import epoch
from service.intake.forgetting import erase
from service.intake.rekey import rekey_directory
from service.intake.rotation import rotate_ingest, rotate_kek, rotate_log
from service.ledger.publication import Publisher
from service.ledger.scrub import UNREADABLE
from tests import running, servers
from tests.conftest import fresh
from tests.intake.forgotten import ANA, BOB, CYD, Clock, House, consent
from tests.scrubbing import CLAIM, behind_the_walls, fill, findings

FILLED = "template_filled"


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request, shared, postgres, tmp_path) -> Database:
    """A ledger of its own for each test, copied from one that was filled once."""
    if request.param == "sqlite":
        template = shared / f"{FILLED}.db"
        with servers.locked(shared / "filled.lock"):
            if not template.exists():
                _filled(request.getfixturevalue("sqlite_url"), tmp_path)
                shutil.copyfile(tmp_path / "ledger.db", template)
        (tmp_path / "copy").mkdir()
        with closing(
            Database(f"sqlite:///{shutil.copyfile(template, tmp_path / 'copy' / 'ledger.db')}")
        ) as one:
            yield one
        return
    server = postgres(request.param)
    with servers.locked(shared / "filled.lock"):
        if not server.has_database(FILLED):
            server.create_database(FILLED, "template_migrated")
            _filled(server.url(FILLED), tmp_path)
    with fresh(server, FILLED) as url, closing(Database(url)) as one:
        yield one


def _filled(url: str, folder: Path) -> None:
    with closing(Database(url)) as database:
        fill(database, folder)
        database.scrub()


def damaged(ledger: Database, *statements: str) -> list[str]:
    with behind_the_walls(ledger.url) as intruder:
        for statement in statements:
            intruder.run(statement)
    return findings(ledger)


def flipped(ledger: Database, table: str, column: str, which: str, *, log_only: bool = False) -> list[str]:
    with behind_the_walls(ledger.url) as intruder:
        intruder.flip(table, column, which)
    return findings(ledger, log_only=log_only)


def test_a_ledger_with_something_of_everything_is_clean(database, tmp_path):
    fill(database, tmp_path)
    assert findings(database) == []


def test_erasures_and_changes_of_every_key_leave_a_ledger_clean(database, tmp_path):
    """What was destroyed or swapped on purpose is no damage: a false alarm would teach people not to look."""
    with House(folder=tmp_path, clock=Clock()).open(database) as intake:
        consent(intake, ANA, BOB)
        epoch(intake)
        erase(intake, ANA, reason="request")
        assert findings(database, intake.keys) == []
        for change in (rotate_ingest, rotate_log, rotate_kek, rekey_directory):
            change(intake)
            consent(intake, f"{change.__name__}@example.org")
            assert findings(database, intake.keys) == [], change
        epoch(intake)
        erase(intake, BOB, reason="request")
        publisher(database, intake).publish()
        consent(intake, ANA, CYD)
        assert findings(database, intake.keys) == []


LOG_BITS = [
    ("leaf", "hash", f"idx = {CLAIM}", f"leaf.hash, entry {CLAIM}:"),
    ("leaf", "entry", f"idx = {CLAIM}", f"leaf.entry, entry {CLAIM}:"),
    ("leaf", "hash", "idx = 560", "leaf.hash, entry 560:"),
    ("node", "hash", "level = 1 AND idx = 1", "node, level 1, index 1:"),
    ("log_state", "edge", "log_id = 1", "log_state.edge:"),
    ("log_state", "head", "log_id = 1", "log_state.head:"),
    ("checkpoint", "root", "number = 0", "checkpoint, number 0:"),
    ("checkpoint", "note", "number = 1", "checkpoint, number 1:"),
    ("dedupe", "key", f"idx = {CLAIM}", f"dedupe, of entry {CLAIM}:"),
    ("dedupe", "request", f"idx = {CLAIM}", f"dedupe, of entry {CLAIM}:"),
    ("dedupe", "digest", f"idx = {CLAIM}", f"dedupe, of entry {CLAIM}:"),
]
BESIDE_BITS = [
    ("payload", "sealed", f"idx = {CLAIM}", f"payload.sealed, entry {CLAIM}:"),
    ("payload", "sub", f"idx = {CLAIM}", f"payload.sub, entry {CLAIM}:"),
    ("event", "sub", f"idx = {CLAIM}", f"event.sub, entry {CLAIM}:"),
    ("subject_key", "wrapped", f"sub = (SELECT sub FROM event WHERE idx = {CLAIM})", "subject, "),
    ("subject", "address", f"opened_idx = {CLAIM - 1}", "subject, "),
    ("subject", "address_index", f"opened_idx = {CLAIM - 1}", "subject, "),
    ("subject", "dk", f"opened_idx = {CLAIM - 1}", "subject, "),
    ("subject", "r", f"opened_idx = {CLAIM - 1}", "subject, "),
    (
        "index_row",
        "row",
        f"kind = 1 AND key = (SELECT sub FROM event WHERE idx = {CLAIM})",
        "index_row, subject ",
    ),
    (
        "index_row",
        "edge",
        f"kind = 1 AND key = (SELECT sub FROM event WHERE idx = {CLAIM})",
        "index_row, subject ",
    ),
    (
        "index_row",
        "row",
        f"kind = 2 AND key = (SELECT dk FROM subject WHERE opened_idx = {CLAIM - 1})",
        "index_row, opening ",
    ),
    ("index_node", "hash", "kind = 1 AND level = 1 AND idx = 0", "index_node, list 1, level 1, index 0:"),
    ("index_state", "edge", "log_id = 1", "index_state.edge:"),
    ("index_state", "total", "log_id = 1", "index_row: a row of the index was changed or lost"),
]


@pytest.mark.parametrize("bit", LOG_BITS, ids=lambda bit: "-".join(bit[:3]))
def test_one_flipped_bit_of_the_log_is_found_and_named(ledger, bit, figures):
    table, column, which, named = bit
    found = flipped(ledger, table, column, which, log_only=True)
    assert any(one.startswith(named) for one in found), found
    figures(f"flipped bit in {table}.{column} ({ledger.dialect})", named=named.rstrip(":"))


@pytest.mark.parametrize(("table", "column", "which", "named"), BESIDE_BITS)
def test_one_flipped_bit_beside_the_log_is_found_and_named(ledger, table, column, which, named):
    found = flipped(ledger, table, column, which)
    assert any(one.startswith(named) for one in found), found


CHANGES = {
    "a lost entry": ([f"DELETE FROM leaf WHERE idx = {CLAIM}"], f"leaf, entry {CLAIM}: missing"),
    "a lost end": (["DELETE FROM leaf WHERE idx >= 560"], "leaf, entries 560 to "),
    "an entry too many": (
        ["INSERT INTO leaf SELECT log_id, idx + 1000, hash, entry FROM leaf WHERE idx = 5"],
        "leaf, entry 1005: 1 rows more",
    ),
    "a lost node": (["DELETE FROM node WHERE idx = 0"], "node, level 1, index 0: missing"),
    "a node too many": (
        ["INSERT INTO node SELECT log_id, 2, 0, hash FROM node WHERE idx = 0"],
        "node, level 2, index 0: stands above no entries",
    ),
    "a lost head": (["DELETE FROM log_state"], "log_state: the row is missing"),
    "a log that says it is shorter": (["UPDATE log_state SET size = size - 1"], "log_state.size:"),
    "another name": (["UPDATE log_state SET origin = 'b.example/log'"], "log_state.origin:"),
    "a lost checkpoint": (["DELETE FROM checkpoint WHERE number = 0"], "checkpoint, number 0: missing"),
    "a lost idempotency row": (
        [f"DELETE FROM dedupe WHERE idx = {CLAIM}"],
        f"dedupe, entry {CLAIM}: missing",
    ),
    "a lost payload": ([f"DELETE FROM payload WHERE idx = {CLAIM}"], f"payload, entry {CLAIM}: missing"),
    "a payload too many": (
        ["INSERT INTO payload SELECT log_id, 0, sub, sealed FROM payload WHERE idx = 2"],
        "payload, entry 0: belongs to no entry",
    ),
    "payloads that changed places": (
        [
            f"UPDATE payload SET idx = -1 WHERE idx = {CLAIM}",
            f"UPDATE payload SET idx = {CLAIM} WHERE idx = {CLAIM + 2}",
            f"UPDATE payload SET idx = {CLAIM + 2} WHERE idx = -1",
        ],
        f"payload.sub, entry {CLAIM}:",
    ),
    "a lost event": ([f"DELETE FROM event WHERE idx = {CLAIM}"], f"event, entry {CLAIM}: missing"),
    "a lost opening": ([f"DELETE FROM event WHERE idx = {CLAIM - 1}"], f"event, entry {CLAIM - 1}: missing"),
    "an event of another kind": (
        [f"UPDATE event SET category = 'consent.withdrawn' WHERE idx = {CLAIM}"],
        f"event.category, entry {CLAIM}:",
    ),
    "an event at another time": (
        [f"UPDATE event SET occurred_at = occurred_at - 86400000 WHERE idx = {CLAIM}"],
        f"event.occurred_at, entry {CLAIM}:",
    ),
    "an event with better evidence": (
        [f"UPDATE event SET grade = 'A' WHERE idx = {CLAIM}"],
        f"payload.sealed, entry {CLAIM}:",
    ),
    "a person's lost key": (
        [f"DELETE FROM subject_key WHERE sub = (SELECT sub FROM event WHERE idx = {CLAIM})"],
        f"payload.sealed, entry {CLAIM}:",
    ),
    "a lost person": ([f"DELETE FROM subject WHERE opened_idx = {CLAIM - 1}"], "event, "),
    "a standing that permits": (
        ["UPDATE standing SET state = 'permitted', must_stop = 0 WHERE state = 'refused'"],
        "standing, ",
    ),
    "a lost standing": ([f"DELETE FROM standing WHERE decided_by = {CLAIM}"], "standing, "),
    "a lost row of the index": (
        [f"DELETE FROM index_row WHERE kind = 1 AND key = (SELECT sub FROM event WHERE idx = {CLAIM})"],
        "index_row: a row of the index was changed or lost",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_row_that_is_missing_too_many_or_says_something_else_is_found_and_named(ledger, change):
    statements, named = CHANGES[change]
    found = damaged(ledger, *statements)
    assert any(one.startswith(named) for one in found), found


def test_an_entry_replaced_together_with_its_hash_is_found_where_it_stands(ledger):
    with behind_the_walls(ledger.url) as intruder:
        [[entry, hashed]] = intruder.run("SELECT entry, hash FROM leaf WHERE idx = 2")
        intruder.run(f"UPDATE leaf SET entry = ?, hash = ? WHERE idx = {CLAIM}", entry, hashed)
    assert "leaf, entries 0 to 255: not those that the node above them was made of" in findings(ledger)


def test_an_entry_behind_the_last_node_is_found_by_the_right_edge(ledger):
    with behind_the_walls(ledger.url) as intruder:
        [[entry, hashed]] = intruder.run("SELECT entry, hash FROM leaf WHERE idx = 2")
        intruder.run("UPDATE leaf SET entry = ?, hash = ? WHERE idx = 520", entry, hashed)
    found = findings(ledger)
    assert any(one.startswith("leaf, entries 512 to ") and "not what was signed" in one for one in found), (
        found
    )


@pytest.mark.parametrize("table", ["leaf", "node", "dedupe", "checkpoint"])
def test_a_table_restored_from_an_older_backup_is_found(ledger, table, figures):
    with behind_the_walls(ledger.url) as intruder:
        intruder.run(f"CREATE TABLE older AS SELECT * FROM {table}")
    with running.start(ledger) as intake:
        running.indexes(intake.record([running.claim(f"n{n}@example.org", key=f"n{n}") for n in range(300)]))
        publisher(ledger, intake).publish()
        running.indexes(intake.record([running.claim("newest@example.org", key="newest")]))
        publisher(ledger, intake).publish()
    with behind_the_walls(ledger.url) as intruder:
        kept = "number <> 2" if table == "checkpoint" else "1 = 1"
        intruder.run(f"DELETE FROM {table} WHERE {kept.replace('<>', '=')}")
        if table != "checkpoint":
            intruder.run(f"INSERT INTO {table} SELECT * FROM older")
        intruder.run("DROP TABLE older")
    named = {"leaf": "leaf, entries ", "node": "node, level 1, index 2: missing"}
    found = findings(ledger)
    assert any(one.startswith(named.get(table, f"{table}, ")) for one in found), found
    figures(f"table {table} of an older backup ({ledger.dialect})", findings=len(found))


@pytest.mark.parametrize("table", ["leaf", "node", "checkpoint", "log_state"])
def test_a_table_of_another_log_is_found(ledger, sqlite_url, shared, tmp_path, table):
    shutil.copyfile(shared / "template.db", tmp_path / "other.db")
    other_url = f"sqlite:///{tmp_path / 'other.db'}"
    with closing(Database(other_url)) as other:
        fill(other, tmp_path / "other")
    with behind_the_walls(other_url) as there:
        rows = there.run(f"SELECT * FROM {table}")
    with behind_the_walls(ledger.url) as intruder:
        intruder.run(f"DELETE FROM {table}")
        for row in rows:
            intruder.run(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", *row)
    found = findings(ledger)
    named = {
        "leaf": "leaf, entries 0 to 255: not those",
        "node": "node, level 1, index 0: not the hash",
        "log_state": "leaf, entries 0 to 511: not what was signed",  # the other log has the same keys
    }
    assert any(one.startswith(named.get(table, table)) for one in found), found


def test_a_wall_that_is_down_is_a_finding(ledger):
    trigger = "leaf_no_update" if ledger.dialect == "sqlite" else "leaf_no_change"
    with behind_the_walls(ledger.url) as intruder:
        intruder.down.add(trigger)
    assert [one.partition(":")[0] for one in findings(ledger)] == [f"trigger {trigger}"]


STORED = {
    "leaf.hash": ("leaf", "hash", f"idx = {CLAIM}"),
    "leaf.entry": ("leaf", "entry", f"idx = {CLAIM + 2}"),
    "node.hash": ("node", "hash", "level = 1 AND idx = 1"),
    "dedupe.key": ("dedupe", "key", f"idx = {CLAIM}"),
    "dedupe.request": ("dedupe", "request", f"idx = {CLAIM}"),
    "checkpoint.note": ("checkpoint", "substr(note, 1, 60)", "number = 1"),
    "log_state.edge": ("log_state", "edge", "1 = 1"),
    "log_state.head": ("log_state", "substr(head, 1, 60)", "1 = 1"),
    "payload.sealed": ("payload", "sealed", f"idx = {CLAIM}"),
    "subject_key.wrapped": ("subject_key", "wrapped", f"sub = (SELECT sub FROM event WHERE idx = {CLAIM})"),
    "index_row.row": ("index_row", "row", f"key = (SELECT sub FROM event WHERE idx = {CLAIM})"),
}


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
@pytest.mark.parametrize("stored", STORED)
def test_one_bit_of_the_sqlite_file_itself_is_found(ledger, stored, figures):
    table, column, which = STORED[stored]
    with ledger.read() as tx:
        value = bytes(tx.execute(text(f"SELECT {column} FROM {table} WHERE {which}")).scalar_one())
        path = Path(tx.exec_driver_sql("PRAGMA database_list").one()[2])
    ledger.close()
    data = bytearray(path.read_bytes())
    places = _all(data, value)
    assert places, "the value stands in the file in one piece"
    for at in places:
        data[at + len(value) // 2] ^= 4
    path.write_bytes(data)
    with closing(Database(ledger.url)) as again:
        found = findings(again)
    assert found
    figures(f"flipped bit of the SQLite file, in {stored}", places=len(places), findings=len(found))


def _all(data: bytes, value: bytes) -> list[int]:
    found, at = [], data.find(value)
    while at >= 0:
        found.append(at)
        at = data.find(value, at + 1)
    return found


def test_a_page_that_postgresql_itself_refuses_is_a_finding_and_the_rest_is_looked_at(
    durable_postgres, tmp_path, figures
):
    url = durable_postgres.url("ledger")
    with closing(Database(url)) as database:
        fill(database, tmp_path)
        assert findings(database) == []
    with psycopg.connect(durable_postgres.conninfo("ledger"), autocommit=True) as superuser:
        superuser.execute("CHECKPOINT")
        [[relation]] = superuser.execute("SELECT pg_relation_filepath('node')").fetchall()
    durable_postgres.stop()
    with (durable_postgres.data / relation).open("r+b") as file:
        file.seek(8192 - 20)
        byte = file.read(1)
        file.seek(8192 - 20)
        file.write(bytes([byte[0] ^ 4]))
    durable_postgres.start()
    with closing(Database(url)) as database:
        found = findings(database)
    assert f"log: {UNREADABLE}" in found
    assert not any(one.startswith("events and payloads") for one in found)
    figures("flipped bit of a page (postgresql)", refused_by_the_servers_checksums=1, findings=len(found))


SIGNED_OVER = [one for one in LOG_BITS if one[0] in ("leaf", "node", "log_state")]


@pytest.mark.parametrize(("table", "column", "which", "named"), SIGNED_OVER)
def test_nothing_is_published_over_what_is_damaged(ledger, table, column, which, named):
    with behind_the_walls(ledger.url) as intruder:
        intruder.run("DELETE FROM checkpoint")
        intruder.flip(table, column, which)
    intake = running.start(ledger)
    if column == "edge":
        intake._keeper.check(begun=True)
        with ledger.begin() as tx, pytest.raises(ReadOnly):
            intake.store.lock(tx)
    else:
        with pytest.raises(Tampered):
            publisher(ledger, intake).publish()


def publisher(ledger, intake) -> Publisher:
    return Publisher(ledger, intake.store, intake.keys.log, intake.keys.log_pq, intake.now)


def test_the_command_says_clean_or_names_the_place_and_its_exit_code_tells_which(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONSENT_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("CONSENT_DATABASE_URL", f"sqlite:///{tmp_path / 'ledger.db'}")
    monkeypatch.setenv("CONSENT_POLICIES_DIR", str(Path(__file__).parent.parent / "policies"))
    run = CliRunner()
    assert run.invoke(group, ["export", "out"]).exit_code == 0
    clean = run.invoke(group, ["scrub"])
    assert (clean.exit_code, clean.stdout[:5]) == (0, "clean")
    with behind_the_walls(os.environ["CONSENT_DATABASE_URL"]) as intruder:
        intruder.flip("leaf", "hash", "idx = 0")
    bad = run.invoke(group, ["scrub"])
    assert bad.exit_code == 1
    assert "leaf.hash, entry 0: " in bad.stdout
    told = json.loads(run.invoke(group, ["scrub", "--log-only", "--json"]).stdout)
    assert told["damage"][0]["where"] == "leaf.hash, entry 0"

"""kill -9 of the real server under a write load: what was acknowledged is there, and nothing by halves."""

import json
import multiprocessing
import os
import random
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import uvicorn
from sqlalchemy import func, select

from service import app, settings
from service.consent import STOPS, Category
from service.db import Database, dedupe, happening, leaf, log_state, node, payload, standing, subject, task
from service.intake.projection import events_of, standings
from service.ledger import merkle
from service.ledger.entry import check, decode
from service.ledger.proof import Checkpoint, open_checkpoint, verify_receipt
from service.ledger.store import Store
from service.settings import Settings
from service.vault.keys import Keys, open_keys
from service.web.auth import EVENTS_WRITE, create_key
from tests import running

ROUNDS = int(os.environ.get("CONSENT_ROUNDS", "10"))
"""How often; the gate does a quarter of a release's forty (CONSENT_ROUNDS=40 make test)."""
BEGIN_S, A_ROUND_S = 60, 12  # at most, on a machine that is busy with other tests
CALLERS = 8
LONGEST_LIFE_S = 0.25  # under load, before the kill
EACH_TIME_THE_DATABASE_TOO = 5  # on PostgreSQL the server of the database dies in every fifth round
PATIENCE_S = 60
NOTICE = {**running.NOTICE, "notice_version": "2026-01"}

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.test_crash"])


def serve(chosen: Settings, listening: socket.socket) -> None:
    """Be the service, until somebody kills us."""
    with app.running(chosen) as parts:
        config = uvicorn.Config(
            parts.site(), http="httptools", loop="uvloop", log_config=None, access_log=False
        )
        uvicorn.Server(config).run(sockets=[listening])


@dataclass
class Load:
    """Callers that post events one after another, and keep every receipt that they were given."""

    port: int
    key: str
    name: str
    receipts: list[bytes] = field(default_factory=list)

    def run(self, caller: int) -> None:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        number = 0
        try:
            while True:
                number += 1
                self.receipts.extend(
                    self.post(connection, self.events(f"{self.name}-{caller}-{number}", number))
                )
        except (OSError, HTTPException):
            return  # the server is dead
        finally:
            connection.close()

    def events(self, name: str, number: int) -> list[dict[str, object]]:
        """A consent of somebody new; sometimes their withdrawal, sometimes an array of several people."""
        granted = {"category": "consent.granted", "purpose": "marketing", "evidence": NOTICE}
        events = [{**granted, "email": f"{name}@example.org", "key": name}]
        if number % 2:
            events.append(
                {"category": "consent.withdrawn", "email": f"{name}@example.org", "key": f"{name}-w"}
            )
        if number % 5 == 0:
            events += [
                {**granted, "email": f"{name}-{n}@example.org", "key": f"{name}-{n}"} for n in range(20)
            ]
        return events

    def post(self, connection: HTTPConnection, events: list[dict[str, object]]) -> list[bytes]:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        connection.request("POST", "/api/events", json.dumps(events), headers)
        answer = connection.getresponse()
        told = json.loads(answer.read())
        assert answer.status in (200, 201, 207), told
        return [one["receipt"].encode() for one in told]


@dataclass
class Auditor:
    """Looks at the reopened ledger after each round; remembers what it has seen of it before."""

    database: Database
    keys: Keys
    heads: list[Checkpoint] = field(default_factory=list)
    entries: list[bytes] = field(default_factory=list)

    def look(self, receipts: list[bytes]) -> None:
        store = Store(self.keys.log.name)
        with self.database.read() as tx:
            head = open_checkpoint(store.head(tx), [self.keys.log.verifier])
            self.check_tree(tx, head)
            self.check_receipts(store.reader(tx), head, receipts)
            self.check_derived(tx)
        self.heads.append(head)

    def check_tree(self, tx, head: Checkpoint) -> None:
        """Indexes are dense, every hash is that of its bytes, and nothing seen before has changed."""
        leaves = tx.execute(select(leaf.c.idx, leaf.c.hash, leaf.c.entry).order_by(leaf.c.idx)).all()
        assert [row.idx for row in leaves] == list(range(head.size))
        edge, nodes = merkle.Edge(), set()
        for row in leaves:
            assert row.hash == merkle.leaf_hash(row.entry)
            nodes |= set(edge.add(row.hash))
        assert {(n.level, n.idx, n.hash) for n in tx.execute(select(node)).all()} == nodes
        state = tx.execute(select(log_state.c.size, log_state.c.edge)).one()
        assert (state.size, state.edge) == (head.size, edge.to_bytes())
        assert edge.root() == head.root
        found = [row.entry for row in leaves]
        assert found[: len(self.entries)] == self.entries
        for entry in found[len(self.entries) :]:
            check(entry, [self.keys.ingest.verifier])
        self.entries = found

    def check_receipts(self, read: merkle.Read, head: Checkpoint, receipts: list[bytes]) -> None:
        """What was acknowledged is there, byte for byte; the tree signed then is part of this one."""
        then: set[Checkpoint] = set(self.heads)
        for data in receipts:
            proven = verify_receipt(data, [self.keys.log.verifier])
            assert self.entries[proven.receipt.index] == proven.receipt.entry
            then.add(proven.checkpoint)
        for old in then:
            proof = merkle.consistency_proof(old.size, head.size, read)
            assert merkle.verify_consistency(old.size, head.size, old.root, head.root, proof)

    def check_derived(self, tx) -> None:
        """Rows beside the entries are exactly those of the entries: no event is half written."""
        told = {index: decode(data) for index, data in enumerate(self.entries)}
        opened = {index for index, one in told.items() if one.category == Category.SUBJECT_OPENED}
        about = {index: one.subject for index, one in told.items() if one.subject is not None}
        assert set(tx.scalars(select(payload.c.idx))) == about.keys()
        assert set(tx.scalars(select(dedupe.c.idx))) == about.keys()
        rows = {row.idx: row.sub for row in tx.execute(select(happening.c.idx, happening.c.sub))}
        assert rows.keys() == opened | about.keys()
        assert about.items() <= rows.items()
        people = {row.opened_idx: row.sub for row in tx.execute(select(subject.c.opened_idx, subject.c.sub))}
        assert people == {index: rows[index] for index in opened}
        stops = {index for index in about if told[index].category in STOPS}
        assert set(tx.scalars(select(task.c.cause_idx))) == stops
        self.check_standings(tx, sorted(set(about.values())))

    def check_standings(self, tx, people: list[bytes]) -> None:
        stored = {row.sub: (row.state, row.decided_by) for row in tx.execute(select(standing)).all()}
        assert tx.scalar(select(func.count()).select_from(standing)) == len(stored) == len(people)
        for sub, events in events_of(tx, people).items():
            [found] = standings(events, running.policies(), max(event.recorded_at for event in events))
            assert stored[sub] == (found.state, found.decided_by)


@contextmanager
def alive(chosen: Settings) -> Iterator[tuple[BaseProcess, int]]:
    """Run the service in a process of its own, on a port of its own, and kill it at the end."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        child = processes.Process(target=serve, args=(chosen, listening), daemon=True)
        child.start()
        try:
            yield child, listening.getsockname()[1]
        finally:
            child.kill()
            child.join(PATIENCE_S)
            child.close()


def torment(
    chosen: Settings, auditor: Auditor, key: str, *, also: Callable[[int], None] = lambda _: None
) -> dict[str, float]:
    """Kill the service so many times under load and look at the ledger; return what was counted."""
    chance = random.Random(20260301)  # noqa: S311  # moments, no secrets
    acknowledged, starts_s = 0, []
    for number in range(ROUNDS):
        began = time.monotonic()
        with alive(chosen) as (child, port):
            load = Load(port, key, f"r{number}")
            callers = [threading.Thread(target=load.run, args=(caller,)) for caller in range(CALLERS)]
            for caller in callers:
                caller.start()
            until(lambda load=load, child=child: load.receipts or not child.is_alive())
            starts_s.append(time.monotonic() - began)
            time.sleep(chance.uniform(0, LONGEST_LIFE_S))
            assert child.is_alive()
            child.kill()
        for caller in callers:
            caller.join(PATIENCE_S)
        assert load.receipts
        acknowledged += len(load.receipts)
        also(number)
        auditor.look(load.receipts)
    return {"acknowledged": acknowledged, "worst_restart_s": round(max(starts_s), 2)}


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def chosen(folder: Path, url: str) -> Settings:
    return settings.load(
        secrets_dir=folder / "none", state_dir=folder / "state", database_url=url, kek_file=folder / "kek"
    )


@pytest.mark.crash
@pytest.mark.timeout(BEGIN_S + ROUNDS * A_ROUND_S)
def test_what_a_killed_server_had_acknowledged_is_in_the_sqlite_ledger(sqlite_url, disk, figures):
    url = f"sqlite:///{shutil.copyfile(sqlite_url.removeprefix('sqlite:///'), disk / 'ledger.db')}"
    told = chosen(disk, url)
    keys = open_keys(told)
    with closing(Database(url)) as database:
        key = create_key(database, "load", [EVENTS_WRITE])
        auditor = Auditor(database, keys)
        counted = torment(told, auditor, key)
    assert counted["acknowledged"] >= len(auditor.heads) == ROUNDS
    entries = auditor.heads[-1].size
    figures("kill -9 under load (sqlite)", rounds=ROUNDS, **counted, lost=0, duplicates=0, entries=entries)


@pytest.mark.crash
@pytest.mark.timeout(BEGIN_S + ROUNDS * A_ROUND_S)
def test_what_a_killed_server_had_acknowledged_is_in_the_postgresql_ledger(
    durable_postgres, tmp_path, figures
):
    url = durable_postgres.url("ledger")
    keys = open_keys(chosen(tmp_path, "sqlite:///:memory:"))  # creates the files, as production does not
    told = chosen(tmp_path, url)
    with closing(Database(url)) as database:
        key = create_key(database, "load", [EVENTS_WRITE])
        auditor = Auditor(database, keys)

        def kill_the_database(number: int) -> None:
            if number % EACH_TIME_THE_DATABASE_TOO == 0:
                durable_postgres.kill()
                durable_postgres.start()

        counted = torment(told, auditor, key, also=kill_the_database)
    assert counted["acknowledged"] >= len(auditor.heads) == ROUNDS
    figures(
        "kill -9 under load, every fifth time of the database too (postgresql)",
        rounds=ROUNDS,
        **counted,
        lost=0,
        duplicates=0,
        entries=auditor.heads[-1].size,
    )

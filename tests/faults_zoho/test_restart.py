"""Zoho killed and started again in the middle of a run, with what it had answered kept in its file."""

import os
import socket
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess

import httpx
import pytest

from service.zoho.simulator.server import Simulator, serve
from tests.faults_zoho.conftest import Org, beside
from tests.reconciler.conftest import hasty
from tests.test_crash import processes
from tests.waiting import until

PEOPLE = 30


def serve_in_silence(port: int, file: str) -> None:
    """Run by a process of its own: be Zoho until somebody kills us."""
    sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  # for as long as the process lives
    serve(port=port, contacts=PEOPLE, seed=1, file=file)


@dataclass(slots=True)
class Elsewhere:
    """The simulator in a process of its own, always at the same address."""

    port: int
    file: str
    process: BaseProcess = field(init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.process = processes.Process(target=serve_in_silence, args=(self.port, self.file), daemon=True)
        self.process.start()
        until(self._answers, within_s=30)

    def kill(self) -> None:
        self.process.kill()
        self.process.join(10)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/_control/clock", trust_env=False).is_success
        except httpx.TransportError:
            return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.fixture
def elsewhere(tmp_path) -> Iterator[Elsewhere]:
    made = Elsewhere(free_port(), str(tmp_path / "zoho.db"))
    made.start()
    yield made
    made.kill()


@contextmanager
def ledger(elsewhere: Elsewhere, url: str) -> Iterator[Org]:
    with (
        httpx.Client(base_url=elsewhere.url, timeout=10, trust_env=False) as client,
        closing(sqlite3.connect(elsewhere.file, isolation_level=None, check_same_thread=False)) as db,
        beside(Simulator(elsewhere.url, None, client), url, db, pace=hasty()) as made,
    ):
        yield made


@pytest.mark.parametrize("step", ["read crm", "planned", "written crm:Contacts/", "written campaigns"])
def test_a_simulator_that_is_killed_and_back_at_once_is_hardly_noticed(elsewhere, sqlite_url, step):
    with ledger(elsewhere, sqlite_url) as org:

        def restart() -> None:
            elsewhere.kill()
            elsewhere.start()

        org.attempt(progress=org.at(step, restart))
        org.converges()


def test_a_simulator_that_stays_away_until_the_next_run_has_kept_what_it_answered(elsewhere, postgresql_url):
    with ledger(elsewhere, postgresql_url) as org:
        ended = org.attempt(progress=org.at("written crm:Contacts/", elsewhere.kill))
        assert ended.remaining
        assert set(ended.changes.stopped) >= {"campaigns", "crm:"}
        elsewhere.start()
        org.converges()

"""The whole service with somebody outside: what a restored backup meets when it starts."""

import shutil
from contextlib import closing, contextmanager

import pytest

from service import app
from service.db import Database
from service.errors import ReadOnly
from service.settings import HERE, load
from service.vault.keys import open_keys
from tests.anchor.witness import Witness, witness_server
from tests.running import ORIGIN, people


class Installation:
    """One installation on SQLite whose log a witness watches."""

    def __init__(self, folder, witness: Witness, url: str):
        self.policies = folder / "policies"
        shutil.copytree(HERE / "policies", self.policies)
        lines = f"witness w {witness.vkey} {url}\nquorum w\n"
        (self.policies / "log.toml").write_text(f"policy = '''\n{lines}'''\n")
        self.settings = load(
            database_url=f"sqlite:///{folder / 'ledger.db'}",
            state_dir=folder / "state",
            policies_dir=self.policies,
            origin=ORIGIN,
        )
        self.database, self.copy = folder / "ledger.db", folder / "yesterday.db"

    @contextmanager
    def running(self):
        with app.running(self.settings) as parts:
            yield parts

    def witnessed(self, number: int, prefix: str) -> int:
        """Record people, publish, have it cosigned; return the size."""
        with self.running() as parts:
            parts.intake.record(people(number, prefix))
            published = parts.publisher().publish()
            assert parts.anchors().attend() == 1
            return published.size


@pytest.fixture
def installation(tmp_path, clock):
    memory = tmp_path / "witness.db"
    with closing(Database(f"sqlite:///{memory}")) as db:
        first = load(
            database_url=f"sqlite:///{tmp_path / 'ledger.db'}", state_dir=tmp_path / "state", origin=ORIGIN
        )
        log_key = open_keys(first).log.verifier
        witness = Witness("w.example", db, {ORIGIN: log_key}, clock.seconds)
        with witness_server(witness) as url:
            yield Installation(tmp_path, witness, url)


def test_a_service_whose_witness_knows_its_log_records(installation):
    sizes = [installation.witnessed(2, prefix) for prefix in ("a", "b")]
    with installation.running() as parts:
        assert parts.intake.trouble is None
        assert sizes == sorted(sizes)


def test_a_backup_older_than_the_witness_is_read_only_even_where_the_fence_was_lost(installation):
    installation.witnessed(2, "before")
    shutil.copyfile(installation.database, installation.copy)
    size = installation.witnessed(3, "lost")
    shutil.copyfile(installation.copy, installation.database)
    installation.settings.fence_path.unlink()
    with installation.running() as parts:
        assert f"the witness w knows {size}" in parts.intake.trouble
        (refused,) = parts.intake.record(people(1, "fork"))
        assert isinstance(refused, ReadOnly)
        assert parts.publisher().publish() is None
    assert not installation.settings.fence_path.exists()


def test_a_witness_that_is_away_does_not_keep_the_service_from_starting(installation, tmp_path):
    installation.witnessed(1, "before")
    text = (installation.policies / "log.toml").read_text()
    address = text.split("http://")[1].split("\n")[0]
    (installation.policies / "log.toml").write_text(text.replace(address, "127.0.0.1:9"))
    with installation.running() as parts:
        assert parts.intake.trouble is None
        parts.intake.record(people(1, "after"))


def test_anchors_are_attended_to_from_a_thread_of_their_own(installation):
    with installation.running() as parts:
        parts.intake.record(people(1, "person"))
        parts.publisher().publish()
        with parts.anchors():
            pass
        assert parts.anchors().attend() == 0

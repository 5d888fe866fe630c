"""Exports of a ledger that lived: persons, epochs, an erasure, new keys, a re-keyed directory."""

from contextlib import closing
from pathlib import Path

import pytest

from service.db import Database, migrate
from service.intake.epoch import epoch
from service.intake.forgetting import erase
from service.intake.rekey import rekey_directory
from service.intake.rotation import end_overlap, rotate_ingest, rotate_log
from service.ledger.export import Export
from service.ledger.export.folder import Folder
from service.ledger.export.texts import beside
from service.ledger.publication import Publisher, Signing
from tests.intake.forgotten import ANA, BOB, Clock, House, consent
from tests.ledger.commands import Runner

ALONE = Path(__file__).parents[2] / "service" / "ledger" / "standalone" / "verify.py"


def publisher(intake):
    def signing() -> Signing:
        keys = intake.keys
        return Signing(
            head=keys.heads, cosigner=keys.log_pq, verifiers=(*keys.log_verifiers, keys.log_pq.verifier)
        )

    keys = intake.keys
    return Publisher(intake.db, intake.store, keys.log, keys.log_pq, intake.now, current=signing)


def export(intake, folder):
    publisher(intake).publish()
    keys = intake.keys
    ingest = [key.vkey for key in keys.ingest_verifiers]
    texts = beside(
        log=keys.log.vkey, log_pq=keys.log_pq.vkey, ingest=ingest, url="https://ledger.example/log"
    )
    verifiers = (*keys.log_verifiers, keys.log_pq.verifier)
    with Folder(folder) as out:
        Export(db=intake.db, store=intake.store, verifiers=verifiers).run(out, texts, lambda _d, _t: None)


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """Exports of one ledger, younger and older, and the log's first and last public key."""
    folder = tmp_path_factory.mktemp("lived")
    url = f"sqlite:///{folder / 'ledger.db'}"
    migrate(url)
    with closing(Database(url)) as database, House(folder=folder, clock=Clock()).open(database) as intake:
        first = intake.keys.log.vkey
        consent(intake, ANA)
        epoch(intake)
        export(intake, folder / "young")
        consent(intake, BOB)
        rotate_log(intake)
        rotate_ingest(intake)
        erase(intake, ANA, reason="request")
        end_overlap(intake)
        epoch(intake)
        rekey_directory(intake)
        consent(intake, ANA.replace("ana", "eve"))
        epoch(intake)
        export(intake, folder / "old")
        return folder, first, intake.keys.log.vkey


@pytest.mark.parametrize("which", [1, 2], ids=["first key", "last key"])
def test_both_verifiers_find_it_good_with_the_first_key_and_with_the_last(lived, which, tmp_path):
    folder = lived[0]
    given = [str(folder / "old"), "--key", lived[which], "--since", str(folder / "young" / "checkpoint")]
    with Runner() as runner:
        codes = runner.ours(given, tmp_path / "ours"), runner.alone(ALONE, given, tmp_path / "alone")
    assert codes == (0, 0), (tmp_path / "ours").read_text() + (tmp_path / "alone").read_text()
    assert "4 index epochs made again" in (tmp_path / "ours").read_text()

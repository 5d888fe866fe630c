"""The log says itself which ML-DSA key signs its checkpoints."""

from dataclasses import replace

from service.consent import Category
from service.ledger.cosignature import Cosigner
from service.ledger.entry import check
from tests.running import ORIGIN, keys, start

LATER = replace(keys(), log_pq=Cosigner(ORIGIN, bytes(32)))


def entries(intake):
    with intake.db.read() as tx:
        size = intake.store.size(tx)
        found = intake.store.entries(tx, range(size))
    return [check(found[index], [keys().ingest.verifier]) for index in range(size)]


def test_a_new_log_names_the_key_in_its_first_entry(database):
    with start(database) as intake:
        (genesis,) = entries(intake)
    assert genesis.category == Category.LOG_GENESIS
    assert genesis.extra["log_pq"] == keys().log_pq.vkey


def test_a_log_whose_first_entry_does_not_name_the_key_announces_it_once(database):
    with start(database):
        pass
    for _ in range(2):
        with start(database, keys=LATER) as intake:
            _, announced = entries(intake)
    assert announced.category == Category.KEY_ROTATED
    assert announced.extra == {"log_pq": LATER.log_pq.vkey}

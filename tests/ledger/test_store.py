"""The log in the database: appended, read and proven, on every store."""

import pytest
from sqlalchemy import text

from service.errors import Tampered
from service.ledger import merkle
from service.ledger.proof import open_checkpoint
from service.ledger.store import Known, Store
from tests import running

LOG = running.keys().log
SIZES = (1, 1, 2, 5, 247, 1, 300)  # past one full tile of 256


def entry(index: int) -> bytes:
    return b"entry %d" % index


@pytest.fixture
def store(database) -> Store:
    store = Store(running.ORIGIN, LOG)
    with database.begin() as tx:
        store.begin(tx)
    return store


def grow(database, store: Store, count: int) -> None:
    with database.begin() as tx:
        edge = store.lock(tx)
        store.append(tx, edge, [entry(n) for n in range(edge.size, edge.size + count)])


@pytest.fixture
def grown(database, store) -> Store:
    for count in SIZES:
        grow(database, store, count)
    return store


def test_a_database_without_the_log_says_so(database):
    with database.read() as tx:
        assert not Store(running.ORIGIN).exists(tx)


def test_a_log_that_was_begun_is_empty_and_signed(database, store):
    with database.read() as tx:
        assert store.exists(tx)
        assert store.size(tx) == 0
        assert open_checkpoint(store.head(tx), [LOG.verifier]).root == merkle.EMPTY


def test_the_log_of_somebody_else_is_refused(database, store):
    with database.read() as tx, pytest.raises(Tampered, match=running.ORIGIN):
        Store("b.example/log").exists(tx)


def test_a_log_without_its_head_row_is_refused(database):
    with database.begin() as tx, pytest.raises(Tampered, match="head of the log is missing"):
        Store(running.ORIGIN).lock(tx)


def test_the_head_is_signed_over_the_root_of_all_entries(database, grown):
    edge = merkle.Edge()
    for index in range(sum(SIZES)):
        edge.add(merkle.leaf_hash(entry(index)))
    with database.read() as tx:
        head = open_checkpoint(grown.head(tx), [LOG.verifier])
        assert (head.origin, head.size, head.root) == (running.ORIGIN, sum(SIZES), edge.root())
        assert merkle.root(sum(SIZES), grown.reader(tx)) == edge.root()


def test_entries_and_hashes_come_back_as_they_were_written(database, grown):
    wanted = [0, 1, 2, 9, 255, 256, 300, sum(SIZES) - 1]
    with database.read() as tx:
        assert grown.entries(tx, wanted) == {n: entry(n) for n in wanted}
        assert grown.leaf_hashes(tx, wanted) == {n: merkle.leaf_hash(entry(n)) for n in wanted}
        assert grown.entries(tx, [sum(SIZES)]) == {}
        assert grown.entries(tx, range(0, sum(SIZES), 2)).keys() == set(range(0, sum(SIZES), 2))


def test_every_entry_proves_its_place_in_every_tree_that_was_signed(database, grown):
    with database.read() as tx:
        for size in (1, 2, 4, 255, 256, 257, sum(SIZES)):
            head = open_checkpoint(grown.checkpoint(tx, size), [LOG.verifier])
            proofs = grown.proofs(tx, range(0, size, 17), size)
            for index, proof in proofs.items():
                leaf_hash = merkle.leaf_hash(entry(index))
                assert merkle.verify_inclusion(index, size, leaf_hash, proof, head.root)


def test_an_old_checkpoint_is_given_again_byte_for_byte(database, store):
    heads = {}
    for count in SIZES:
        grow(database, store, count)
        with database.read() as tx:
            heads[store.size(tx)] = store.head(tx)
    with database.read() as tx:
        assert {size: store.checkpoint(tx, size) for size in heads} == heads


def test_every_tree_continues_every_earlier_one(database, grown):
    sizes = [1, 2, 9, 256, 257, sum(SIZES)]
    with database.read() as tx:
        read = grown.reader(tx)
        for old in sizes:
            for new in (size for size in sizes if size >= old):
                proof = merkle.consistency_proof(old, new, read)
                assert merkle.verify_consistency(
                    old, new, merkle.root(old, read), merkle.root(new, read), proof
                )


def test_proofs_made_of_the_edge_alone_are_those_read_from_the_database(database, store):
    for count in SIZES:
        with database.begin() as tx:
            edge = store.lock(tx)
            before = edge.copy()
            new = range(edge.size, edge.size + count)
            extent = store.append(tx, edge, [entry(n) for n in new])
            made = merkle.appended_proofs(before, extent.hashes, new)
            assert made == {n: tuple(proof) for n, proof in store.proofs(tx, new, extent.size).items()}


def test_an_append_that_is_rolled_back_leaves_nothing(database, grown):
    with database.engine.connect() as tx:
        edge = grown.lock(tx)
        grown.append(tx, edge, [b"never"])
    with database.read() as tx:
        assert grown.size(tx) == sum(SIZES)
        assert grown.entries(tx, [sum(SIZES)]) == {}


def test_a_head_that_moved_under_the_lock_is_noticed(database, grown):
    with database.begin() as tx:
        edge = grown.lock(tx)
        tx.execute(text("UPDATE log_state SET size = size + 1"))
        with pytest.raises(Tampered, match="moved"):
            grown.append(tx, edge, [b"too late"])


def test_a_missing_leaf_is_named(database, grown):
    with database.read() as tx, pytest.raises(Tampered, match=f"level 0, index {sum(SIZES)}"):
        grown.reader(tx)([(0, sum(SIZES))])


def test_what_an_idempotency_key_stands_for_is_remembered(database, grown):
    known = {b"key %d" % n: Known(request=b"request", index=n, size=n + 1) for n in range(1200)}
    with database.begin() as tx:
        grown.remember(tx, list(known.items()))
    with database.read() as tx:
        assert grown.known(tx, [*known, b"another"]) == known
        assert grown.known(tx, []) == {}


def test_a_store_without_the_logs_key_reads(database, grown):
    with database.read() as tx:
        assert Store(running.ORIGIN).head(tx) == grown.head(tx)

import threading
from datetime import UTC, datetime

import pytest

from service.errors import Misconfigured, ReadOnly
from service.ledger import attestors
from service.ledger.attestors import Kind
from service.ledger.fence import Fence, Guard, GuardedStore, Sighting
from service.ledger.keeper import Keeper
from service.ledger.merkle import Edge
from service.ledger.proof import Checkpoint, sign_checkpoint
from service.ledger.publication import Publisher
from tests.running import ORIGIN, keys
from tests.waiting import until


@pytest.fixture
def fence(tmp_path) -> Fence:
    return Fence(tmp_path / "outside" / "fence", keys().log.verifier)


@pytest.fixture
def store(begin) -> GuardedStore:
    store = GuardedStore(ORIGIN, keys().log, guard=Guard())
    with begin() as tx:
        store.begin(tx)
    return store


def grow(begin, store, *entries: bytes) -> None:
    with begin() as tx:
        store.append(tx, store.lock(tx), list(entries))


def another(store) -> GuardedStore:
    """The store of another process: same log, nothing remembered."""
    return GuardedStore(ORIGIN, keys().log, guard=Guard())


def note(size: int, root: bytes = bytes(32)) -> bytes:
    return sign_checkpoint(Checkpoint(ORIGIN, size, root), keys().log)


class TestTheFile:
    def test_what_was_written_is_read(self, fence):
        with fence.locked():
            assert fence.read() is None
            fence.write(note(3))
        assert fence.read() == Checkpoint(ORIGIN, 3, bytes(32))

    def test_it_is_private_and_leaves_nothing_half_written(self, fence):
        with fence.locked():
            fence.write(note(3))
            fence.write(note(4))
        assert fence.path.stat().st_mode & 0o777 == 0o600
        assert {path.name for path in fence.path.parent.iterdir()} == {"fence", "fence.lock"}

    @pytest.mark.parametrize("data", [b"", b"3\n", note(3)[:-2], note(3).replace(b"\n3\n", b"\n2\n")])
    def test_a_damaged_fence_stops_the_service(self, fence, data):
        with fence.locked():
            fence.path.write_bytes(data)
        with pytest.raises(Misconfigured, match="damaged or of another log"):
            fence.read()

    def test_two_processes_do_not_move_it_at_once(self, fence):
        held, seen = threading.Event(), []

        def second():
            held.wait()
            with fence.locked():
                seen.append(fence.read().size)

        thread = threading.Thread(target=second)
        thread.start()
        with fence.locked():
            held.set()
            thread.join(0.2)
            fence.write(note(7))
        thread.join()
        assert seen == [7]


class TestTheGuard:
    def test_a_log_that_only_grows_is_appended_to(self, begin, store):
        for _ in range(3):
            grow(begin, store, b"one", b"two")
        with begin() as tx:
            assert store.size(tx) == 6

    def test_entries_of_other_processes_are_part_of_the_log(self, begin, store):
        grow(begin, store, b"mine")
        for number in range(300):
            grow(begin, another(store), b"theirs %d" % number)
        grow(begin, store, b"mine again")
        with begin() as tx:
            assert store.size(tx) == 302

    def test_an_append_that_was_rolled_back_is_forgotten(self, begin, store):
        grow(begin, store, b"one")
        with begin() as tx:
            store.append(tx, store.lock(tx), [b"never"])
            tx.rollback()
        grow(begin, store, b"two")
        with begin() as tx:
            assert store.size(tx) == 2

    def test_a_log_that_jumped_back_under_a_running_process_is_not_appended_to(self, begin, store):
        store.guard._known = Checkpoint(ORIGIN, 5, bytes(32))
        with pytest.raises(ReadOnly, match="holds 0 entries, but this process knows 5; 5 were lost"):
            grow(begin, store, b"fork")
        with pytest.raises(ReadOnly):
            grow(begin, store, b"still")
        with begin() as tx:
            assert store.size(tx) == 0

    def test_the_last_commit_counts_even_before_the_next_append(self, begin, store):
        grow(begin, store, b"one", b"two")
        store.committed()
        with begin() as tx, pytest.raises(ReadOnly, match="holds 0 entries, but this process knows 2"):
            store.guard.meet(tx, store, Edge())

    def test_a_log_that_was_replaced_under_a_running_process_is_not_appended_to(self, begin, store):
        grow(begin, another(store), b"one", b"two", b"three")
        store.guard._known = Checkpoint(ORIGIN, 2, bytes(32))
        with pytest.raises(ReadOnly, match="the first 2 entries of the database are not those"):
            grow(begin, store, b"fork")

    def test_trouble_says_what_happened_and_what_to_do(self, begin, store):
        with begin() as tx:
            store.guard.judge(tx, store, store.stated(tx), [Sighting(who="the fence", size=9)])
        assert store.guard.trouble.startswith("the ledger is read-only: the database holds 0 entries")
        assert "restored the newest database" in store.guard.trouble
        assert "`consent-ledger log continue --lost`" in store.guard.trouble

    def test_the_largest_tree_that_contradicts_the_log_is_remembered(self, begin, store):
        seen = [Sighting(who=who, size=size) for who, size in (("the fence", 3), ("w", 9), ("v", 0))]
        with begin() as tx:
            store.guard.judge(tx, store, store.stated(tx), seen)
        assert (store.guard.against, "the fence knows 3" in store.guard.trouble) == (seen[1], True)


class TestTheKeeper:
    def keeper(self, database, store, fence) -> Keeper:
        return Keeper(database, store, fence)

    def test_the_fence_follows_commits_within_a_second(self, database, begin, store, fence):
        keeper = self.keeper(database, store, fence)
        keeper.start()
        try:
            for size in (1, 2, 3):
                grow(begin, store, b"entry")
                until(lambda size=size: fence.read().size == size, within_s=1.0)
        finally:
            keeper.stop()

    def test_the_fence_holds_the_last_commit_when_the_service_stops(self, database, begin, store, fence):
        keeper = self.keeper(database, store, fence)
        keeper.start()
        grow(begin, store, b"entry")
        keeper.stop()
        assert fence.read().size == 1

    def test_the_fence_never_moves_back(self, database, begin, store, fence):
        grow(begin, store, b"one", b"two")
        self.keeper(database, store, fence)._move()
        with fence.locked():
            fence.write(note(9))
        self.keeper(database, store, fence)._move()
        assert fence.read().size == 9
        assert "the fence knows 9" in store.guard.trouble

    def test_a_database_behind_the_fence_is_read_only(self, database, begin, store, fence):
        with fence.locked():
            fence.write(note(9))
        self.keeper(database, store, fence).check(begun=True)
        with pytest.raises(ReadOnly, match="9 were lost"):
            grow(begin, store, b"fork")

    def test_a_database_with_another_history_than_the_fence_is_read_only(self, database, begin, store, fence):
        grow(begin, store, b"one", b"two", b"three")
        with fence.locked():
            fence.write(note(2))
        self.keeper(database, store, fence).check(begun=True)
        with pytest.raises(ReadOnly, match="another history"):
            grow(begin, store, b"fork")

    def test_no_log_is_begun_where_the_fence_knows_one(self, database, store, fence):
        with fence.locked():
            fence.write(note(9))
        with pytest.raises(Misconfigured, match="restore the database, or remove the fence"):
            self.keeper(database, store, fence).check(begun=False)

    def test_without_a_fence_and_without_a_log_there_is_nothing_to_compare(self, database, store, fence):
        self.keeper(database, store, fence).check(begun=False)
        self.keeper(database, store, None).check(begun=True)
        assert store.guard.trouble is None

    @pytest.mark.parametrize("root", [None, bytes(32)])
    def test_what_a_witness_knows_is_believed_at_start(self, database, begin, store, root):
        with begin() as tx:
            attestors.enroll(tx, Kind.WITNESS, ["w1.example"], datetime.now(UTC))
            attestors.saw(tx, "w1.example", 5, root)
        self.keeper(database, store, None).check(begun=True)
        assert "the witness w1.example knows 5" in store.guard.trouble

    def test_a_bare_size_stops_no_service_that_runs(self, database, begin, store):
        with begin() as tx:
            attestors.enroll(tx, Kind.WITNESS, ["w1.example"], datetime.now(UTC))
            attestors.saw(tx, "w1.example", 5, None)
        self.keeper(database, store, None)._move()
        assert store.guard.trouble is None

    def test_a_longer_log_with_our_signature_stops_a_service_that_runs(self, database, begin, store):
        with begin() as tx:
            attestors.enroll(tx, Kind.WITNESS, ["w1.example"], datetime.now(UTC))
            attestors.saw(tx, "w1.example", 5, bytes(32))
        self.keeper(database, store, None)._move()
        assert "the witness w1.example knows 5" in store.guard.trouble

    def test_a_fence_whose_folder_is_a_file_costs_no_event(self, database, begin, store, tmp_path):
        (tmp_path / "file").write_text("")
        broken = Fence(tmp_path / "file" / "fence", keys().log.verifier)
        grow(begin, store, b"one")
        assert self.keeper(database, store, broken)._move()
        grow(begin, store, b"two")


def test_a_log_in_trouble_is_not_published(database, begin, store):
    grow(begin, store, b"one")
    publisher = Publisher(database, store, keys().log, keys().log_pq, lambda: datetime.now(UTC))
    assert publisher.publish() is not None
    grow(begin, store, b"two")
    store.guard.alarm("a test says so")
    assert publisher.publish() is None

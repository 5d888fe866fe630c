"""Several processes append to one ledger at the same time."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import pairwise
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier

from service.db import Database
from service.ledger import merkle
from service.ledger.proof import open_checkpoint
from tests.ledger.writing import VERIFIERS, check, running_writer
from tests.test_crash import processes

PROCESSES, EACH = 2, 150
PATIENCE_S = 100


def append_many(url: str, name: str, together: Barrier, said: Queue) -> None:
    """Run by a process of its own: once all are ready, append, and tell what came of each."""
    database = Database(url)
    with closing(database), running_writer(database) as writer, ThreadPoolExecutor(8) as pool:
        together.wait(PATIENCE_S)
        for found in pool.map(lambda n: writer.record(f"{name}-{n}=a")[0], range(EACH)):
            said.put(found)


def side_by_side(work: Callable[[str, str, Barrier, Queue], None], url: str, number: int, each: int) -> list:
    """Let so many processes work on one database, all beginning at once; return what they told."""
    together, said = processes.Barrier(number), processes.Queue()
    children = [processes.Process(target=work, args=(url, f"p{n}", together, said)) for n in range(number)]
    for child in children:
        child.start()
    told = [said.get(timeout=PATIENCE_S) for _ in range(number * each)]
    for child in children:
        child.join(PATIENCE_S)
    assert [child.exitcode for child in children] == [0] * number
    return told


def test_processes_that_append_at_the_same_time_write_one_history(database, figures):
    with running_writer(database) as writer:
        writer.record("before=a")
        with database.read() as tx:
            old = open_checkpoint(writer.store.head(tx), VERIFIERS)
    found = side_by_side(append_many, database.url, PROCESSES, EACH)
    assert sorted(one.index for one in found) == list(range(1, PROCESSES * EACH + 1))
    with database.read() as tx:
        read = writer.store.reader(tx)
        new = open_checkpoint(writer.store.head(tx), VERIFIERS)
        entries = writer.store.entries(tx, range(new.size))
        assert new.size == PROCESSES * EACH + 1
        heads = {check(one, entries[one.index].decode()) for one in found}
        for head in [old, *heads]:
            proof = merkle.consistency_proof(head.size, new.size, read)
            assert merkle.verify_consistency(head.size, new.size, head.root, new.root, proof)
    assert_mixed([entry.decode()[:2] for _, entry in sorted(entries.items())][1:])
    figures(f"two sequencers ({database.dialect})", acknowledged=len(found), entries=new.size, histories=1)


def assert_mixed(names: Sequence[str]) -> None:
    """The processes did write at the same time, else this proves nothing."""
    assert sum(first != second for first, second in pairwise(names)) > 1

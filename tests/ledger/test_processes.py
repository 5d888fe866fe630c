"""Several processes append to one ledger at the same time."""

import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import pairwise
from pathlib import Path

from service.db import Database
from service.ledger import merkle
from service.ledger.batch import Appended
from service.ledger.proof import open_checkpoint
from tests.ledger.writing import VERIFIERS, check, running_writer

PROCESSES, EACH = 2, 150


def append_many(url: str, name: str) -> None:
    """Run by a process of its own: say when ready, and once told append, and print each receipt."""
    database = Database(url)
    with closing(database), running_writer(database) as writer, ThreadPoolExecutor(8) as pool:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        for found in pool.map(lambda n: writer.record(f"{name}-{n}=a")[0], range(EACH)):
            proof = [node.hex() for node in found.proof]
            line = [found.index, found.entry.decode(), proof, found.checkpoint.decode()]
            sys.stdout.write(json.dumps(line) + "\n")


def spawn(url: str, name: str) -> subprocess.Popen[str]:
    program = f"from tests.ledger.test_processes import append_many; append_many({url!r}, {name!r})"
    here = Path(__file__).parent.parent.parent
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", program], text=True, cwd=here, **pipes)


def outputs(children: Sequence[subprocess.Popen[str]]) -> list[str]:
    """Let all begin at once, and return the lines that they print.

    They are read side by side: a full pipe would stop one of them.
    """
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    with ThreadPoolExecutor(len(children)) as readers:
        said = readers.map(lambda child: child.communicate(timeout=100)[0], children)
        return [line for text in said for line in text.splitlines()]


def test_processes_that_append_at_the_same_time_write_one_history(database, figures):
    with running_writer(database) as writer:
        writer.record("before=a")
        with database.read() as tx:
            old = open_checkpoint(writer.store.head(tx), VERIFIERS)
    children = [spawn(database.url, f"p{n}") for n in range(PROCESSES)]
    lines = [json.loads(line) for line in outputs(children)]
    assert [child.returncode for child in children] == [0] * PROCESSES
    found = [
        Appended(index, entry.encode(), tuple(map(bytes.fromhex, proof)), note.encode(), duplicate=False)
        for index, entry, proof, note in lines
    ]
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

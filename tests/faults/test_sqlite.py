"""What happens to an embedded ledger: full disks, disks that fail, many processes on one file."""

import shutil
import subprocess
import sys
import time
from contextlib import closing
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from service.db import Database
from service.errors import Unavailable
from tests import running
from tests.conftest import IN_CI
from tests.faults.conftest import small_disk
from tests.faults.load import Load, look
from tests.ledger.test_processes import side_by_side
from tests.scrubbing import findings
from tests.waiting import until

HERE = Path(__file__).parent.parent.parent
PROCESSES, EACH = 8, 15
FAILING = "enable_random name=posix/io/sync/*,probability=0.2"
TORN = "enable_random name=posix/io/rw/pwrite,probability=0.02"


def test_a_disk_that_fills_under_load_costs_no_acknowledged_event(sqlite_url, tmp_path, figures):
    with small_disk(tmp_path / "disk", 24) as fill:
        path = shutil.copyfile(sqlite_url.removeprefix("sqlite:///"), tmp_path / "disk" / "ledger.db")
        with closing(Database(f"sqlite:///{path}")) as database, running.start(database) as intake:
            load = Load(intake, "full")
            with load.running():
                until(lambda: len(load.receipts) > 20, within_s=60)
                fill(full=True)
                until(lambda: load.refused > 20, within_s=60)
                acknowledged = len(load.receipts)
                with database.read() as tx:
                    assert intake.store.size(tx) > acknowledged  # it can still be read
                fill(full=False)
                began = time.monotonic()
                until(lambda: len(load.receipts) > acknowledged + 20, within_s=60)
                took_s = time.monotonic() - began
            entries = look(database, load.receipts)
            assert findings(database) == []
    figures(
        "disk full (sqlite)",
        acknowledged=len(load.receipts),
        lost=0,
        refused=load.refused,
        entries=entries,
        back_after_s=round(took_s, 2),
    )


def append_from_here(url: str, name: str, together: Barrier, said: Queue) -> None:
    """Run by a process of its own: record events one by one, and tell how long each waited."""
    with closing(Database(url)) as database, running.start(database) as intake:
        together.wait(100)
        for number in range(EACH):
            began = time.monotonic()
            told = running.claim(f"{name}-{number}@example.org", key=f"{name}-{number}")
            running.checked(intake.submit(told).result(100))
            said.put(time.monotonic() - began)


def test_eight_processes_on_one_file_wait_for_each_other_and_never_fail(sqlite_url, figures):
    with closing(Database(sqlite_url)) as database:
        with running.start(database):
            pass
        waits = sorted(side_by_side(append_from_here, sqlite_url, PROCESSES, EACH))
        assert look(database, []) == 1 + 2 * PROCESSES * EACH
        assert findings(database) == []
    p99, worst = waits[len(waits) * 99 // 100], waits[-1]
    figures(
        "8 processes on one SQLite file",
        events=len(waits),
        failed=0,
        p99_wait_s=round(p99, 2),
        worst_wait_s=round(worst, 2),
    )


def append_while_it_fails(url: str) -> None:
    """Run under fiu-run: record events, some of which the disk refuses, and print each receipt."""
    with closing(Database(url)) as database, running.start(database) as intake:
        for number in range(150):
            try:
                found = intake.submit(running.claim(f"f{number}@example.org", key=f"f{number}")).result(60)
            except Unavailable:
                sys.stdout.write("refused\n")
            else:
                sys.stdout.write(f"receipt {found.receipt().hex()}\n")


@pytest.mark.parametrize("failing", [FAILING, TORN], ids=["fsync", "pwrite"])
def test_what_a_failing_disk_acknowledged_is_there_once(sqlite_url, failing, figures):
    if shutil.which("fiu-run") is None:
        message = "fiu-run is missing (apt-get install fiu-utils)"
        pytest.fail(message) if IN_CI else pytest.skip(message)
    with closing(Database(sqlite_url)) as database:
        with running.start(database):
            pass
        program = "from tests.faults.test_sqlite import append_while_it_fails as work; work({!r})"
        done = subprocess.run(
            ["fiu-run", "-x", "-c", failing, sys.executable, "-c", program.format(sqlite_url)],
            cwd=HERE,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        lines = done.stdout.splitlines()  # what the service logs stands among them
        receipts = [bytes.fromhex(line.partition(" ")[2]) for line in lines if line.startswith("receipt ")]
        assert receipts, done.stderr
        entries = look(database, receipts)
        assert findings(database) == []
    refused, settled = lines.count("refused"), sum("append.unsettled" in line for line in lines)
    assert settled, "the disk did fail"
    figures(
        f"failing {failing.split('/')[2].split(',')[0]} (sqlite)",
        acknowledged=len(receipts),
        lost=0,
        settled=settled,
        refused=refused,
        entries=entries,
    )

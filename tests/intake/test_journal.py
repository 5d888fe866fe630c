"""One person however many open them, and nothing by halves when things fail."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import func, select

from service.db import Database, subject
from service.errors import Tampered, Unavailable
from service.ledger.note import Signer
from service.ledger.proof import open_checkpoint
from tests import running
from tests.proxy import between
from tests.running import checked, claim, count, one_standing, withdrawal

ANA = "ana@example.org"
HERE = Path(__file__).parent.parent.parent


def test_a_person_opened_by_two_intakes_at_once_ends_as_one_person(database):
    with running.start(database) as first, running.start(database) as second:
        with database.begin() as tx:
            first.store.lock(tx)  # both prepare while neither can append: both think the person is new
            futures = [one.submit(claim(ANA)) for one in (first, second, first, second)]
            for one in (first, second):
                while one._sequencer._queue.qsize():
                    pass
        found = [future.result(60) for future in futures]
        assert len({one.subject for one in found}) == 1
        assert len(set(running.indexes(found))) == 4
        assert count(first, subject) == 1
        with database.read() as tx:
            assert len(first.events(tx, found[0].subject)) == 5


def claim_everybody(url: str, number: int) -> None:
    """Run by a process of its own: claims about the same people as the other's."""
    with closing(Database(url)) as database, running.start(database) as intake:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        told = [claim(f"p{n}@example.org", key=f"{number}-{n}") for n in range(150)]
        with ThreadPoolExecutor(8) as pool:
            for found in pool.map(lambda one: intake.submit(one).result(60), told):
                sys.stdout.write(f"{checked(found).receipt.index}\n")


def test_people_opened_by_two_processes_at_once_end_as_one_person_each(database):
    with running.start(database):
        pass
    program = "from tests.intake.test_journal import claim_everybody; claim_everybody({!r}, {})"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", program.format(database.url, n)], text=True, cwd=HERE, **pipes
        )
        for n in range(2)
    ]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    indexes = [int(line) for child in children for line in child.communicate(timeout=100)[0].split()]
    assert [child.returncode for child in children] == [0, 0]
    assert len(set(indexes)) == 300
    with running.start(database) as intake, database.read() as tx:
        assert intake.store.size(tx) == 1 + 150 + 300
        assert tx.scalar(select(func.count()).select_from(subject)) == 150
        for sub in tx.scalars(select(subject.c.sub)).all():
            categories = [event.category for event in intake.events(tx, sub)]
            assert categories == ["subject.opened", "consent.granted", "consent.granted"]


def test_a_stopped_intake_refuses_and_has_recorded_what_it_accepted(sqlite_url):
    with closing(Database(sqlite_url)) as database:
        with running.start(database) as intake:
            futures = [intake.submit(told) for told in running.people(200)]
        assert all(future.done() for future in futures)
        running.indexes([future.result() for future in futures[:5]])
        with pytest.raises(Unavailable):
            intake.submit(claim(ANA))
        assert not intake.healthy


@pytest.mark.parametrize("reached", [True, False])
def test_a_line_cut_at_the_commit_gives_every_waiter_one_receipt_and_one_person(postgresql_url, reached):
    with (
        between(postgresql_url) as (proxy, url),
        closing(Database(url)) as database,
        running.start(database) as intake,
    ):
        intake.record([claim("first@example.org")])
        proxy.arm(reached=reached)
        found = intake.record([claim(ANA), withdrawal(ANA), claim("bob@example.org")])
        assert proxy.cuts == 0
        assert len(set(running.indexes(found))) == 3
        assert found[0].subject == found[1].subject != found[2].subject
        with database.read() as tx:
            assert intake.store.size(tx) == 1 + 2 + 5
        assert count(intake, subject) == 3
        assert one_standing(intake, found[0].subject).state == "refused"


def test_a_database_that_is_away_is_told_at_once_and_used_again_when_it_is_back(durable_postgres):
    with closing(Database(durable_postgres.url("ledger"))) as database, running.start(database) as intake:
        intake.record([claim("first@example.org")])
        durable_postgres.kill()
        [refused] = intake.record([claim(ANA, key="the same")])
        assert isinstance(refused, Unavailable)
        assert ANA not in str(refused)
        durable_postgres.start()
        [found] = intake.record([claim(ANA, key="the same")])
        head = open_checkpoint(found.checkpoint, [running.keys().log.verifier])
        assert (checked(found).checkpoint.size, head.size) == (5, 5)


def test_a_signer_of_another_log_cannot_stand_in(database):
    with running.start(database) as intake:
        [found] = intake.record([claim(ANA)])
    forger = Signer(running.ORIGIN, bytes(32))
    with pytest.raises(Tampered):
        open_checkpoint(found.checkpoint, [forger.verifier])

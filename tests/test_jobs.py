"""The worker's loop: withdrawals at once, nightly jobs once a night whoever runs them."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime

import pytest
from sqlalchemy import select

from service.db import Database, tick
from service.errors import Misconfigured, Tampered, Unavailable
from service.jobs import Worker, node


@pytest.fixture
def sqlite_database(sqlite_url: str) -> Iterator[Database]:
    with closing(Database(sqlite_url)) as database:
        yield database


NIGHT = datetime(2026, 5, 10, 4, 30, tzinfo=UTC)


def worker(database, nightly=None, *, carry_out=lambda: 0, now=NIGHT, name="a", **more) -> Worker:
    return Worker(
        db=database,
        carry_out=carry_out,
        nightly=nightly or {},
        hour=4,
        now=lambda: now,
        name=name,
        poll_s=0.01,
        nightly_poll_s=0.01,
        **more,
    )


def run_until(made: Worker, condition, seconds: float = 5.0) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=made.run, args=(stop,))
    thread.start()
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    stop.set()
    thread.join(5)
    assert not thread.is_alive()
    assert condition()


def test_a_nightly_job_runs_once_a_night_on_one_of_many_nodes(database):
    ran: list[date] = []
    for name in ("a", "b", "a"):
        worker(database, {"reconcile": ran.append}, name=name).tonight({})
    assert ran == [NIGHT.date()]
    worker(database, {"reconcile": ran.append}, now=NIGHT.replace(day=11)).tonight({})
    assert len(ran) == 2


def test_two_workers_in_the_same_moment_run_a_job_once(database):
    ran: list[date] = []
    ready = threading.Barrier(2)

    def night(name: str) -> None:
        ready.wait()
        worker(database, {"mail": ran.append}, name=name).tonight({})

    threads = [threading.Thread(target=night, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ran) == 1


def test_nothing_runs_before_its_hour(sqlite_database):
    ran: list[date] = []
    worker(sqlite_database, {"mail": ran.append}, now=NIGHT.replace(hour=3)).tonight({})
    assert not ran


def test_jobs_run_in_their_order(sqlite_database):
    ran: list[str] = []
    jobs = {name: lambda _night, name=name: ran.append(name) for name in ("reconcile", "mail")}
    worker(sqlite_database, jobs).tonight({})
    assert ran == ["reconcile", "mail"]


def test_a_job_that_found_a_system_down_keeps_its_turn_and_the_later_ones_wait(sqlite_database):
    ran: list[str] = []

    def down(_night):
        ran.append("reconcile")
        raise Unavailable("Zoho is away; try again later")

    jobs = {"reconcile": down, "mail": lambda _night: ran.append("mail")}
    rests: dict[str, datetime] = {}
    made = worker(sqlite_database, jobs)
    made.tonight(rests)
    made.tonight(rests)
    assert ran == ["reconcile"]
    worker(sqlite_database, jobs).tonight({})
    assert ran == ["reconcile", "reconcile"]


def test_a_job_that_fails_for_good_is_not_repeated_and_the_mail_still_goes(sqlite_database):
    ran: list[str] = []

    def wrong(_night):
        ran.append("reconcile")
        raise Misconfigured("policies/zoho.toml names a list that does not exist; correct it")

    jobs = {"reconcile": wrong, "mail": lambda _night: ran.append("mail")}
    for _ in range(2):
        worker(sqlite_database, jobs).tonight({})
    assert ran == ["reconcile", "mail"]


def test_a_turn_names_who_took_it_and_when(sqlite_database):
    worker(sqlite_database, {"mail": lambda _night: None}, name=node()).tonight({})
    with sqlite_database.read() as tx:
        row = tx.execute(select(tick.c.job, tick.c.turn, tick.c.taken_by, tick.c.taken_at)).one()
    assert tuple(row) == ("mail", "2026-05-10", node(), NIGHT)


def test_withdrawals_go_on_while_a_nightly_job_takes_long(sqlite_database):
    carried: list[int] = []
    begun, release = threading.Event(), threading.Event()

    def long(_night):
        begun.set()
        release.wait(5)

    def carry_out() -> int:
        if begun.is_set():
            carried.append(1)
        if len(carried) > 3:
            release.set()
        return 0

    run_until(worker(sqlite_database, {"reconcile": long}, carry_out=carry_out), lambda: len(carried) > 3)


def test_a_failure_of_one_turn_does_not_end_the_loop(sqlite_database):
    turns: list[int] = []

    def carry_out() -> int:
        turns.append(1)
        raise Unavailable("the database is away; try again later")

    run_until(worker(sqlite_database, carry_out=carry_out), lambda: len(turns) > 2)


def test_stored_bytes_that_do_not_match_end_the_worker(sqlite_database):
    def carry_out() -> int:
        raise Tampered("entry 3 does not hash to its leaf")

    with pytest.raises(Tampered):
        worker(sqlite_database, carry_out=carry_out).run(threading.Event())

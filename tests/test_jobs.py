"""The worker's loop: withdrawals at once, nightly jobs once a night whoever runs them."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from service.db import Database, tick
from service.errors import Misconfigured, QuotaExhausted, Tampered, Unavailable
from service.jobs import Worker, node
from service.jobs.turns import LEASE, Turn, Turns


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


def test_an_hourly_job_runs_once_an_hour_at_any_hour_whoever_runs_it(database):
    ran: list[date] = []
    for now in (NIGHT.replace(hour=1), NIGHT.replace(hour=1, minute=59), NIGHT.replace(hour=2)):
        for name in ("a", "b"):
            worker(database, now=now, name=name, hourly={"permits": ran.append}).this_hour()
    assert len(ran) == 2


def test_an_hourly_job_that_failed_waits_for_the_next_hour(sqlite_database):
    ran: list[date] = []

    def down(night: date) -> None:
        ran.append(night)
        raise Unavailable("Campaigns does not answer")

    for now in (NIGHT, NIGHT + timedelta(minutes=20), NIGHT + timedelta(hours=1)):
        worker(sqlite_database, now=now, hourly={"permits": down}).this_hour()
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


def test_the_mail_waits_while_another_worker_still_reconciles(database):
    ran: list[str] = []
    begun, release = threading.Event(), threading.Event()

    def long(_night):
        begun.set()
        release.wait(5)
        ran.append("reconcile")

    jobs = {"reconcile": long, "mail": lambda _night: ran.append("mail")}
    other = threading.Thread(target=worker(database, jobs, name="b").tonight, args=({},))
    other.start()
    assert begun.wait(5)
    worker(database, jobs, name="a").tonight({})
    assert not ran
    release.set()
    other.join()
    assert ran == ["reconcile", "mail"]
    worker(database, jobs, name="a").tonight({})
    assert ran == ["reconcile", "mail"]


def test_a_turn_whose_worker_died_is_taken_over_when_its_lease_ends(database):
    ran: list[date] = []
    dead = Turns(db=database, now=lambda: NIGHT, name="dead")
    assert dead.take("reconcile", "2026-05-10") is Turn.OURS
    for later in (LEASE - timedelta(seconds=1), LEASE, LEASE):
        worker(database, {"reconcile": ran.append}, now=NIGHT + later).tonight({})
    assert len(ran) == 1
    dead.end("reconcile", "2026-05-10", failed="too late")
    assert turn(database).state == "done"


def test_a_long_job_keeps_its_turn(sqlite_database):
    clock = [NIGHT]
    long = Turns(db=sqlite_database, now=lambda: clock[0], name="a")
    assert long.take("reconcile", "2026-05-10") is Turn.OURS
    with long.kept("reconcile", "2026-05-10", every_s=0.005):
        clock[0] += LEASE - timedelta(seconds=1)
        deadline = time.monotonic() + 5
        while turn(sqlite_database).lease_until < clock[0] + LEASE and time.monotonic() < deadline:
            time.sleep(0.005)
    clock[0] += timedelta(seconds=2)
    assert Turns(db=sqlite_database, now=lambda: clock[0], name="b").take("reconcile", "2026-05-10") is (
        Turn.ELSEWHERE
    )


def test_a_job_that_met_a_database_error_gives_its_turn_back(sqlite_database):
    ran: list[str] = []

    def broken(_night):
        ran.append("reconcile")
        raise OperationalError("select 1", {}, Exception("gone"))

    for name in "ab":
        worker(sqlite_database, {"reconcile": broken}, name=name).tonight({})
    assert ran == ["reconcile", "reconcile"]


@pytest.mark.parametrize(("hour", "gives_up_at"), [(4, "10:00"), (23, "23:30")])
def test_a_system_that_stays_down_is_given_up_and_the_mail_goes_that_night(
    sqlite_database, hour, gives_up_at
):
    ran: list[str] = []

    def down(_night):
        raise Unavailable("Zoho is away; try again later")

    jobs = {"reconcile": down, "mail": lambda _night: ran.append("mail")}
    late = NIGHT.replace(hour=int(gives_up_at[:2]), minute=int(gives_up_at[3:]))
    replace(worker(sqlite_database, jobs, now=late - timedelta(minutes=1)), hour=hour).tonight({})
    assert not ran
    replace(worker(sqlite_database, jobs, now=late), hour=hour).tonight({})
    assert ran == ["mail"]
    with sqlite_database.read() as tx:
        failed = tx.execute(select(tick.c.state, tick.c.reason).where(tick.c.job == "reconcile")).one()
    assert tuple(failed) == ("failed", "Zoho is away; try again later")


def test_what_a_new_organisation_needs_comes_at_any_hour_and_before_the_night(sqlite_database):
    ran: list[str] = []
    jobs = {"reconcile": lambda _night: ran.append("reconcile")}
    more = {"opening": lambda _night: ran.append("opening")}
    worker(sqlite_database, jobs, now=NIGHT.replace(hour=1), **more).tonight({})
    assert ran == ["opening"]
    worker(sqlite_database, jobs, **more).tonight({})
    assert ran == ["opening", "reconcile"]


def test_a_failed_look_ends_neither_the_watch_nor_the_worker(sqlite_database):
    looks: list[int] = []

    def look() -> int:
        looks.append(1)
        raise Unavailable("Zoho is away; try again later")

    run_until(worker(sqlite_database, look=look, look_s=0.01), lambda: len(looks) > 2)


def test_a_watch_whose_window_is_used_up_rests_until_it_opens(sqlite_database):
    looks: list[int] = []

    def look() -> int:
        looks.append(1)
        raise QuotaExhausted("used up; wait", until=NIGHT + timedelta(minutes=5))

    made = worker(sqlite_database, look=look, look_s=0.01)
    run_until(made, lambda: bool(looks))
    time.sleep(0.1)
    assert len(looks) == 1


def turn(database):
    with database.read() as tx:
        return tx.execute(select(tick)).one()


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

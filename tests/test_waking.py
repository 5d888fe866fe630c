"""The worker hears of what waits the moment it is committed."""

import threading
import time
from contextlib import closing

from service.db import Database
from service.jobs import Worker
from service.jobs.waking import Bell, listening
from tests.running import start, withdrawal


def test_a_bell_that_rang_before_anybody_waited_is_heard_once():
    bell = Bell()
    bell.ring()
    bell.ring()
    assert bell.wait(0)
    assert not bell.wait(0)


def test_postgresql_tells_every_process_of_a_committed_withdrawal(postgresql_url):
    bell = Bell()
    here, elsewhere = Database(postgresql_url), Database(postgresql_url)
    with closing(here), closing(elsewhere), listening(here, {"task": bell}), start(elsewhere) as intake:
        while bell.wait(0.5):  # its own ringing at the beginning
            pass
        intake.record([withdrawal("ana@example.org")])
        assert bell.wait(2)


def test_a_listener_whose_connection_breaks_listens_again(postgresql_url):
    bell = Bell()
    with closing(Database(postgresql_url)) as here, listening(here, {"hint": bell}, again_s=0.05):
        assert bell.wait(3)
        with here.begin() as tx:
            tx.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%'"
                " AND datname = current_database()"
            )
        assert bell.wait(3)


def test_a_withdrawal_of_the_same_process_is_carried_out_without_a_look(sqlite_url):
    carried = threading.Event()
    with closing(Database(sqlite_url)) as db, start(db) as intake:
        looks: list[float] = []

        def carry_out() -> int:
            looks.append(time.monotonic())
            if len(looks) > 1:
                carried.set()
            return 0

        worker = Worker(db=db, carry_out=carry_out, nightly={}, hour=0, now=intake.now, name="a", poll_s=30)
        intake.ring_for_tasks(worker.tasks.ring)
        stop = threading.Event()
        thread = threading.Thread(target=worker.run, args=(stop,))
        thread.start()
        time.sleep(0.2)
        intake.record([withdrawal("ana@example.org")])
        assert carried.wait(5)
        stop.set()
        worker.tasks.ring()
        thread.join(5)
        assert not thread.is_alive()

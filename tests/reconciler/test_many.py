"""Many withdrawals at once: few calls, deadlines first, and never an older decision over a newer one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread

import pytest
from sqlalchemy import select

from service.db import task
from service.reconciler import refusing, tasks
from service.reconciler.enforce import Carried, carry_out
from service.reconciler.port import Member
from service.zoho.quota import Limit, Windows
from tests.reconciler.conftest import World, fresh_clients, stopped
from tests.running import claim, withdrawal
from tests.waiting import until

FIVE = {
    "json/contactdonotmail": (Limit(5, 300),),
    "json/listunsubscribe": (Limit(5, 300),),
}


@dataclass
class Meanwhile:
    """A product's client during whose calls something else happens, once."""

    client: object
    call: str
    happens: Callable[[], None]

    def __getattr__(self, name: str):
        found = getattr(self.client, name)
        if name != self.call or self.happens is None:
            return found

        def wrapped(*args, **more):
            answer = found(*args, **more)
            happens, self.happens = self.happens, None
            if happens is not None:
                happens()
            return answer

        return wrapped


def members(made: World, count: int) -> list[str]:
    """Some people of the list who are in CRM, too."""
    found = made.zoho.campaigns.members(made.context.lists[0], Member.ACTIVE)
    return sorted({m.address for m in found})[:count]


def withdraw(made: World, *emails: str, **more) -> None:
    at = {"received_at": made.clock(), **more}
    made.intake.record([withdrawal(email, **at) for email in emails])


def rows(made: World):
    with made.db.read() as tx:
        return tx.execute(select(task).order_by(task.c.id)).all()


def carry(made: World, worker: str = "a", **parts) -> Carried:
    return carry_out(replace(made.context, **parts), worker=worker)


def calls(made: World, word: str) -> int:
    seen = made.sim.control("meter")["by_endpoint"]
    return sum(count for name, count in seen.items() if word in name)


def test_fifty_people_are_looked_for_written_and_read_back_in_a_dozen_calls_of_crm(organisation):
    emails = members(organisation, 50)
    organisation.run(applying=False)
    withdraw(organisation, *emails)
    before = calls(organisation, "/crm/")
    assert carry(organisation) == Carried(done=50)
    assert calls(organisation, "/crm/") - before <= 12
    assert all(stopped(organisation, email) for email in emails)


def test_many_are_read_back_from_the_list_and_not_one_by_one(begun):
    with begun(200) as made:
        emails = members(made, 30)
        made.run(applying=False)
        withdraw(made, *emails)
        before = calls(made, "contactdonotmail")
        assert carry(made) == Carried(done=30)
        assert calls(made, "contactdonotmail") - before == 30
        assert all(made.person(email)["campaigns"]["dnm"] for email in emails)


def test_one_record_that_cannot_be_written_holds_nobody_else_up(small):
    one, *others = members(small, 6)
    withdraw(small, one, *others)
    small.sim.control("crm/lock", {"email": one})
    assert carry(small) == Carried(done=5, postponed=1)
    assert all(stopped(small, email) for email in others)
    assert not stopped(small, one)
    with small.db.read() as tx:
        sub = small.intake.vault.find(tx, one)
    assert [row.sub for row in rows(small) if row.state == "open"] == [sub]


@pytest.mark.parametrize("call", ["find_many", "read"])
def test_a_consent_that_comes_while_a_stop_is_carried_to_crm_is_not_settled_by_it(small, call):
    email = small.ordinary()
    withdraw(small, email)
    crm = Meanwhile(small.zoho.crm, call, lambda: small.intake.record([claim(email)]))
    assert carry(small, crm=crm) == Carried(postponed=1)
    written = [record["Email_Opt_Out"] for record in small.person(email)["crm"]]
    assert any(written) == (call == "read")
    assert carry(small) == Carried(superseded=1)
    assert rows(small)[0].state == "superseded"
    assert small.standing(email).state == "permitted"


def test_a_worker_that_was_frozen_until_its_lease_had_passed_writes_nothing(small):
    email = small.ordinary()
    withdraw(small, email)

    def freeze() -> None:
        small.clock.ahead += tasks.LEASE * 2
        assert carry(small, "b") == Carried(done=1)
        small.intake.record([claim(email)])
        small.sim.control("crm/set", {"email": email, "fields": {"Email_Opt_Out": False}})

    crm = Meanwhile(small.zoho.crm, "find_many", freeze)
    carry(small, "a", crm=crm)
    assert not any(record["Email_Opt_Out"] for record in small.person(email)["crm"])
    assert rows(small)[0].state == "done"


def test_a_worker_that_takes_long_renews_its_leases(small):
    withdraw(small, small.ordinary())
    with small.db.begin() as tx:
        (mine,) = tasks.claim(tx, worker="a", now=small.clock(), limit=9).values()
        later = small.clock() + tasks.LEASE
        tasks.hold(tx, [mine[0].id], worker="a", until=later + tasks.LEASE)
        assert tasks.held(tx, [mine[0].id], worker="a", now=later) == {mine[0].id}
        assert not tasks.held(tx, [mine[0].id], worker="b", now=later)
        assert not tasks.claim(tx, worker="b", now=later, limit=9)


def test_several_workers_carry_everybody_out_and_nobody_twice(organisation):
    emails = members(organisation, 24)
    organisation.run(applying=False)
    withdraw(organisation, *emails)
    done: list[int] = []
    ready = Barrier(3)

    def work(name: str) -> None:
        ready.wait()
        while any(row.state == "open" for row in rows(organisation)):
            turn = carry_out(organisation.context, worker=name, limit=5)
            done.append(turn.done)
            time.sleep(0 if turn.total else 0.02)  # the rest is another's, or comes again in a second

    threads = [Thread(target=work, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(done) == len(emails)
    targets = [(e["target"], e["cause"]) for e in organisation.enforcements()]
    assert len(targets) == len(set(targets))
    assert all(stopped(organisation, email) for email in emails)


def test_after_an_outage_of_an_hour_the_backlog_is_worked_off_by_deadline(begun):
    with begun(60) as made:
        emails = members(made, 12)
        made.run(applying=False)
        for match in ("POST /crm", "POST /api/v1.1"):
            made.sim.control("break", {"match": match, "times": 9_999, "how": "status", "status": 503})
        for email, country in zip(emails, ["US", "DE", "CA"] * 4, strict=True):
            withdraw(made, email, country=country)
            carry_out(made.context, worker="a", limit=3)
            made.clock.ahead += timedelta(minutes=5)
        assert all(row.state == "open" for row in rows(made))
        made.sim.control("reset", {})
        order: list[bytes] = []
        with fresh_clients(made) as later:
            for _ in range(40):
                before = {row.id for row in rows(made) if row.state == "done"}
                carry_out(later.context, worker="a", limit=1)
                order += [row for row in rows(made) if row.state == "done" and row.id not in before]
                if len(order) == len(emails):
                    break
        due = [row.due_at for row in order]
        assert len(due) == len(emails)
        assert due[1:] == sorted(due[1:])


def test_a_backlog_never_makes_more_calls_than_the_window_allows_and_goes_by_deadline(begun):
    worlds: list[World] = []
    windows = Windows(lambda: worlds[0].clock() if worlds else datetime.now(UTC), special=FIVE)
    with begun(60, windows=windows) as made:
        worlds.append(made)
        emails = members(made, 12)
        made.run(applying=False)
        for email, country in zip(emails, ["US", "DE", "CA"] * 4, strict=True):
            withdraw(made, email, country=country)
        finished: list[datetime] = []
        for _ in range(8):
            done, entered = finished_rows(made), calls(made, "contactdonotmail")
            while carry_out(made.context, worker="a", limit=1).done:
                finished += [row.due_at for row in finished_rows(made) if row not in done]
                done = finished_rows(made)
            assert calls(made, "contactdonotmail") - entered <= 5
            carry(made)
            made.clock.ahead += timedelta(minutes=6)
        assert len(finished_rows(made)) == len(emails)
        assert finished == sorted(finished)


def finished_rows(made: World) -> list:
    return [row for row in rows(made) if row.state == "done"]


def test_once_campaigns_is_seen_to_be_down_nobody_else_is_tried_in_that_turn(small):
    emails = members(small, 20)
    small.run(applying=False)
    withdraw(small, *emails)
    small.sim.control("break", {"match": "POST /api/v1.1", "times": 9_999, "how": "drop_before"})
    carry(small)
    tried = calls(small, "listunsubscribe")
    assert tried <= 4 * (refusing.AT_A_TIME + 2)
    assert all(row.crm_at is not None for row in rows(small))


KILLED = "import sys; from tests.reconciler.killed import work; work(*sys.argv[1:])"


@pytest.mark.crash
@pytest.mark.parametrize("step", ["crm opted out", "campaigns refused"])
def test_a_worker_that_is_killed_between_write_and_record_loses_nothing(begun, tmp_path, step):
    with begun(30) as made:
        emails = members(made, 5)
        made.run(applying=False)
        withdraw(made, *emails)
        mark = tmp_path / "reached"
        process = subprocess.Popen([sys.executable, "-c", KILLED, made.db.url, made.sim.url, step, str(mark)])
        until(mark.exists, within_s=30)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert {row.state for row in rows(made)} == {"open"}
        assert carry(made).total == 0
        made.clock.ahead += tasks.LEASE
        assert carry(made) == Carried(done=5)
        assert all(stopped(made, email) for email in emails)
        assert len(made.enforcements()) == len({e["target"] + str(e["cause"]) for e in made.enforcements()})


def test_many_are_judged_together_as_each_is_alone(small):
    emails = members(small, 6)
    withdraw(small, *emails[:3])
    small.intake.record([claim(email) for email in emails[3:]])
    with small.db.read() as tx:
        subs = [small.intake.vault.find(tx, email) for email in emails]
        together = small.intake.standings_of(tx, subs)
        alone = {sub: small.intake.standings(tx, sub) for sub in subs}
    states = [
        [(s.purpose, s.state, s.must_stop, s.decided_by) for s in told[sub]]
        for told in (together, alone)
        for sub in subs
    ]
    assert states[:6] == states[6:]
    assert {together[sub][0].state for sub in subs[:3]} != {together[sub][0].state for sub in subs[3:]}

"""What piled up while both products were down is drained by deadline and within the quota, whoever dies."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from service.reconciler.enforce import carry_out
from service.zoho.mapping import connect
from tests.reconciler.conftest import World, hasty, settings, stopped
from tests.reconciler.killed import Narrow
from tests.reconciler.test_many import calls, members, rows, withdraw
from tests.waiting import until

KILLED = "import sys; from tests.reconciler.killed import work_narrowly; work_narrowly(*sys.argv[1:])"
LEASED = 3
"""People whom the worker holds that dies."""


@contextmanager
def narrow(made: World) -> Iterator[World]:
    """The same organisation through clients that share a window of five calls with every other process."""
    quota = Narrow(made.db, clock=made.clock)
    with connect(settings(made.sim.url), made.intake.policy, pace=hasty(), quota=quota) as zoho:
        yield replace(made, context=replace(made.context, crm=zoho.crm, campaigns=zoho.campaigns))
        quota.close()


def pile_up(made: World, emails: Sequence[str]) -> None:
    """People of countries with different deadlines leave for an hour, in which nobody answers us."""
    for match in ("POST /crm", "POST /api/v1.1"):
        made.sim.control("break", {"match": match, "times": 9_999, "how": "status", "status": 503})
    for place, email in enumerate(emails):
        withdraw(made, email, country=("US", "DE", "CA")[place % 3])
        carry_out(made.context, worker="a", limit=3)
        made.clock.ahead += timedelta(hours=1) / len(emails)
    made.clock.ahead += timedelta(minutes=10)
    made.sim.control("reset", {})


def kill_one(made: World, mark) -> set[int]:
    """Let a worker die that has written in Campaigns and recorded nothing; return the tasks that it held."""
    told = [made.db.url, made.sim.url, str(mark), str(made.clock.ahead.total_seconds()), str(LEASED)]
    process = subprocess.Popen([sys.executable, "-c", KILLED, *told])
    until(mark.exists, within_s=30)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return {row.id for row in rows(made) if row.claimed_by == "killed"}


def drain(made: World, workers: Mapping[str, World]) -> list[int]:
    """Let workers take turns of one person until a window is used up; return whom they finished, in order."""
    before, finished = calls(made, "contactdonotmail"), []
    for name in (*workers, *workers, *workers):
        was_done = done(made)
        carry_out(workers[name].context, worker=name, limit=1)
        finished += done(made) - was_done
    assert calls(made, "contactdonotmail") - before <= Narrow.MOST
    made.clock.ahead += timedelta(minutes=6)
    return finished


def done(made: World) -> set[int]:
    return {row.id for row in rows(made) if row.state == "done"}


@pytest.mark.crash
def test_a_backlog_is_drained_by_deadline_within_the_quota_though_one_of_the_workers_is_killed(
    begun, tmp_path
):
    with begun(30) as made:
        emails = members(made, 9)
        made.run(applying=False)
        pile_up(made, emails)
        by_deadline = [row.id for row in sorted(rows(made), key=lambda row: (row.due_at, row.id))]
        assert by_deadline != [row.id for row in rows(made)]
        assert kill_one(made, tmp_path / "reached") == {*by_deadline[:LEASED]}
        with narrow(made) as one, narrow(made) as other:
            first = drain(made, {"b": one, "c": other})
            finished = list(first)
            for _ in range(8):
                finished += drain(made, {"b": one, "c": other}) if len(finished) < len(emails) else []
        # While the dead worker's lease lasts the others go on behind it; then its people come first.
        meanwhile = by_deadline[LEASED:][: len(first)]
        assert finished == meanwhile + [one for one in by_deadline if one not in meanwhile]
        assert all(stopped(made, email) for email in emails)
        told = [(entry["target"], entry["cause"]) for entry in made.enforcements()]
        assert len(told) == len(set(told))

"""A line to Zoho that is slow, breaks off or swallows everything: the ledger and the rest go on."""

import threading
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest

from service.errors import Unreachable
from service.reconciler.enforce import carry_out
from tests.faults_zoho.cable import Cable, cable
from tests.faults_zoho.conftest import Org, reconnected
from tests.reconciler.conftest import stopped
from tests.running import claim, withdrawal

IMPATIENT_S = 0.25


def patience(org: Org, seconds: float) -> None:
    org.zoho.line._client.timeout = httpx.Timeout(seconds)


@pytest.fixture
def far(org) -> Iterator[tuple[Org, Cable]]:
    """The organisation at the end of a line, and clients that do not wait long for an answer."""
    with cable(org.sim.url) as line:
        urls = {f"zoho_{name}_url": line.url for name in ("crm", "campaigns", "accounts")}
        with reconnected(org, **urls) as made:
            patience(made, IMPATIENT_S)
            yield made, line


def test_an_answer_that_trickles_in_is_an_answer(far):
    org, line = far
    line.sliced = True
    patience(org, 10)
    assert dict(org.run().found) == org.planted()
    org.converges()


@pytest.mark.parametrize(("step", "after"), [("observing", 20), ("planned", 0), ("planned", 300)])
def test_a_line_that_breaks_off_in_the_middle_of_answers_is_used_again(far, step, after):
    org, line = far

    def tear() -> None:
        line.resets = [after] * 6

    org.attempt(progress=org.at(step, tear))
    assert not line.resets
    org.converges()


def test_a_black_hole_leaves_the_ledger_alone_and_loses_nothing_that_waits(far):
    org, line = far
    org.run()
    email = org.ordinary()
    line.hole = True
    ends: list[object] = []
    running = threading.Thread(target=lambda: ends.append(org.attempt()))
    running.start()
    org.intake.record([claim("new@example.org"), withdrawal(email, received_at=org.clock())])
    assert running.is_alive()
    running.join(60)
    assert isinstance(ends[0], Unreachable)
    assert carry_out(org.context, worker="a").postponed == 1
    line.hole = False
    org.later(timedelta(hours=1))
    assert carry_out(org.context, worker="a").done == 1
    assert stopped(org, email)
    org.converges()

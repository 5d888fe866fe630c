"""Looking for the stopped on a long list: from its newest end, no farther than needed, and never in vain."""

from dataclasses import replace
from datetime import timedelta

import pytest

from service.reconciler import hints
from service.reconciler.heeding import SOUGHT_FIRST, Heed
from service.reconciler.port import Member
from service.reconciler.seeking import Seeking
from service.reconciler.watch import Watch
from tests.reconciler.conftest import World
from tests.reconciler.hooked import heed, states, tell_of
from tests.reconciler.test_many import calls, rows, withdraw
from tests.reconciler.test_triggered import carry, with_workflow

PAGE, CHUNK = 20, 15


@pytest.fixture
def long(begun):
    """An organisation whose list has four pages of unsubscribed, in the order in which people joined."""
    with begun(90) as made:
        made.sim.control("switches", {"campaigns.largest_range": PAGE})
        for email in by_age(made)[6:-6]:
            made.sim.control("campaigns/unsubscribe", {"email": email})
        made.run(applying=False)
        with with_workflow(made) as drawn:
            yield drawn


def by_age(made: World) -> list[str]:
    return [one.address for one in made.zoho.campaigns.members(made.context.lists[0], Member.ACTIVE)]


def seeking(made: World) -> Seeking:
    return Seeking(context=made.context, worker="b", chunk=CHUNK)


def pages(made: World, looks: Seeking) -> int:
    """The pages that one look takes."""
    before = calls(made, "getlistsubscribers")
    looks.look()
    return calls(made, "getlistsubscribers") - before


def left_open(made: World) -> int:
    return [row.state for row in rows(made)].count("open")


def test_whom_a_long_list_shows_first_are_proved_by_its_first_page(long):
    looks = seeking(long)
    withdraw(long, *by_age(long)[-6:])
    carry(long)
    assert pages(long, looks) == 1
    assert left_open(long) == 0
    assert not looks.scattered


def test_a_list_in_another_order_is_read_to_where_they_are_from_then_on(long):
    looks = seeking(long)
    withdraw(long, *by_age(long)[:5])
    carry(long)
    assert pages(long, looks) >= 4
    assert left_open(long) == 0
    assert looks.scattered == {long.context.lists[0]}
    withdraw(long, by_age(long)[0])
    carry(long)
    assert pages(long, looks) >= 4
    assert left_open(long) == 0


def test_a_list_is_not_read_whole_again_and_again_for_who_is_not_there_yet(long):
    looks = seeking(long)
    long.sim.control("campaigns/workflow", {"action": "nothing"})
    withdraw(long, *by_age(long)[:6])
    carry(long)
    whole = pages(long, looks)
    assert whole >= 4
    assert pages(long, looks) == 1
    assert left_open(long) == 6
    long.clock.ahead += timedelta(minutes=1)
    assert pages(long, looks) == whole


def test_looks_rest_the_longer_the_more_calls_they_made_lately(long):
    looks = seeking(long)
    long.sim.control("campaigns/workflow", {"action": "nothing"})
    withdraw(long, *by_age(long)[:6])
    carry(long)
    rested = []
    for _ in range(6):
        rested.append(looks.look())
        looks.spent.append((long.clock(), 60))
    assert rested == sorted(rested)
    assert rested[0] == 1.0 < rested[-1]
    long.clock.ahead += timedelta(minutes=6)
    assert looks.look() == 1.0


def reports(made: World) -> int:
    """The calls that read who left by the report of a campaign."""
    return calls(made, "getcampaignrecipientsdata")


def sought(made: World) -> tuple[Heed, Seeking]:
    """Both halves of a worker that watches: what looks into hints, and what reads the lists for them."""
    made.run()
    watch = Watch(context=made.context)
    return replace(heed(made), sought=True), replace(seeking(made), others=watch.shown)


def test_who_is_said_to_have_left_is_found_by_the_first_page_and_no_report_is_read(long):
    heeds, looks = sought(long)
    email = by_age(long)[-1]
    long.sim.control("campaigns/unsubscribe", {"email": email})
    tell_of(long, email, hints.UNSUBSCRIBED)
    before = reports(long)
    assert heeds.turn() == 1
    assert pages(long, looks) == 1
    assert long.events(email).count("consent.withdrawn") == 1
    assert carry(long).total == 1
    long.clock.ahead += SOUGHT_FIRST
    assert heeds.turn() == 1
    assert states(long) == ["done"]
    assert reports(long) == before


def test_whom_no_list_shows_as_gone_is_looked_for_in_the_reports_after_a_while(long):
    heeds, looks = sought(long)
    tell_of(long, by_age(long)[-1], hints.UNSUBSCRIBED)
    before = reports(long)
    heeds.turn()
    looks.look()
    assert heeds.turn() == 0
    assert reports(long) == before
    long.clock.ahead += SOUGHT_FIRST
    assert heeds.turn() == 1
    assert reports(long) > before
    assert states(long) == ["open"]
    long.clock.ahead += hints.LOOKED_FOR
    assert pages(long, looks) == 0


def test_a_bounce_is_looked_up_at_once_and_then_reports_rest(long):
    heeds, _ = sought(long)
    first, second = by_age(long)[-2:]
    tell_of(long, first, hints.BOUNCE)
    before = reports(long)
    heeds.turn()
    once = reports(long) - before
    assert once > 0
    tell_of(long, second, hints.BOUNCE)
    long.clock.ahead += timedelta(seconds=5)
    heeds.turn()
    assert reports(long) - before == once
    long.clock.ahead += timedelta(minutes=2)
    heeds.turn()
    assert reports(long) - before > once


def test_nobody_is_looked_for_who_was_not_on_a_list(long):
    _, looks = sought(long)
    tell_of(long, "somebody.else@example.org", hints.UNSUBSCRIBED)
    assert pages(long, looks) == 0

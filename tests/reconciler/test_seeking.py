"""Looking for the stopped on a long list: from its newest end, no farther than needed, and never in vain."""

from datetime import timedelta

import pytest

from service.reconciler.port import Member
from service.reconciler.seeking import Seeking
from tests.reconciler.conftest import World
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

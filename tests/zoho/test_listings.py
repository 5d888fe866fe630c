import json
from collections.abc import Iterator

import pytest

from service.errors import ZohoError
from service.reconciler.port import Member
from service.zoho import listings
from service.zoho.mapping import Zoho, connect
from service.zoho.simulator import Simulator, running
from tests.zoho.conftest import settings_for
from tests.zoho.stub import Said

MEMBERS = "GET /api/v1.1/getlistsubscribers"
ACTIVE = "SELECT contact_id FROM members WHERE list_id = 1 AND status = 'active' ORDER BY contact_id"


@pytest.fixture(scope="module")
def _land() -> Iterator[Simulator]:
    with running(contacts=1_300, seed=5) as simulator:
        yield simulator


@pytest.fixture
def sim(_land) -> Simulator:
    _land.control("replant", {})
    return _land


@pytest.fixture
def zoho(sim, time, mapping) -> Iterator[Zoho]:
    with connect(settings_for(sim.url), mapping, pace=time.pace(), campaigns_window=()) as clients:
        yield clients


def active(sim) -> list[int]:
    return [number for (number,) in sim.world.db.execute(ACTIVE)]


def addresses(sim) -> set[str]:
    rows = sim.world.db.execute(f"SELECT email FROM contacts WHERE id IN ({ACTIVE.partition(' ORDER')[0]})")
    return {email for (email,) in rows}


def keep(sim, count: int) -> None:
    """Leave so many active on the list."""
    for number in active(sim)[count:]:
        leave(sim, number)


def leave(sim, number: int) -> None:
    sim.world.db.execute("UPDATE members SET status = 'unsub' WHERE contact_id = ?", (number,))


def read(zoho) -> Iterator[str]:
    return (found.address for found in zoho.campaigns.members("newsletter", Member.ACTIVE))


@pytest.mark.parametrize("count", [0, 1, 499, 500, 501, 989, 990, 991, 1_100])
def test_a_listing_takes_as_many_calls_as_is_said(sim, zoho, count):
    keep(sim, count)
    before = zoho.meter.calls.get("campaigns", 0)
    found = list(read(zoho))
    assert len(found) == count
    assert set(found) == addresses(sim)
    assert zoho.meter.calls["campaigns"] - before == listings.calls(count)


@pytest.mark.parametrize("leaving", [1, 9, 10, 200, 450])
def test_nobody_is_missed_when_others_leave_the_list_meanwhile(sim, zoho, leaving):
    found = read(zoho)
    seen = {next(found) for _ in range(100)}
    for number in active(sim)[:leaving]:
        leave(sim, number)
    seen |= set(found)
    assert addresses(sim) <= seen


def test_nobody_comes_twice_when_others_join_in_front_of_them(sim, zoho):
    keep(sim, 1_100)
    (front, *_) = active(sim)
    leave(sim, front)
    found = read(zoho)
    seen = [next(found) for _ in range(100)]
    sim.world.db.execute("UPDATE members SET status = 'active' WHERE contact_id = ?", (front,))
    seen += found
    assert len(seen) == len(set(seen)) == 1_099


@pytest.mark.parametrize("largest", [300, 20])
def test_a_page_that_is_too_long_for_campaigns_is_halved_until_it_is_not(sim, zoho, largest):
    sim.control("switches", {"campaigns.range_over_max": "6502", "campaigns.largest_range": largest})
    keep(sim, 700)
    assert set(read(zoho)) == addresses(sim)
    before = zoho.meter.calls["campaigns"]
    next(read(zoho))
    assert zoho.meter.calls["campaigns"] - before == 1


@pytest.mark.parametrize(("largest", "page"), [(300, 250), (125, 125), (61, 31), (20, 20)])
@pytest.mark.parametrize("count", [0, 19, 20, 250, 251, 700])
def test_a_listing_of_shorter_pages_takes_as_many_calls_as_is_said(sim, zoho, largest, page, count):
    sim.control("switches", {"campaigns.range_over_max": "6502", "campaigns.largest_range": largest})
    keep(sim, count)
    next(read(zoho), None)
    assert zoho.quota.ranges.known == {"getlistsubscribers": page}
    before = zoho.meter.calls["campaigns"]
    assert set(read(zoho)) == addresses(sim)
    assert zoho.meter.calls["campaigns"] - before == listings.calls(count, page)


def test_a_maximum_below_the_shortest_page_is_an_error(sim, zoho):
    sim.control("switches", {"campaigns.range_over_max": "6502", "campaigns.largest_range": 19})
    with pytest.raises(ZohoError) as caught:
        list(read(zoho))
    assert caught.value.code == "6502"


def rows(*numbers: int) -> Said:
    found = [{"contact_email": f"p{n}@example.com"} for n in numbers]
    return Said(json.dumps({"status": "success", "code": "0", "list_of_details": found}).encode())


def test_a_server_that_truncates_pages_is_read_to_its_end(stub, told):
    end = Said(b'{"status":"error","code":"2502","message":"Yet,There are no contacts in this list."}')
    pages = rows(*range(20)), rows(*range(20, 40)), rows(*range(38, 58)), rows(56, 57, 58), end
    stub.says(MEMBERS, *pages)
    assert list(read(told)) == [f"p{n}@example.com" for n in range(59)]
    assert ["fromindex=21&" in call.path for call in stub.calls(MEMBERS)] == [False, True, *[False] * 3]
    assert "fromindex=39&" in stub.calls(MEMBERS)[2].path


def test_a_list_that_moves_faster_than_it_is_read_is_an_error(stub, told):
    stub.says(MEMBERS, rows(*range(500)), *[rows(*range(n, n + 500)) for n in range(1_000, 9_000, 500)])
    with pytest.raises(ZohoError) as caught:
        list(read(told))
    assert caught.value.code == "LISTING_MOVES"

"""One budget for all nodes: each `SharedQuota` below stands for a process of its own on one database."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from random import Random

import pytest

from service.db import Database, quota_block
from service.errors import QuotaExhausted
from service.zoho.mapping import connect
from service.zoho.quota import HEAVY, SLOTS
from service.zoho.shared import SharedQuota
from tests.zoho.conftest import settings_for
from tests.zoho.stub import Said

ORG = "GET /crm/v8/org"
BUSY = b'{"code":"TOO_MANY_REQUESTS","details":{},"message":"too many requests","status":"error"}'


@pytest.fixture
def db(database_url) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def node(db, time) -> Iterator[Callable[..., SharedQuota]]:
    """Return how to start a node; all are ended with the test, those that crashed too."""
    with ExitStack() as stack:

        def start(**more) -> SharedQuota:
            made = SharedQuota(db, clock=lambda: time.now, **more)
            stack.callback(made.close)
            return made

        yield start


def spend(quota: SharedQuota, units: int, *, spare: float = 0.0, who: str = "") -> int:
    """Book calls of one credit until it is refused or so many were taken; return how many were."""
    gate = quota.gate("crm")
    return next((n for n in range(units) if gate.reserve(ORG, spare, units=1, who=who)), units)


def test_two_nodes_together_never_spend_more_than_the_allowance(node):
    first, second = node(own_allowance=90), node(own_allowance=90)
    spent = 0
    while more := spend(first, 7) + spend(second, 5):
        spent += more
    for quota in (first, second):
        quota.settle()
    assert spent + spend(first, 90) + spend(second, 90) == 90
    assert first.used().total == 90


def test_nodes_that_hurry_at_the_same_time_stay_within_the_allowance(db, node):
    nodes = [node(own_allowance=80) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        booked = sum(threads.map(lambda quota: spend(quota, 80), nodes))
    assert booked <= 80
    for quota in nodes:
        quota.settle()
    assert nodes[0].used().total == booked


def test_what_a_block_has_left_is_given_back(node):
    first = node(own_allowance=10_000)
    assert spend(first, 3) == 3
    assert first.used().total == 3


def test_most_calls_cost_no_transaction(db, node):
    quota = node(own_allowance=60_000)
    spend(quota, 100)
    with db.read() as tx:
        blocks = tx.execute(quota_block.select()).all()
    assert [row.units for row in blocks] == [50, 50]


def test_a_crash_counts_a_block_whole_rather_than_forget_a_call(db, node, time):
    died = SharedQuota(db, clock=lambda: time.now, own_allowance=10_000)
    spend(died, 3)
    assert node(own_allowance=10_000).used().total == 50
    time.now += timedelta(days=1)
    assert node(own_allowance=10_000).used().total == 50
    time.now += timedelta(minutes=2)
    assert node(own_allowance=10_000).used().total == 0


def test_credits_come_back_a_day_after_they_were_spent(node, time):
    quota = node(own_allowance=10)
    began = time.now
    assert spend(quota, 20) == 10
    assert quota.gate("crm").reserve(ORG, units=1) == began + timedelta(days=1)
    time.now = began + timedelta(days=1)
    assert spend(quota, 20) == 10


def test_mass_reads_stop_at_the_reserve_and_withdrawals_use_it_up(node):
    quota = node(own_allowance=100)
    assert spend(quota, 200, spare=0.2, who="nightly") == 80
    assert spend(quota, 200, who="withdrawals") == 20
    assert quota.used().by == {"nightly": 80, "withdrawals": 20}


def test_where_nobody_told_the_days_credits_the_least_bounds_mass_reads_and_no_withdrawal(node, time):
    nightly, own = node(), node()
    assert spend(nightly, 5_001, spare=0.2) == 4_000
    assert spend(own, 1_500) == 1_500
    assert own.used().total == 5_500
    own.gate("crm").lock(ORG, time.now + timedelta(minutes=1))
    assert spend(own, 1) == 0, "the vendor itself has refused"


def test_a_withdrawal_on_another_node_gets_the_last_credit(node):
    first, second = node(own_allowance=100), node(own_allowance=100)
    assert spend(first, 99) == 99
    assert spend(second, 5) == 1


def test_who_asks_too_much_is_told_when_it_fits(node, time):
    quota = node(own_allowance=100)
    spend(quota, 60)
    time.now += timedelta(hours=1)
    spend(quota, 40)
    assert quota.gate("crm").reserve(ORG, units=50) == time.now + timedelta(hours=23)
    assert quota.gate("crm").reserve(ORG, units=70) == time.now + timedelta(hours=24)


def test_windows_of_campaigns_are_shared_per_endpoint(node, time):
    first, second = node().gate("campaigns"), node().gate("campaigns")
    calls = sum(gate.reserve("custom/add") is None for gate in [first, second] * 60)
    assert calls == 90
    assert first.reserve("getmailinglists") is None


def test_tokens_are_shared_too_and_some_are_left_to_withdrawals(node):
    first, second = node().gate("oauth"), node().gate("oauth")
    assert [first.reserve("t", 0.2) is None for _ in range(8)] == [True] * 7 + [False]
    assert [second.reserve("t") is None for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize(("product", "endpoint"), [("campaigns", "getmailinglists"), ("crm", ORG)])
def test_a_lock_out_is_known_to_other_nodes_and_after_a_restart(node, time, product, endpoint):
    until = time.now + timedelta(minutes=30)
    node().gate(product).lock(endpoint, until)
    other = node().gate(product)
    assert other.reserve(endpoint) == until
    assert other.locked_until(endpoint) == until
    time.now = until
    assert other.reserve(endpoint) is None


def test_a_lock_out_of_one_endpoint_leaves_the_others_open(node, time):
    quota = node()
    quota.gate("crm").lock(ORG, time.now + timedelta(minutes=1))
    assert quota.gate("crm").reserve("POST /crm/v8/coql") is None


def test_what_others_used_by_the_vendors_count_is_not_spent_again(node, time):
    quota = node(own_allowance=1_000)
    spend(quota, 100)
    quota.settle()
    quota.gate("crm").remaining(200)
    assert quota.used().foreign == 700
    assert spend(quota, 1_000) == 200
    time.now += timedelta(hours=2)
    assert quota.used().foreign == 0


def test_a_call_that_is_not_sent_is_not_booked(node):
    gate = node(own_allowance=10).gate("crm")
    assert gate.reserve(ORG, units=10) is None
    gate.give_back(ORG, units=10)
    assert gate.reserve(ORG, units=10) is None


def test_no_more_calls_run_at_a_time_than_the_edition_allows(node):
    first, second = node(patience_s=0), node(patience_s=0)
    with ExitStack() as stack:
        for quota in [first, second, first, second, first]:
            stack.enter_context(quota.slots.enter((SLOTS,)))
        with pytest.raises(QuotaExhausted, match=r"5 places of crm\.slots"), second.slots.enter((SLOTS,)):
            pass
    first.slots.settle()
    with second.slots.enter((HEAVY, SLOTS)):
        pass


def test_the_last_places_are_kept_for_withdrawals(node):
    quota = node(patience_s=0)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(quota.slots.enter((SLOTS,), spare=0.2))
        with pytest.raises(QuotaExhausted), quota.slots.enter((SLOTS,), spare=0.2):
            pass
        for _ in range(2):
            stack.enter_context(quota.slots.enter((SLOTS,)))


def test_places_of_a_node_that_died_come_back_when_its_lease_ends(db, node, time):
    died = SharedQuota(db, clock=lambda: time.now)
    places = ExitStack()
    for _ in range(5):
        places.enter_context(died.slots.enter((SLOTS,)))
    quota = node(patience_s=0)
    with pytest.raises(QuotaExhausted), quota.slots.enter((SLOTS,)):
        pass
    time.now += timedelta(minutes=10)
    with quota.slots.enter((SLOTS,)):
        pass
    places.close()


def test_the_edition_is_asked_for_once_a_day_for_all_nodes(sim, node, mapping, time):
    first, second = node(), node()
    for quota in (first, second):
        with connect(settings_for(sim.url), mapping, pace=time.pace(), quota=quota) as zoho:
            assert quota.learn(zoho.transports["crm"]).edition == "enterprise"
    assert (second.allowance, second.licence.at_a_time) == (60_000, 20)
    assert second.licence.time_zone == "Asia/Kolkata"
    assert sim.control("meter")["by_endpoint"]["GET /crm/v8/org"] == 1


def test_what_is_booked_is_what_the_organisation_charges_to_the_credit(sim, node, mapping, time):
    sim.control("/_control/switches", {"bulk.read_credits": 500})
    quota = node()
    with connect(settings_for(sim.url), mapping, pace=time.pace(), quota=quota) as zoho:
        quota.learn(zoho.transports["crm"])
        list(zoho.crm.observe())
        list(zoho.crm.records("Contacts", ["Email"]))
        zoho.crm.read([(r.module, r.record_id) for r in zoho.crm.observe()][:120])
        zoho.campaigns.lists()
        counted = sim.control("/_control/meter")
        assert quota.used().total == zoho.meter.credits == counted["credits"]
        assert zoho.meter.calls == counted["calls"]


def test_a_429_of_one_process_rests_the_endpoint_in_another(stub, node, mapping, time):
    stub.says(ORG, Said(BUSY, status=429))
    for attempts in (4, 4):
        with (
            connect(settings_for(stub.url), mapping, pace=time.pace(), quota=node()) as zoho,
            pytest.raises(QuotaExhausted, match="until"),
        ):
            zoho.crm.org()
        assert len(stub.calls(ORG)) == attempts


def test_clients_that_share_a_token_ask_for_one(sim, node, mapping, time):
    quota = node()
    with (
        connect(settings_for(sim.url), mapping, pace=time.pace(), quota=quota) as first,
        connect(settings_for(sim.url), mapping, pace=time.pace(), quota=quota, sharing=first) as second,
    ):
        first.crm.org()
        second.crm.org()
    assert sim.control("meter")["calls"]["oauth"] == 1


def test_a_crowd_that_a_mass_read_met_does_not_keep_a_withdrawal_from_asking(node, time):
    mass, own = node().gate("crm"), node().gate("crm")
    until = time.now + timedelta(minutes=1)
    mass.lock(ORG, until, 0.2)
    assert mass.reserve(ORG, 0.2) == until
    assert own.reserve(ORG) is None
    own.lock(ORG, until)
    assert (own.reserve(ORG), node().gate("crm").reserve(ORG, 0.2)) == (until, until)


def test_a_lock_out_of_campaigns_is_one_for_everybody(node, time):
    until = time.now + timedelta(minutes=30)
    node().gate("campaigns").lock("topics", until, 0.2)
    assert node().gate("campaigns").reserve("topics") == until


def test_a_token_throttle_that_one_process_met_is_heeded_by_the_next(stub, node, mapping, time):
    busy = b'{"error":"Access Denied","error_description":"You have made too many requests continuously."}'
    stub.says("POST /oauth/v2/token", Said(busy, status=400))
    for _ in range(2):
        with (
            connect(settings_for(stub.url), mapping, pace=time.pace(), quota=node()) as zoho,
            pytest.raises(QuotaExhausted) as caught,
        ):
            zoho.crm.org()
        assert caught.value.until == time.now + timedelta(minutes=10)
    assert len(stub.calls("POST /oauth/v2/token")) == 1


@pytest.mark.parametrize("seed", [1, 2])
def test_no_order_of_bookings_pauses_and_crashes_ever_exceeds_a_window(node, time, seed):
    chance = Random(seed)  # noqa: S311  # the same every time, and no secret
    nodes, booked = [node() for _ in range(3)], []
    for _ in range(60):
        place = chance.randrange(3)
        for _ in range(chance.randrange(12)):
            spare = chance.choice([0.0, 0.2])
            if nodes[place].gate("campaigns").reserve("custom/add", spare) is None:
                booked.append(time.now)
        match chance.randrange(8):
            case 0:
                nodes[place] = node()  # the other one died with its blocks
            case 1:
                nodes[place].settle()
            case _:
                time.now += timedelta(seconds=chance.randrange(20))
    window = timedelta(seconds=300)
    busiest = max(sum(at <= other < at + window for other in booked) for at in booked)
    assert 60 <= busiest <= 90


def test_who_may_not_ask_for_the_edition_keeps_to_the_least_and_asks_seldom(sim, node, mapping, time):
    sim.control("/_control/switches", {"oauth.scopes": "ZohoCRM.coql.READ"})
    quota = node()
    with connect(settings_for(sim.url), mapping, pace=time.pace(), quota=quota) as zoho:
        for _ in range(3):
            assert quota.learn(zoho.transports["crm"]).edition == "free"
        assert sim.control("meter")["by_endpoint"]["GET /crm/v8/org"] == 1
        sim.control("/_control/switches", {"oauth.scopes": "ZohoCRM.org.READ"})
    time.now += timedelta(minutes=10)
    with connect(settings_for(sim.url), mapping, pace=time.pace(), quota=quota) as zoho:
        learned = quota.learn(zoho.transports["crm"])
    assert (learned.edition, learned.prices) == ("enterprise", {})


def test_two_processes_in_a_hurry_never_meet_a_crowd(sim, db, mapping):
    sim.control("/_control/switches", {"crm.concurrent_calls": 5, "crm.latency_ms": 30})
    with ExitStack() as stack:
        clients = [
            stack.enter_context(connect(settings_for(sim.url), mapping, quota=SharedQuota(db)))
            for _ in range(2)
        ]
        threads = stack.enter_context(ThreadPoolExecutor(16))
        list(threads.map(lambda n: clients[n % 2].crm.org(), range(24)))
    outcomes = {request["outcome"] for request in sim.control("/_control/requests")["requests"]}
    assert outcomes == {200}
    assert sim.control("/_control/meter")["by_endpoint"]["GET /crm/v8/org"] == 24


def test_pages_that_campaigns_refused_are_known_to_all_nodes_for_a_month(node, time):
    first, second = node(), node()
    first.ranges.keep("getlistsubscribers", 250)
    second.ranges.keep("getsegmentcontacts", 125)
    assert (
        node().ranges.known == second.ranges.known == {"getlistsubscribers": 250, "getsegmentcontacts": 125}
    )
    time.sleep(30 * 86_400)
    assert node().ranges.known == {}


def test_what_crm_says_is_left_counts_for_everybody(sim, node, mapping, time):
    sim.control("/_control/switches", {"crm.credits_per_day": 100})
    mass = time.pace(spare=0.2, who="nightly")
    with connect(settings_for(sim.url), mapping, pace=mass, quota=node(own_allowance=1_000)) as zoho:
        for _ in range(49):
            zoho.crm.org()
        time.now += timedelta(minutes=1)
        zoho.crm.org()  # half is used: from now on CRM says what is left
        with pytest.raises(QuotaExhausted) as caught:
            zoho.crm.org()
        assert caught.value.code == "OWN_WINDOW"
    other = node(own_allowance=1_000)
    assert 1_000 - other.used().total <= 50
    assert other.gate("crm").reserve(ORG) is None

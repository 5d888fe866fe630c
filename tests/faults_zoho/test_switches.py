"""What nobody knows about Zoho, in every pair of answers: the clients find and stop the same people.

Of the simulator's switches these are the ones whose answers the clients meet. Their full product has some
10^10 organisations; every pair of answers to any two of them is in one of a score here (a covering array,
chosen greedily, the same each time).
"""

from collections.abc import Iterator, Mapping
from itertools import combinations, product

import msgspec
import pytest

from service.errors import ServiceError
from service.zoho.simulator.switches import SWITCHES
from tests.faults_zoho.conftest import Org, organisation, reconnected
from tests.reconciler.conftest import stopped
from tests.running import withdrawal

PEOPLE = 30
DO_NOT_MAIL = "/api/v1.1/json/contactdonotmail"
NOT_A_SWITCH = "sweep"
"""How the client reads whole modules, which meets other switches."""

FACTORS: Mapping[str, tuple[object, ...]] = {
    NOT_A_SWITCH: ("coql", "bulk"),
    "dc.home": ("eu", "us", "cn"),
    "oauth.error_status": (200, 400),
    "oauth.legacy_expiry": (False, True),
    "oauth.live_tokens": (0, 10),
    "oauth.scope_in_token": (True, False),
    "crm.api_optout_stamps_mode": (True, False),
    "crm.bad_token": ("INVALID_TOKEN", "AUTHENTICATION_FAILURE"),
    "crm.coql_in_limit": (50, 100),
    "crm.coql_limit": (2000, 200),
    "crm.get_errors": ("top_level", "data"),
    "crm.locked_status": (400, 409),
    "crm.merge_lists": ("recycle", "permanent", "nothing"),
    "crm.privacy_settings": (False, True),
    "crm.throttle_body": ("new", "old"),
    "crm.throttle_code": ("TOO_MANY_REQUESTS", "RATE_LIMIT_EXCEEDED"),
    "crm.timeline_values": ("text", "boolean"),
    "crm.unknown_id": ("204", "400"),
    "bulk.early_result": (False, True),
    "bulk.id_column": ("Id", "id"),
    "bulk.media_type": ("application/x-download", "application/zip"),
    "bulk.paging": ("both", "page", "page_token"),
    "bulk.result_url": ("relative", "absolute"),
    "campaigns.codes": ("documented", "number", "string"),
    "campaigns.display_offset_min": (0, 330, -480),
    "campaigns.dnm_lists": ("unsub", "unchanged"),
    "campaigns.dnm_unknown": ("2103", "added"),
    "campaigns.error_keys": ("lower", "capital"),
    "campaigns.largest_range": (650, 200),
    "campaigns.optout_sets_type": (False, True),
    "campaigns.outcome_times": (True, False),
    "campaigns.range_over_max": ("clamped", "6502"),
    "campaigns.recipient_names": ("wire", "documented", "both"),
    "campaigns.segment_members": ("active", "all"),
    "campaigns.segment_rows": ("list_of_details", "segment_contacts"),
    "campaigns.subscribe_dnm": ("2006", "noop"),
    "campaigns.subscribe_hard_bounced": ("ignored", "2001"),
    "campaigns.unsubscribe_unknown": ("2103", "2101"),
    "campaigns.version": ("1.1", "1"),
    "throttle.retry_after": (0, 5),
    "throttle.style": ("v11_2008", "gateway_400", "gateway_200", "http_429"),
}

Pair = tuple[tuple[str, object], tuple[str, object]]


def pairs(row: Mapping[str, object]) -> set[Pair]:
    return set(combinations(sorted(row.items(), key=lambda item: item[0]), 2))


def every_pair() -> set[Pair]:
    return {
        ((one, a), (other, b))
        for one, other in combinations(sorted(FACTORS), 2)
        for a, b in product(FACTORS[one], FACTORS[other])
    }


def covering_array() -> list[dict[str, object]]:
    """Rows that hold every pair: each begins with a pair that is missing and takes what covers most."""
    missing, rows = every_pair(), []
    while missing:
        row: dict[str, object] = dict(min(missing, key=repr))
        for name in sorted(FACTORS, key=lambda name: (-len(FACTORS[name]), name)):
            if name not in row:
                row[name] = max(FACTORS[name], key=lambda value: _gain(row, name, value, missing))
        missing -= pairs(row)
        rows.append(row)
    return rows


def _gain(row: Mapping[str, object], name: str, value: object, missing: set[Pair]) -> int:
    return sum(
        pair in missing for one in row.items() for pair in [tuple(sorted([one, (name, value)], key=_name))]
    )


def _name(item: tuple[str, object]) -> str:
    return item[0]


ROWS = covering_array()


@pytest.fixture(params=range(len(ROWS)))
def switched(request: pytest.FixtureRequest, sqlite_url: str) -> Iterator[Org]:
    row = ROWS[request.param]
    with organisation(sqlite_url, PEOPLE) as made:
        made.sim.control("switches", {name: value for name, value in row.items() if name in SWITCHES})
        made.switch(bulk__duration_ms=0, bulk__rows_per_page=10)
        policy = made.intake.policy
        crm = msgspec.structs.replace(policy.zoho.crm, sweep=row[NOT_A_SWITCH])
        zoho = msgspec.structs.replace(policy.zoho, crm=crm)
        with reconnected(made, msgspec.structs.replace(policy, zoho=zoho, digest=bytes(32))) as org:
            yield org


def test_the_rows_hold_every_pair_and_every_answer_is_one_that_the_simulator_gives():
    assert set().union(*map(pairs, ROWS)) == every_pair()
    assert len(ROWS) < 25
    for name, values in FACTORS.items():
        if name != NOT_A_SWITCH:
            assert all(SWITCHES[name].accepts(value) for value in values), name


def test_found_is_planted_and_the_products_end_as_the_ledger_says(switched):
    result = switched.run()
    assert dict(result.found) == switched.planted()
    assert not result.failed
    stranger, member = "nobody@example.org", switched.ordinary()
    twin(switched, member)
    told = [withdrawal(one, received_at=switched.clock()) for one in (stranger, member)]
    switched.intake.record(told)
    switched.sim.world.meter._locked[DO_NOT_MAIL] = switched.sim.world.clock.now() + 1_800
    ended = switched.attempt()
    assert isinstance(ended, ServiceError) or ended.remaining
    switched.sim.control("crm/merge", {"email": member})
    switched.sim.world.tokens.live.clear()
    switched.converges()
    assert stopped(switched, member)


def twin(made: Org, email: str) -> None:
    """Somebody enters the same person once more."""
    (record,) = made.zoho.crm.find(email)
    _, added = made.zoho.crm.add(record.module, email, opted_out=False)
    assert added.done
    made.doors.somebody_else()

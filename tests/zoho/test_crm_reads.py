import json
from datetime import UTC, datetime, timedelta

import pytest

from service.errors import Unreachable, ZohoDenied, ZohoError
from tests.zoho.stub import Said

LISTING = "GET /crm/v8/Contacts"
DELETED = "GET /crm/v8/Contacts/deleted"
COUNT = "GET /crm/v8/Contacts/actions/count"


def page(*ids: int, token: str | None = None) -> Said:
    info = {"more_records": token is not None, "next_page_token": token}
    return Said(json.dumps({"data": [{"id": str(i)} for i in ids], "info": info}).encode())


def refused(code: str, status: int = 400) -> Said:
    error = {"code": code, "details": {"param_name": "page_token"}, "message": "no", "status": "error"}
    return Said(json.dumps(error).encode(), status=status)


def listed(zoho) -> list[str]:
    return [row["id"] for row in zoho.crm.records("Contacts", ["Email"])]


@pytest.mark.parametrize("code", ["EXPIRED_VALUE", "TOKEN_BOUND_DATA_MISMATCH"])
def test_a_listing_whose_token_died_goes_on_where_it_stopped(stub, told, code):
    stub.says(LISTING, page(1, 2, token="a"), refused(code), page(1, 2, 3, token="b"), page(4))
    assert listed(told) == ["1", "2", "3", "4"]


def test_a_listing_whose_tokens_always_die_is_an_error(stub, told):
    stub.says(LISTING, *[page(1, 2, token="a"), refused("EXPIRED_VALUE")] * 9)
    with pytest.raises(ZohoError) as caught:
        listed(told)
    assert caught.value.code == "EXPIRED_VALUE"
    assert len(stub.calls(LISTING)) == 8


def test_a_listing_lasts_longer_than_its_token(sim, zoho):
    rows = zoho.crm.records("Contacts", ["Email"])
    first = [next(rows)["id"] for _ in range(10)]
    sim.control("clock", {"advance_s": 86_401})
    rest = [row["id"] for row in rows]
    listings = [row[3] for row in sim.world.requests if row[1:3] == ("GET", "/crm/v8/Contacts")]
    assert listings[-3:] == [400, 200, 200]
    everybody = {r.record_id for r in zoho.crm.observe() if r.module == "Contacts"}
    assert set(first) | set(rest) == everybody
    assert len(first) + len(rest) == len(everybody)


def test_deletions_are_followed_page_by_page(sim, zoho):
    now = sim.world.clock.seconds()
    rows = [(900_000 + n, "Contacts", "recycle", "x", now - n, None, None) for n in range(450)]
    sim.world.db.executemany("INSERT INTO deleted VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    since = datetime.fromtimestamp(now, UTC) - timedelta(seconds=420)
    before = zoho.meter.credits
    found = list(zoho.crm.deleted(since, ["Contacts"]))
    assert len(set(found)) == 421
    assert ("Contacts", "900000") in found
    assert zoho.meter.credits - before == 3 * 2


def test_nothing_deleted_is_no_error(zoho):
    assert list(zoho.crm.deleted(datetime(2001, 1, 1, tzinfo=UTC))) == []


@pytest.mark.parametrize("code", ["PATTERN_NOT_MATCHED", "INVALID_MODULE"])
def test_deletions_that_crm_does_not_tell_are_an_error(stub, told, code):
    stub.says(DELETED, refused(code))
    with pytest.raises(ZohoError) as caught:
        list(told.crm.deleted(datetime(2026, 1, 1, tzinfo=UTC), ["Contacts"]))
    assert caught.value.code == code


def test_records_are_counted_by_module(zoho):
    found = list(zoho.crm.observe())
    counts = {name: sum(r.module == name for r in found) for name in ("Contacts", "Leads")}
    assert zoho.crm.counts() == counts


def test_counting_without_the_scope_is_a_denial(stub, told):
    stub.says(COUNT, refused("OAUTH_SCOPE_MISMATCH", status=401))
    with pytest.raises(ZohoDenied):
        told.crm.counts(["Contacts"])


@pytest.mark.parametrize("body", [b'{"count":null}', b'{"count":-1}', b"[]", b"{}"])
def test_a_count_that_is_no_number_is_not_believed(stub, told, body):
    stub.says(COUNT, Said(body))
    with pytest.raises(Unreachable):
        told.crm.counts(["Contacts"])

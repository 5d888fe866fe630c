import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from service.errors import Misconfigured, Unreachable, ZohoDenied, ZohoError
from service.reconciler.port import CrmChange
from service.zoho.mapping import connect
from tests.zoho.conftest import settings_for
from tests.zoho.stub import Said

COQL = "POST /crm/v8/coql"
PUT = "PUT /crm/v8/Contacts"
LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


def error(code: str, **details) -> bytes:
    return json.dumps({"code": code, "details": details, "message": "no", "status": "error"}).encode()


def rows(*ids: int, more: bool = False) -> Said:
    data = [
        {
            "id": str(i),
            "Email": f"p{i}@example.com",
            "Email_Opt_Out": False,
            "Modified_Time": "2026-05-10T01:10:47-07:00",
        }
        for i in ids
    ]
    return Said(json.dumps({"data": data, "info": {"count": len(data), "more_records": more}}).encode())


def stops(records, **more):
    return [CrmChange(module=r.module, record_id=r.record_id, opted_out=True, **more) for r in records]


def written(*items) -> bytes:
    return json.dumps({"data": items}).encode()


def item(code: str, *, record_id: str = "1") -> dict:
    status = "success" if code == "SUCCESS" else "error"
    return {"code": code, "details": {"id": record_id}, "message": "told", "status": status}


def planted(sim, key: str) -> list[str]:
    return sim.control(f"/_control/truth/{key}")["emails"]


def person(sim, email: str):
    return sim.control("/_control/person", {"email": email})


def test_observing_finds_every_record_with_its_flag_country_and_view(sim, zoho):
    found = list(zoho.crm.observe())
    state = sim.control("/_control/state")
    assert len(found) == len({(r.module, r.record_id) for r in found}) == state["crm_records"]
    assert sum(r.opted_out for r in found) == state["opted_out"]
    assert sum("newsletter" in r.views for r in found) == state["in_view"]
    assert {r.module for r in found} == {"Contacts", "Leads"}
    assert {"Germany", None} < {r.country for r in found}


def test_an_opt_out_by_hand_is_observed_with_how_and_when(sim, zoho):
    (email, *_) = planted(sim, "opted_out_by_hand")
    record = next(r for r in zoho.crm.observe() if email in r.addresses)
    assert record.opted_out
    assert record.unsubscribed_mode == "Manual"
    assert record.unsubscribed_at.tzinfo is UTC
    assert LONG_AGO < record.unsubscribed_at <= record.modified_at + timedelta(days=1)


def test_observing_400_people_takes_one_page_per_module_and_an_empty_one(zoho):
    list(zoho.crm.observe())
    assert zoho.meter.calls["crm"] == 2 * 2
    assert zoho.meter.credits == 2 * (3 + 1)


def test_a_server_with_the_old_page_limit_is_read_in_pages_of_200(sim, zoho):
    whole = {r.record_id for r in zoho.crm.observe()}
    before = zoho.meter.credits
    sim.control("/_control/switches", {"crm.coql_limit": 200})
    assert {r.record_id for r in zoho.crm.observe()} == whole
    assert zoho.meter.credits == before + 3 + 3 + 1 + 2, "a refused call, three pages, a count, two ends"
    calls = zoho.meter.calls["crm"]
    list(zoho.crm.observe())
    assert zoho.meter.calls["crm"] == calls + 3 + 1 + 2, "the smaller page is remembered"


def test_pages_follow_each_other_by_id_until_one_is_empty(stub, told):
    none = Said(status=204)
    stub.says(COQL, rows(1, 2, more=True), rows(5, more=True), none, rows(9), none)
    assert [r.record_id for r in told.crm.observe()] == ["1", "2", "5", "9"]
    queries = [json.loads(call.body)["select_query"] for call in stub.calls(COQL)]
    assert "where id > 0 order by id asc limit 2000" in queries[0]
    assert "where id > 2 order by id asc" in queries[1]
    assert "where id > 5 order by id asc" in queries[2]
    assert "from Leads where id > 0" in queries[3]


def test_a_page_that_was_cut_short_and_calls_itself_the_last_hides_nobody(sim, zoho):
    whole = {r.record_id for r in zoho.crm.observe()}
    sim.control("/_control/break", {"match": "POST /crm/v8/coql", "times": 1, "how": "short"})
    assert {r.record_id for r in zoho.crm.observe()} == whole


def test_reading_records_whose_page_was_cut_short_finds_them_all(sim, zoho):
    targets = [(r.module, r.record_id) for r in zoho.crm.observe() if r.module == "Contacts"][:40]
    sim.control("/_control/break", {"match": "POST /crm/v8/coql", "times": 1, "how": "short"})
    assert [(r.module, r.record_id) for r in zoho.crm.read(targets)] == targets


def test_a_page_that_comes_again_is_an_error_and_no_endless_loop(stub, told):
    stub.says(COQL, rows(1, 2, more=True))
    with pytest.raises(ZohoError) as caught:
        list(told.crm.observe())
    assert caught.value.code == "PAGE_REPEATED"


def test_an_increment_holds_what_changed_since_and_nothing_else(sim, zoho):
    (email, *_) = planted(sim, "list_lag_missing")
    newest = max(r.modified_at for r in zoho.crm.observe())
    sim.control("/_control/clock", {"advance_s": 86_400})
    sim.control("/_control/crm/set", {"email": email, "fields": {"Email_Opt_Out": True}})
    changed = list(zoho.crm.observe(since=newest + timedelta(seconds=1)))
    assert {address for r in changed for address in r.addresses} == {email}
    assert all(r.opted_out for r in changed)


def test_a_record_that_lost_its_address_is_observed_without_one(sim, zoho):
    before = list(zoho.crm.observe())
    (email, *_) = planted(sim, "list_lag_missing")
    sim.control("/_control/crm/set", {"email": email, "fields": {"Email": None}})
    after = list(zoho.crm.observe())
    assert len(after) == len(before)
    (lost,) = [r for r in after if not r.addresses]
    assert email in next(r for r in before if r.record_id == lost.record_id).addresses


def test_listing_by_page_tokens_yields_each_row_once(sim, zoho):
    found = [row["id"] for row in zoho.crm.records("Contacts", ["Email"])]
    assert len(found) > 200
    assert found == sorted(set(found), key=int)
    assert set(found) == {r.record_id for r in zoho.crm.observe() if r.module == "Contacts"}


def test_a_listing_of_what_was_modified_since_may_be_empty(zoho):
    assert list(zoho.crm.records("Contacts", ["Email"], datetime(2099, 1, 1, tzinfo=UTC))) == []


def test_a_repeated_page_token_is_an_error(stub, told):
    page = {"data": [{"id": "1"}], "info": {"more_records": True, "next_page_token": "t"}}
    stub.says("GET /crm/v8/Contacts", Said(json.dumps(page).encode()))
    with pytest.raises(ZohoError, match="no end"):
        list(told.crm.records("Contacts", ["Email"]))


@pytest.mark.parametrize("wrapping", ["top_level", "data"])
def test_errors_of_a_read_are_understood_in_both_shapes(sim, zoho, wrapping):
    sim.control("/_control/switches", {"crm.get_errors": wrapping})
    with pytest.raises(ZohoError, match=r"'Persons'.*policies/zoho\.toml") as caught:
        list(zoho.crm.records("Persons", ["Email"]))
    assert caught.value.code == "INVALID_MODULE"


def test_a_wrapped_error_under_a_good_status_is_no_row(stub, told):
    stub.says("GET /crm/v8/Contacts", Said(written(item("NO_PERMISSION"))))
    with pytest.raises(ZohoDenied):
        list(told.crm.records("Contacts", ["Email"]))


def test_a_forbidden_module_is_a_denial_that_speaks_of_the_profile(stub, told):
    stub.says(COQL, Said(error("NO_PERMISSION", permissions=["Crm_Implied_View_Contacts"]), status=403))
    with pytest.raises(ZohoDenied, match="profile"):
        list(told.crm.observe())


@pytest.mark.parametrize(
    "body", [b"<html>maintenance</html>", b"[]", b'{"info":{}}', b"\xff\xfe", b'{"data":[7]}']
)
def test_a_good_status_with_another_body_is_unreachable_and_never_an_empty_crm(stub, told, body):
    stub.says(COQL, Said(body))
    with pytest.raises(Unreachable):
        list(told.crm.observe())


def test_a_row_without_its_time_is_refused(stub, told):
    stub.says(COQL, Said(b'{"data":[{"id":"1","Email":"a@example.com"}],"info":{"more_records":false}}'))
    with pytest.raises(Unreachable, match="Modified_Time"):
        list(told.crm.observe())


def test_all_records_of_an_address_are_found_in_all_modules_and_in_any_case(sim, zoho):
    for email in planted(sim, "duplicate_contradiction"):
        truth = {(r["module"], r["id"]) for r in person(sim, email)["crm"]}
        found = zoho.crm.find(email.upper())
        assert {(r.module, r.record_id) for r in found} == truth
        assert {r.opted_out for r in found} == {True, False}


def test_an_address_in_the_second_field_is_found(sim, zoho):
    (email, *_) = planted(sim, "list_lag_missing")
    sim.control("/_control/crm/set", {"email": email, "fields": {"Secondary_Email": "other@example.net"}})
    (record,) = zoho.crm.find("other@example.net")
    assert record.addresses == (email, "other@example.net")


def test_nobody_is_found_for_an_unknown_address_or_one_that_tries_to_break_out(zoho):
    assert zoho.crm.find("nobody@example.com") == []
    assert zoho.crm.find("x' or id > '0@example.com") == []
    assert zoho.crm.find("o'brien\\@example.com") == []


def test_rows_that_the_server_thinks_equal_are_checked_again_here(stub, told):
    stub.says(COQL, rows(1, 2))
    assert [r.record_id for r in told.crm.find("P1@Example.com")] == ["1", "1"]


def page(*ids: int, **info) -> Said:
    data = json.loads(rows(*ids).body)["data"]
    twins = [row | {"Email": "ada@example.com"} for row in data]
    return Said(json.dumps({"data": twins, "info": info}).encode())


@pytest.mark.parametrize(
    ("first", "asked"),
    [
        (page(1, count=2, more_records=False), 2),
        (page(1, count=1), 2),
        (page(1), 2),
        (page(1, count=1, more_records=True), 2),
        (page(*range(1, 201), count=200, more_records=False), 2),
        (page(1, 2, count=2, more_records=False), 0),
    ],
)
def test_a_page_that_may_have_been_cut_short_hides_no_twin(stub, time, mapping, first, asked):
    contacts = msgspec.structs.replace(mapping.crm, modules=mapping.crm.modules[:1])
    stub.says(COQL, first, page(201, count=1, more_records=False), Said(status=204))
    with connect(
        settings_for(stub.url), msgspec.structs.replace(mapping, crm=contacts), pace=time.pace()
    ) as zoho:
        found = [r.record_id for r in zoho.crm.find("ada@example.com")]
        assert ("201" in found) is bool(asked)
    assert len(stub.calls(COQL)) == 1 + asked
    queries = [json.loads(call.body)["select_query"] for call in stub.calls(COQL)]
    assert all("id > 0" not in query for query in queries[1:])


def test_finding_somebody_takes_one_credit_a_module(sim, zoho):
    (email, *_) = planted(sim, "opted_out_by_hand")
    assert zoho.crm.find(email)
    assert zoho.meter.credits == 2


def test_reading_keeps_the_order_and_leaves_out_what_is_gone(sim, zoho):
    found = list(zoho.crm.observe())
    targets = [(r.module, r.record_id) for r in reversed(found[:120] + found[-3:])]
    calls = zoho.meter.calls["crm"]
    read = zoho.crm.read([("Contacts", "999"), *targets])
    assert [(r.module, r.record_id) for r in read] == targets
    assert zoho.meter.calls["crm"] == calls + 3 + 1 + 1, "fifty ids a call, by module; the gone once more"


def test_reading_a_module_that_is_not_mapped_says_where_to_add_it(zoho):
    with pytest.raises(Misconfigured, match=r"'Persons'.*\[\[crm.modules\]\]"):
        zoho.crm.read([("Persons", "1")])


def test_enforcing_writes_hundreds_of_records_in_batches_without_setting_off_automations(sim, zoho):
    found = list(zoho.crm.observe())
    calls, credits_ = zoho.meter.calls["crm"], zoho.meter.credits
    results = zoho.crm.enforce(stops(found))
    assert [r.target for r in results] == [f"{r.module}/{r.record_id}" for r in found]
    assert all(r.done and r.code == "SUCCESS" and len(r.answer_sha256) == 32 for r in results)
    state = sim.control("/_control/state")
    assert state["opted_out"] == state["crm_records"] == len(found)
    assert state["automations"] == 0
    per_module = Counter(r.module for r in found)
    assert zoho.meter.calls["crm"] - calls == sum(-(-n // 100) for n in per_module.values())
    assert zoho.meter.credits - credits_ == sum(-(-n // 10) for n in per_module.values())


def test_a_bad_record_among_good_ones_fails_by_itself_and_in_its_place(zoho):
    first, second, *_ = zoho.crm.observe()
    changes = stops([first, second])
    changes.insert(1, CrmChange(module="Contacts", record_id="999", opted_out=True))
    good, bad, also_good = zoho.crm.enforce(changes)
    assert good.done
    assert also_good.done
    assert (bad.target, bad.done, bad.code, bad.retry) == ("Contacts/999", False, "INVALID_DATA", False)
    assert "id" in bad.reason


def test_a_batch_of_bad_records_alone_still_gives_a_result_for_each(zoho):
    changes = [CrmChange(module="Leads", record_id=str(i), opted_out=True) for i in (1, 2)]
    assert [r.code for r in zoho.crm.enforce(changes)] == ["INVALID_DATA"] * 2


def test_a_single_bad_record_is_a_result_although_the_answer_looks_like_an_error(zoho):
    (result,) = zoho.crm.enforce([CrmChange(module="Contacts", record_id="1", opted_out=True)])
    assert (result.done, result.code) == (False, "INVALID_DATA")


@pytest.mark.parametrize("code", ["RECORD_LOCKED", "NOT_APPROVED", "INTERNAL_ERROR"])
def test_a_record_that_is_only_busy_may_be_tried_again(stub, told, code):
    stub.says(PUT, Said(written(item("SUCCESS"), item(code)), status=207))
    changes = [CrmChange(module="Contacts", record_id=i, opted_out=True) for i in "12"]
    first, second = told.crm.enforce(changes)
    assert first.done
    assert (second.done, second.retry) == (False, True)


def test_a_write_that_a_person_overtook_is_told_as_already_modified(sim, zoho):
    (email, *_) = planted(sim, "list_lag_missing")
    (record,) = zoho.crm.find(email)
    sim.control("/_control/clock", {"advance_s": 60})
    sim.control("/_control/crm/set", {"email": email, "fields": {"Last_Name": "Renamed"}})
    (stale,) = zoho.crm.enforce(stops([record], unmodified_since=record.modified_at))
    assert (stale.done, stale.code, stale.retry) == (False, "ALREADY_MODIFIED", True)
    (fresh,) = zoho.crm.find(email)
    (result,) = zoho.crm.enforce(stops([fresh], unmodified_since=fresh.modified_at))
    assert result.done


def test_conditional_writes_go_one_by_one_and_keep_their_places(sim, zoho):
    a, b, c, *_ = zoho.crm.observe()
    before = zoho.meter.calls["crm"]
    changes = [*stops([a]), *stops([b], unmodified_since=b.modified_at), *stops([c])]
    results = zoho.crm.enforce(changes)
    assert [r.target for r in results] == [f"{r.module}/{r.record_id}" for r in (a, b, c)]
    assert zoho.meter.calls["crm"] == before + 2


def test_stops_that_say_when_they_were_read_share_one_call_and_one_condition(sim, zoho):
    a, b, c, *_ = (r for r in zoho.crm.observe() if r.module == "Contacts")
    before = zoho.meter.calls["crm"]
    sim.control("/_control/clock", {"advance_s": 60})
    sim.control("/_control/crm/set", {"email": b.addresses[0], "fields": {"Last_Name": "Renamed"}})
    changes = [stop for r in (a, b, c) for stop in stops([r], read_as_of=r.modified_at)]
    results = zoho.crm.enforce(changes)
    assert [r.code for r in results] == ["SUCCESS", "ALREADY_MODIFIED", "SUCCESS"]
    assert zoho.meter.calls["crm"] == before + 1


@pytest.mark.parametrize("how", ["drop_before", "drop_after"])
def test_a_stop_whose_answer_was_lost_is_simply_said_again(sim, zoho, how):
    (email, *_) = planted(sim, "unsubscribed_not_in_crm")
    sim.control("/_control/break", {"match": "PUT /crm/v8/Contacts", "times": 1, "how": how})
    sim.control("/_control/break", {"match": "PUT /crm/v8/Leads", "times": 1, "how": how})
    assert all(r.done for r in zoho.crm.enforce(stops(zoho.crm.find(email))))
    assert all(r.opted_out for r in zoho.crm.find(email))


@pytest.mark.parametrize(("how", "was_written"), [("drop_before", False), ("drop_after", True)])
def test_a_conditional_write_whose_answer_was_lost_is_settled_by_reading_back(sim, zoho, how, was_written):
    record = next(r for r in zoho.crm.observe() if not r.opted_out)
    sim.control("/_control/break", {"match": f"PUT /crm/v8/{record.module}", "times": 1, "how": how})
    (result,) = zoho.crm.enforce(stops([record], unmodified_since=record.modified_at))
    assert (result.done, result.retry, result.code) == (False, True, "UNREACHABLE")
    (now,) = zoho.crm.read([(record.module, record.record_id)])
    assert now.opted_out is was_written


def test_a_batch_that_fails_later_does_not_hide_what_was_written(stub, told):
    stub.says(PUT, Said(written(*[item("SUCCESS")] * 100)), Said(error("NO_PERMISSION"), status=403))
    changes = [CrmChange(module="Contacts", record_id=str(i), opted_out=True) for i in range(101)]
    results = told.crm.enforce(changes)
    assert [r.done for r in results] == [True] * 100 + [False]
    assert results[-1].code == "NO_PERMISSION"


def test_a_denial_before_anything_was_written_is_raised(stub, told):
    stub.says(PUT, Said(error("NO_PERMISSION"), status=403))
    with pytest.raises(ZohoDenied):
        told.crm.enforce([CrmChange(module="Contacts", record_id="1", opted_out=True)])


def test_nothing_but_the_mapped_field_is_written_and_triggers_are_off(stub, told):
    stub.says(PUT, Said(written(item("SUCCESS"))))
    told.crm.enforce([CrmChange(module="Contacts", record_id="7", opted_out=True)])
    (call,) = stub.calls(PUT)
    assert json.loads(call.body) == {"data": [{"id": "7", "Email_Opt_Out": True}], "trigger": []}


def test_the_organisation_and_its_fields_are_told(zoho):
    assert zoho.crm.org().zgid == "7000000001"
    fields = {field.api_name: field for field in zoho.crm.fields("Contacts")}
    assert fields["Email_Opt_Out"].data_type == "boolean"
    assert fields["Unsubscribed_Mode"].operation_type["api_update"] is False
    zoho.crm.verify()


def test_fields_of_a_module_that_does_not_exist_are_an_error_that_names_it(zoho):
    with pytest.raises(ZohoError, match="'Persons'"):
        zoho.crm.fields("Persons")


@pytest.mark.parametrize("body", [b'{"org":[]}', b'{"org":[{"company_name":7}]}'])
def test_an_organisation_without_its_number_is_unreachable(stub, told, body):
    stub.says("GET /crm/v8/org", Said(body))
    with pytest.raises(Unreachable):
        told.crm.org()


def test_another_field_may_stand_for_stop(stub, mapping, time):
    crm = msgspec.structs.replace(mapping.crm, opt_out_field="No_Mail", mode_field=None, time_field=None)
    other = msgspec.structs.replace(mapping, crm=crm)
    row = {"id": "1", "Email": "a@example.com", "No_Mail": True, "Modified_Time": "2026-05-10T01:10:47-07:00"}
    answer = {"data": [row], "info": {"more_records": False}}
    stub.says(COQL, Said(json.dumps(answer).encode()), Said(status=204))
    with connect(settings_for(stub.url), other, pace=time.pace()) as zoho:
        (record,) = zoho.crm.observe()
    assert record.opted_out
    assert record.modified_at == datetime(2026, 5, 10, 8, 10, 47, tzinfo=UTC)
    assert "Email_Opt_Out" not in stub.calls(COQL)[0].body.decode()


def test_a_record_of_our_own_is_added_in_its_state_and_its_id_told(sim, zoho):
    number, result = zoho.crm.add("Contacts", "canary@example.com", opted_out=True)
    assert result.done
    (record,) = zoho.crm.read([("Contacts", number)])
    assert (record.addresses, record.opted_out) == (("canary@example.com",), True)


def test_a_record_that_crm_does_not_take_has_no_id(zoho):
    number, result = zoho.crm.add("Contacts", "no address", opted_out=True)
    assert (number, result.done) == ("", False)

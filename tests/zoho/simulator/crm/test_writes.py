"""Writing records: one result per record, and the stamps that CRM adds by itself."""

import pytest

CONTACTS = "/crm/v8/Contacts"


@pytest.fixture
def ids(zoho):
    query = "select id from Contacts where (Email_Opt_Out = 'false' and id > 0) order by id asc limit 5"
    return [row["id"] for row in zoho.post("/crm/v8/coql", json={"select_query": query}).json()["data"]]


def one(zoho, number):
    return zoho.get(f"{CONTACTS}/{number}").json()["data"][0]


def put(zoho, *records, **more):
    return zoho.put(CONTACTS, json={"data": list(records), "trigger": [], **more})


def test_a_batch_answers_record_by_record_in_order(zoho, ids):
    answer = put(zoho, *({"id": number, "Email_Opt_Out": True} for number in ids))
    assert answer.status_code == 200
    results = answer.json()["data"]
    assert [result["details"]["id"] for result in results] == ids
    assert {(result["code"], result["message"], result["status"]) for result in results} == {
        ("SUCCESS", "record updated", "success")
    }
    assert list(results[0]["details"]) == [
        "Modified_Time",
        "Modified_By",
        "Created_Time",
        "id",
        "Created_By",
        "$approval_state",
    ]


def test_some_good_and_some_bad_records_are_207(zoho, ids):
    answer = put(zoho, {"id": ids[0], "Email_Opt_Out": True}, {"id": "999", "Email_Opt_Out": True})
    assert answer.status_code == 207
    assert answer.json()["data"][1] == {
        "code": "INVALID_DATA",
        "details": {"id": "999"},
        "message": "the id given seems to be invalid",
        "status": "error",
    }


def test_only_bad_records_are_400_and_still_a_list(zoho):
    answer = put(zoho, {"id": "999", "Email_Opt_Out": True}, {"Email_Opt_Out": True})
    assert answer.status_code == 400
    assert [result["code"] for result in answer.json()["data"]] == ["INVALID_DATA", "MANDATORY_NOT_FOUND"]


def test_ids_may_be_numbers_and_the_content_type_may_be_missing(zoho, ids):
    body = b'{"data":[{"id":%s,"Email_Opt_Out":true}]}' % ids[0].encode()
    assert zoho.put(CONTACTS, content=body).status_code == 200
    assert one(zoho, ids[0])["Email_Opt_Out"] is True


def test_one_record_is_written_at_its_own_address(zoho, ids):
    answer = zoho.put(f"{CONTACTS}/{ids[0]}", json={"data": [{"Email_Opt_Out": True}]})
    assert answer.status_code == 200
    assert one(zoho, ids[0])["Email_Opt_Out"] is True


def test_a_hundred_and_one_records_are_refused_as_a_whole(zoho, ids):
    answer = put(zoho, *[{"id": ids[0], "Email_Opt_Out": True}] * 101)
    assert answer.status_code == 400
    assert answer.json()["details"] == {"maximum_length": 100, "api_name": "data"}
    assert one(zoho, ids[0])["Email_Opt_Out"] is False


def test_opting_out_stamps_mode_time_and_editor(zoho, ids):
    before = one(zoho, ids[0])
    put(zoho, {"id": ids[0], "Email_Opt_Out": True})
    after = one(zoho, ids[0])
    assert (after["Unsubscribed_Mode"], after["Unsubscribed_Time"]) == ("Manual", after["Modified_Time"])
    assert after["Modified_Time"] > before["Modified_Time"]
    assert after["Modified_By"]["name"] == "Consent Ledger"
    put(zoho, {"id": ids[0], "Email_Opt_Out": False})
    assert (one(zoho, ids[0])["Unsubscribed_Mode"], one(zoho, ids[0])["Unsubscribed_Time"]) == (None, None)


def test_the_mode_stays_empty_by_switch(sim, zoho, ids):
    sim.control("switches", {"crm.api_optout_stamps_mode": False})
    put(zoho, {"id": ids[0], "Email_Opt_Out": True})
    assert one(zoho, ids[0])["Unsubscribed_Mode"] is None


def test_a_second_opt_out_keeps_the_first_ones_time(sim, zoho, ids):
    put(zoho, {"id": ids[0], "Email_Opt_Out": True})
    first = one(zoho, ids[0])
    sim.control("clock", {"advance_s": 100})
    put(zoho, {"id": ids[0], "Email_Opt_Out": True})
    again = one(zoho, ids[0])
    assert again["Unsubscribed_Time"] == first["Unsubscribed_Time"]
    assert again["Modified_Time"] > first["Modified_Time"]


def test_a_record_that_somebody_touched_meanwhile_is_412(sim, zoho, ids):
    seen = one(zoho, ids[0])["Modified_Time"]
    put(zoho, {"id": ids[0], "Last_Name": "Touched"})
    body = {"data": [{"id": ids[0], "Email_Opt_Out": True}]}
    stale = zoho.put(CONTACTS, json=body, headers={"If-Unmodified-Since": seen})
    assert stale.status_code == 412
    (error,) = stale.json()["data"]
    assert error["code"] == "ALREADY_MODIFIED"
    assert error["message"] == "record updated time has already passed if-unmodified-since time"
    assert set(error["details"]) == {"Modified_Time", "Modified_By", "Created_Time", "id", "Created_By"}
    assert one(zoho, ids[0])["Email_Opt_Out"] is False
    fresh = zoho.put(CONTACTS, json=body, headers={"If-Unmodified-Since": one(zoho, ids[0])["Modified_Time"]})
    assert fresh.status_code == 200


def test_a_batch_of_stale_and_fresh_records_is_207(zoho, ids):
    put(zoho, {"id": ids[0], "Last_Name": "Touched"})
    seen = one(zoho, ids[1])["Modified_Time"]
    body = {"data": [{"id": number, "Email_Opt_Out": True} for number in ids[:2]]}
    answer = zoho.put(CONTACTS, json=body, headers={"If-Unmodified-Since": seen})
    assert answer.status_code == 207
    assert [result["code"] for result in answer.json()["data"]] == ["ALREADY_MODIFIED", "SUCCESS"]


def test_fields_that_crm_fills_itself_are_refused_or_ignored_by_switch(sim, zoho, ids):
    record = {"id": ids[0], "Email_Opt_Out": True, "Unsubscribed_Mode": "Consent form"}
    refused = put(zoho, record)
    assert refused.status_code == 400
    assert refused.json()["data"][0]["details"] == {
        "api_name": "Unsubscribed_Mode",
        "json_path": "$.data[0].Unsubscribed_Mode",
    }
    sim.control("switches", {"crm.read_only_fields": "ignored"})
    assert put(zoho, record).status_code == 200
    assert one(zoho, ids[0])["Unsubscribed_Mode"] == "Manual"


@pytest.mark.parametrize("value", ["true", 1, "yes"])
def test_a_checkbox_takes_json_booleans_only(zoho, ids, value):
    (error,) = put(zoho, {"id": ids[0], "Email_Opt_Out": value}).json()["data"]
    assert error["details"] == {
        "expected_data_type": "boolean",
        "api_name": "Email_Opt_Out",
        "json_path": "$.data[0].Email_Opt_Out",
    }


def test_automations_run_unless_trigger_is_empty(sim, zoho, ids):
    def fired(body):
        before = sim.control("state")["automations"]
        zoho.put(CONTACTS, json=body)
        return sim.control("state")["automations"] - before

    record = {"id": ids[0], "Email_Opt_Out": True}
    assert fired({"data": [record], "trigger": []}) == 0
    assert fired({"data": [record], "trigger": ["workflow"]}) == 1
    assert fired({"data": [record]}) == 5


def test_an_insert_is_201_and_needs_a_last_name(zoho):
    answer = zoho.post(CONTACTS, json={"data": [{"Last_Name": "Nim", "Email": "nim@example.com"}]})
    assert (answer.status_code, answer.json()["data"][0]["message"]) == (201, "record added")
    number = answer.json()["data"][0]["details"]["id"]
    assert one(zoho, number)["Email"] == "nim@example.com"
    (error,) = zoho.post(CONTACTS, json={"data": [{"Email": "nam@example.com"}]}).json()["data"]
    assert (error["code"], error["details"]["api_name"]) == ("MANDATORY_NOT_FOUND", "Last_Name")


def test_a_body_that_is_no_batch_is_refused(zoho):
    assert zoho.put(CONTACTS, content=b"{").json()["code"] == "INVALID_DATA"
    assert zoho.put(CONTACTS, json={"data": []}).json()["code"] == "MANDATORY_NOT_FOUND"

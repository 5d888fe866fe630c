"""Deleting and merging: what is gone, and what the lists of the gone still tell."""

import pytest

CONTACTS = "/crm/v8/Contacts"
DAY_S = 86_400


@pytest.fixture
def ids(zoho):
    answer = zoho.get(CONTACTS, params={"fields": "Email", "per_page": 3})
    return [record["id"] for record in answer.json()["data"]]


def deleted(zoho, **params):
    answer = zoho.get(f"{CONTACTS}/deleted", params=params)
    return answer.json()["data"] if answer.status_code == 200 else []


def test_unknown_ids_among_good_ones_are_207(zoho, ids):
    answer = zoho.request("DELETE", CONTACTS, params={"ids": f"{ids[0]},77"})
    assert answer.status_code == 207
    assert [result["code"] for result in answer.json()["data"]] == ["SUCCESS", "INVALID_DATA"]


def test_after_sixty_days_the_bin_forgets_names_and_after_120_the_list_forgets_all(sim, zoho, ids, sign_in):
    zoho.request("DELETE", CONTACTS, params={"ids": ids[0]})
    assert zoho.get("/crm/v8/settings/recycle_bin").json()["recycle_bin"][0]["id"] == ids[0]
    sim.control("clock", {"advance_s": 60 * DAY_S})
    zoho = sign_in()
    (entry,) = deleted(zoho, type="permanent")
    assert (entry["type"], entry["display_name"], entry["deleted_by"]) == ("permanent", None, None)
    assert zoho.get("/crm/v8/settings/recycle_bin").status_code == 204
    sim.control("clock", {"advance_s": 60 * DAY_S})
    assert deleted(sign_in()) == []


def test_only_what_was_deleted_since_is_listed(sim, zoho, ids):
    zoho.request("DELETE", CONTACTS, params={"ids": ids[0]})
    sim.control("clock", {"advance_s": 100})
    zoho.request("DELETE", CONTACTS, params={"ids": ids[1]})
    moment = deleted(zoho)[0]["deleted_time"]
    answer = zoho.get(f"{CONTACTS}/deleted", headers={"If-Modified-Since": moment})
    assert [entry["id"] for entry in answer.json()["data"]] == [ids[1]]


def test_a_user_deletes_for_good(sim, zoho, somebody):
    (record, *_) = sim.control("person", {"email": somebody})["crm"]
    sim.control("crm/delete", {"email": somebody, "permanent": True})
    answer = zoho.get(f"/crm/v8/{record['module']}/deleted", params={"type": "permanent"})
    assert [entry["id"] for entry in answer.json()["data"]] == [record["id"]]
    assert sim.control("person", {"email": somebody})["crm"] == []


def test_deleting_runs_workflows_unless_told_otherwise(sim, zoho, ids):
    before = sim.control("state")["automations"]
    zoho.request("DELETE", CONTACTS, params={"ids": ids[0], "wf_trigger": "false"})
    assert sim.control("state")["automations"] == before
    zoho.request("DELETE", CONTACTS, params={"ids": ids[1]})
    assert sim.control("state")["automations"] > before


@pytest.mark.parametrize("listed", ["recycle", "permanent", "nothing"])
def test_a_merge_keeps_the_master_and_takes_the_fields_named(sim, zoho, ids, listed):
    sim.control("switches", {"crm.merge_lists": listed})
    zoho.put(CONTACTS, json={"data": [{"id": ids[1], "Email_Opt_Out": True, "Last_Name": "Other"}]})
    before = sim.control("meter")["credits"]
    body = {"merge": [{"data": [{"id": ids[1], "fields": [{"api_name": "Email_Opt_Out"}]}]}]}
    answer = zoho.post(f"{CONTACTS}/{ids[0]}/actions/merge", json=body).json()["merge"][0]
    assert answer["code"] == "SCHEDULED"
    assert sim.control("meter")["credits"] == before + 50
    job = zoho.get(f"{CONTACTS}/{ids[0]}/actions/merge", params=answer["details"]).json()["merge"]
    assert job["status"] == "COMPLETED"
    (master,) = zoho.get(f"{CONTACTS}/{ids[0]}").json()["data"]
    assert (master["Email_Opt_Out"], master["Last_Name"] != "Other") == (True, True)
    assert zoho.get(f"{CONTACTS}/{ids[1]}").status_code == 204
    assert [entry["type"] for entry in deleted(zoho)] == ([] if listed == "nothing" else [listed])


def test_a_merge_with_an_unknown_record_changes_nothing(zoho, ids):
    body = {"merge": [{"data": [{"id": ids[1]}, {"id": "77"}]}]}
    assert zoho.post(f"{CONTACTS}/{ids[0]}/actions/merge", json=body).status_code == 400
    assert zoho.get(f"{CONTACTS}/{ids[1]}").status_code == 200


def test_a_user_merges_the_records_of_an_address(sim):
    for email in sim.control("truth/duplicate_harmless")["emails"]:
        records = sim.control("person", {"email": email})["crm"]
        if records[0]["module"] == records[1]["module"]:
            sim.control("crm/merge", {"email": email})
            (left,) = sim.control("person", {"email": email})["crm"]
            assert left["id"] == records[0]["id"]

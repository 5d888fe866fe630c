"""Layouts, views, profiles, users, features; mails that bounce; tags and notes; calls in a crowd."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from service.zoho.simulator import names

CONTACTS = "/crm/v8/Contacts"
SETTINGS = "/crm/v8/settings"


@pytest.fixture
def record(sim, somebody):
    """The CRM record of somebody."""
    (record, *_) = sim.control("person", {"email": somebody})["crm"]
    return record


@pytest.fixture
def address(record):
    return f"/crm/v8/{record['module']}/{record['id']}"


def test_the_layout_shows_where_a_field_stands_and_where_leads_go(reader):
    (layout,) = reader.get(f"{SETTINGS}/layouts", params={"module": "Leads"}).json()["layouts"]
    names = [field["api_name"] for section in layout["sections"] for field in section["fields"]]
    assert "Email_Opt_Out" in names
    assert layout["convert_mapping"]["Contacts"]["name"] == "Standard"
    same = reader.get(f"{SETTINGS}/layouts/{layout['id']}", params={"module": "Leads"})
    assert same.json()["layouts"] == [layout]
    assert reader.get(f"{SETTINGS}/layouts").json()["code"] == "REQUIRED_PARAM_MISSING"
    assert reader.get(f"{SETTINGS}/layouts", params={"module": "Rivers"}).json()["code"] == "INVALID_MODULE"


def test_the_view_that_feeds_the_list_is_described(reader):
    answer = reader.get(f"{SETTINGS}/custom_views", params={"module": "Contacts"}).json()
    (view,) = answer["custom_views"]
    assert view["id"] == answer["info"]["default"] == names.VIEWS["Contacts"]
    assert view["criteria"]["field"]["api_name"] == "Newsletter"
    one = reader.get(f"{SETTINGS}/custom_views/{view['id']}", params={"module": "Contacts"})
    assert one.json()["custom_views"] == [view]


def test_a_profile_lists_what_it_permits(reader):
    profiles = reader.get(f"{SETTINGS}/profiles").json()["profiles"]
    rights = {
        profile["name"]: {
            right["name"]
            for right in reader.get(f"{SETTINGS}/profiles/{profile['id']}").json()["profiles"][0][
                "permissions_details"
            ]
            if right["enabled"]
        }
        for profile in profiles
    }
    assert "Crm_Implied_Edit_Contacts" in rights["Administrator"] - rights["Standard"]
    assert reader.get(f"{SETTINGS}/profiles/1").json()["code"] == "INVALID_DATA"


def test_users_are_listed_by_type(reader):
    def count(kind):
        answer = reader.get("/crm/v8/users", params={"type": kind})
        return len(answer.json()["users"]) if answer.status_code == 200 else 0

    assert (count("AllUsers"), count("AdminUsers"), count("CurrentUser")) == (4, 2, 1)
    assert count("DeactiveUsers") == 0
    assert reader.get("/crm/v8/users", params={"type": "Nobody"}).json()["code"] == "INVALID_DATA"
    (me,) = reader.get("/crm/v8/users", params={"type": "CurrentUser"}).json()["users"]
    assert reader.get(f"/crm/v8/users/{me['id']}").json()["users"] == [me]


def test_features_are_told_whole_or_one_by_one(reader):
    every = reader.get("/crm/v8/__features").json()["__features"]
    assert reader.get("/crm/v8/__features/user_licenses").json()["__features"] == [every[0]]
    assert reader.get("/crm/v8/__features/teleport").status_code == 204


def test_the_duplicate_preference_is_set_changed_and_dropped(sim, zoho):
    where = {"url": f"{SETTINGS}/duplicate_check_preference", "params": {"module": "Leads"}}
    assert zoho.get(**where).status_code == 204
    body = {"duplicate_check_preference": {"type": "converted_records"}}
    assert zoho.post(**where, json=body).status_code == 201
    preference = zoho.get(**where).json()["duplicate_check_preference"]
    assert preference == {"type_configurations": None, "type": "converted_records"}
    body["duplicate_check_preference"]["type"] = "guesswork"
    assert zoho.put(**where, json=body).json()["code"] == "INVALID_DATA"
    assert zoho.delete(**where).status_code == 200
    assert zoho.get(**where).status_code == 204
    assert zoho.get(where["url"], params={"module": "Contacts"}).json()["code"] == "INVALID_MODULE"


def test_a_bounce_in_crm_is_on_the_mail_and_never_in_the_flag(sim, zoho, somebody, address):
    assert zoho.get(f"{address}/Emails").status_code == 204
    sim.control("crm/bounce", {"email": somebody, "type": "hard"})
    answer = zoho.get(f"{address}/Emails").json()
    (status,) = answer["Emails"][0]["status"]
    assert list(status) == ["type", "bounced_time", "bounced_reason", "category", "sub_category"]
    assert (status["type"], status["category"]) == ("bounced", "permanent")
    assert answer["info"]["more_records"] is False
    assert zoho.get(address).json()["data"][0]["Email_Opt_Out"] is False
    assert (
        zoho.post(f"{address}/actions/unblock_email", json={"unblock_fields": ["Email"]}).status_code == 200
    )
    wrong = zoho.post(f"{address}/actions/unblock_email", json={"unblock_fields": ["Phone"]})
    assert wrong.json()["code"] == "INVALID_DATA"


def test_the_scope_that_unblocks_is_one_of_two_by_switch(sim, zoho, record):
    body = {"unblock_fields": ["Email"], "ids": [record["id"], "77"]}
    path = f"/crm/v8/{record['module']}/actions/unblock_email"
    assert zoho.post(path, json=body).status_code == 207
    sim.control("switches", {"crm.unblock_scope": "ZohoCRM.send_mail.{module}.CREATE"})
    assert zoho.post(path, json=body).json()["code"] == "OAUTH_SCOPE_MISMATCH"


def test_tags_come_and_go(zoho, record, address):
    body = {"tags": [{"name": "consent-hold"}], "ids": [record["id"], "77"]}
    answer = zoho.post(f"/crm/v8/{record['module']}/actions/add_tags", json=body)
    assert answer.status_code == 207
    assert answer.json()["data"][0]["details"]["tags"] == ["consent-hold"]
    (gone,) = zoho.post(f"{address}/actions/remove_tags", json={"tags": body["tags"]}).json()["data"]
    assert gone["details"]["tags"] == []


def test_notes_hang_on_their_record(zoho, record, address):
    assert zoho.get(f"{address}/Notes").status_code == 204
    added = zoho.post(f"{address}/Notes", json={"data": [{"Note_Content": "asked to stop"}]})
    assert added.status_code == 201
    parent = {"module": {"api_name": record["module"]}, "id": record["id"]}
    zoho.post("/crm/v8/Notes", json={"data": [{"Note_Content": "by phone", "Parent_Id": parent}]})
    notes = zoho.get(f"{address}/Notes").json()["data"]
    assert [note["Note_Content"] for note in notes] == ["by phone", "asked to stop"]
    assert zoho.post(f"{address}/Notes", json={"data": [{}]}).json()["data"][0]["code"] == (
        "MANDATORY_NOT_FOUND"
    )


def test_an_unchanged_record_is_304(zoho, record, address):
    later = {"If-Modified-Since": "2090-01-01T00:00:00+00:00"}
    assert zoho.get(address, headers=later).status_code == 304
    assert zoho.get(address, headers={"If-Modified-Since": record["Modified_Time"]}).status_code == 200
    assert zoho.get("/crm/v8/users", headers=later).status_code == 304


@pytest.mark.parametrize(
    ("switch", "path", "params"),
    [
        ("crm.concurrent_calls", "/crm/v8/org", {}),
        ("crm.sub_concurrent_calls", CONTACTS, {"fields": "Email", "sort_by": "Modified_Time"}),
    ],
)
def test_calls_beyond_the_concurrency_limit_are_429(sim, zoho, switch, path, params):
    sim.control("switches", {switch: 2, "crm.latency_ms": 150})
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: zoho.get(path, params=params).status_code, range(4)))
    assert sorted(answers) == [200, 200, 429, 429]
    assert zoho.get(path, params=params).status_code == 200


def test_light_calls_do_not_count_against_the_smaller_limit(sim, zoho):
    sim.control("switches", {"crm.sub_concurrent_calls": 1, "crm.latency_ms": 100})
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: zoho.get("/crm/v8/org").status_code, range(4)))
    assert answers == [200] * 4


def test_a_mail_to_somebody_who_opted_out_is_refused_and_any_other_is_sent(sim, sign_in, record):
    scopes = "ZohoCRM.send_mail.ALL ZohoCRM.modules.ALL"
    sim.control("switches", {"oauth.scopes": scopes})
    zoho, address = sign_in(), f"/crm/v8/{record['module']}/{record['id']}"
    mail = {"from": {"email": "a@example.org"}, "to": [{"email": record["Email"]}], "subject": "Hello"}

    def send(**more):
        return zoho.post(f"{address}/actions/send_mail", json={"data": [{**mail, **more}]})

    assert send().json()["data"][0]["code"] == "SUCCESS"
    assert zoho.get(f"{address}/Emails").json()["Emails"][0]["subject"] == "Hello"
    assert send(subject="").json()["details"]["json_path"] == "$.data[0].subject"
    zoho.put(address, json={"data": [{"Email_Opt_Out": True}], "trigger": []})
    refused = send()
    assert (refused.status_code, refused.json()["code"]) == (403, "NO_PERMISSION")
    assert "Email Opt Out" in refused.json()["message"]


def test_an_admins_rarer_calls_have_an_answer(zoho):
    assert zoho.get(f"{SETTINGS}/unsubscribe_link/actions/associations").status_code == 204
    assert zoho.get(f"{SETTINGS}/audit_log_export").status_code == 204
    ordered = zoho.post(f"{SETTINGS}/audit_log_export", json={}).json()["audit_log_export"][0]
    (done,) = zoho.get(f"{SETTINGS}/audit_log_export").json()["audit_log_export"]
    assert (done["id"], done["status"]) == (ordered["details"]["id"], "completed")
    usage = f"{SETTINGS}/automation/webhooks/actions/usage_reports"
    assert zoho.get(usage).status_code == 204
    hook = {"name": "tell", "url": "http://127.0.0.1:9/", "module": {"api_name": "Contacts"}}
    zoho.post(f"{SETTINGS}/automation/webhooks", json={"webhooks": [hook]})
    (report,) = zoho.get(usage).json()["usage_reports"]
    assert (report["webhook"]["name"], report["failure_count"]) == ("tell", 0)


@pytest.mark.parametrize("carries", [False, True])
def test_each_field_of_a_leads_layout_tells_where_it_goes_on_conversion(sim, zoho, carries):
    sim.control("switches", {"crm.conversion_carries_optout": carries})
    (leads,) = zoho.get(f"{SETTINGS}/layouts", params={"module": "Leads"}).json()["layouts"]
    goes = {
        field["api_name"]: (field["convert_mapping"]["Contacts"] or {}).get("api_name")
        for field in leads["sections"][0]["fields"]
    }
    assert (goes["Email"], goes["Country"], goes["Newsletter"]) == ("Email", "Mailing_Country", None)
    assert goes["Email_Opt_Out"] == ("Email_Opt_Out" if carries else None)
    (contacts,) = zoho.get(f"{SETTINGS}/layouts", params={"module": "Contacts"}).json()["layouts"]
    assert {field["convert_mapping"] for field in contacts["sections"][0]["fields"]} == {None}

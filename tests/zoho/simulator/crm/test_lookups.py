"""One record, the deleted ones, search and timeline."""

CONTACTS = "/crm/v8/Contacts"


def any_contact(client):
    return client.get(CONTACTS, params={"fields": "Email", "per_page": 1}).json()["data"][0]


def test_one_record_comes_with_every_field_and_times_with_an_offset(reader):
    record = any_contact(reader)
    (whole,) = reader.get(f"{CONTACTS}/{record['id']}").json()["data"]
    assert whole["Email"] == record["Email"]
    assert {"Mailing_Country", "Secondary_Email", "Unsubscribed_Mode", "Owner"} <= set(whole)
    assert whole["Created_Time"].endswith("+05:30")
    assert set(whole["Modified_By"]) == {"name", "id", "email"}


def test_a_whole_record_carries_the_keys_of_the_system(sim, zoho, somebody):
    (found,) = zoho.get(f"{CONTACTS}/search", params={"email": somebody}).json()["data"]
    module, address = "Contacts", f"{CONTACTS}/{found['id']}"
    body = {"tags": [{"name": "hold"}], "ids": [found["id"]]}
    zoho.post(f"/crm/v8/{module}/actions/add_tags", json=body)
    (whole,) = zoho.get(address).json()["data"]
    free = {
        "$approved": True,
        "$editable": True,
        "$in_merge": False,
        "$locked_for_me": False,
        "Locked__s": False,
        "Record_Status__s": "Available",
        "Layout": {"name": "Standard", "id": "5725767000000091057", "display_label": "Standard"},
        "Tag": [{"name": "hold", "id": None, "color_code": None}],
    }
    assert whole.items() >= free.items()
    sim.control("crm/lock", {"email": somebody})
    (locked,) = zoho.get(address).json()["data"]
    assert (locked["Locked__s"], locked["$locked_for_me"], locked["$editable"]) == (True, True, False)
    assert "Layout" not in zoho.get(address, params={"fields": "Email"}).json()["data"][0]


def test_an_unknown_id_is_204_or_400_by_switch(sim, zoho):
    assert zoho.get(f"{CONTACTS}/12").status_code == 204
    sim.control("switches", {"crm.unknown_id": "400"})
    answer = zoho.get(f"{CONTACTS}/12")
    assert (answer.status_code, answer.json()["message"]) == (400, "the id given seems to be invalid")


def test_a_deleted_record_is_listed_and_gone(zoho):
    record = any_contact(zoho)
    assert zoho.get(f"{CONTACTS}/deleted").status_code == 204
    answer = zoho.request("DELETE", CONTACTS, params={"ids": record["id"]})
    assert answer.json()["data"][0]["message"] == "record deleted"
    (gone,) = zoho.get(f"{CONTACTS}/deleted").json()["data"]
    assert (gone["id"], gone["type"], gone["deleted_by"]["name"]) == (
        record["id"],
        "recycle",
        "Consent Ledger",
    )
    assert zoho.get(f"{CONTACTS}/deleted", params={"type": "permanent"}).status_code == 204
    assert zoho.get(f"{CONTACTS}/deleted", params={"type": "some"}).json()["code"] == "PATTERN_NOT_MATCHED"
    assert zoho.get(f"{CONTACTS}/{record['id']}").status_code == 204


def test_search_finds_an_address_exactly_or_by_part(sim, zoho):
    email = any_contact(zoho)["Email"]
    assert zoho.get(f"{CONTACTS}/search", params={"email": email[:-1]}).status_code == 204
    found = zoho.get(f"{CONTACTS}/search", params={"email": email}).json()
    assert {record["Email"].lower() for record in found["data"]} == {email.lower()}
    assert list(found["info"]) == ["per_page", "count", "page", "more_records"]
    sim.control("switches", {"crm.search_email": "partial"})
    assert zoho.get(f"{CONTACTS}/search", params={"email": email[:-1]}).status_code == 200


def test_equals_in_search_criteria_means_contains(reader):
    answer = reader.get(
        f"{CONTACTS}/search", params={"criteria": "(Last_Name:equals:er)", "fields": "Last_Name"}
    )
    assert all("er" in record["Last_Name"].lower() for record in answer.json()["data"])


def test_a_search_for_nothing_says_what_it_could_search(reader):
    answer = reader.get(f"{CONTACTS}/search")
    assert answer.json()["code"] == "EXPECTED_PARAM_MISSING"
    assert answer.json()["details"] == {"param_names": ["criteria", "email", "phone", "word"]}


def test_the_timeline_tells_who_flipped_the_flag_and_by_which_way(sim, zoho, somebody):
    sim.control("crm/set", {"email": somebody, "fields": {"Email_Opt_Out": True}, "by": "Mona Ek"})
    (record,) = sim.control("person", {"email": somebody})["crm"]
    entry = zoho.get(f"/crm/v8/{record['module']}/{record['id']}/__timeline").json()["__timeline"][0]
    assert (entry["source"], entry["done_by"]["name"]) == ("crm_ui", "Mona Ek")
    assert entry["field_history"] == [
        {"api_name": "Email_Opt_Out", "_value": {"new": "true", "old": "false"}}
    ]

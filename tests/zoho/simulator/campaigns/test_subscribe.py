"""Writing to Campaigns: what moves, what stays, and what the answers conceal."""

import json

import pytest

from service.zoho.simulator import names

JSON = {"resfmt": "JSON"}


@pytest.fixture
def write(zoho):
    def send(call, email, *, listkey=names.LIST_KEY, fields=None, **params):
        info = json.dumps({"Contact Email": email, **(fields or {})})
        data = {**JSON, "listkey": listkey, "contactinfo": info, **params}
        answer = zoho.post(f"/api/v1.1/json/{call}", data=data)
        assert answer.status_code == 200
        return answer.json()

    return send


@pytest.fixture
def status(sim):
    def look(email, listkey=names.LIST_KEY):
        return sim.control("person", {"email": email})["campaigns"]["lists"].get(listkey)

    return look


def test_a_new_address_joins_a_list_without_a_form_at_once(write, status):
    body = write("listsubscribe", "New@Example.com")
    assert (body["status"], body["code"], body["uri"]) == ("success", "0", "/api/v1.1/json/listsubscribe")
    assert status("new@example.com") == "active"


def test_a_list_with_a_form_waits_for_the_confirmation(sim, write, status):
    body = write("listsubscribe", "new@example.com", listkey=names.SIGNUP_LIST_KEY)
    assert body == {
        "message": "A confirmation email is sent to the user. "
        "User needs to confirm to successfully subscribe.",
        "status": "success",
        "code": "0",
        "uri": "/api/v1.1/json/listsubscribe",
        "version": "1.1",
    }
    assert status("new@example.com", names.SIGNUP_LIST_KEY) == "awaiting"
    sim.control("campaigns/confirm", {"email": "new@example.com", "listkey": names.SIGNUP_LIST_KEY})
    assert status("new@example.com", names.SIGNUP_LIST_KEY) == "active"


def test_an_active_member_gets_its_fields_updated_and_stays(sim, write, status, somebody):
    write("listsubscribe", somebody, fields={"Marketing Permission": "Refused", "No such field": "x"})
    assert status(somebody) == "active"
    fields = sim.control("person", {"email": somebody})["campaigns"]["fields"]
    assert fields["Marketing Permission"] == "Refused"
    assert "No such field" not in fields


def test_who_left_a_list_is_put_back_by_subscribing(write, status, somebody):
    write("listunsubscribe", somebody)
    assert status(somebody) == "unsub"
    write("listsubscribe", somebody)
    assert status(somebody) == "active"


def test_unsubscribing_is_not_do_not_mail(sim, write, somebody):
    body = write("listunsubscribe", somebody)
    assert body["message"] == "User successfully unsubscribed."
    assert sim.control("person", {"email": somebody})["campaigns"]["dnm"] is False


def test_unsubscribing_a_stranger_is_2103_or_2101_by_switch(sim, write):
    assert write("listunsubscribe", "stranger@example.com")["code"] == "2103"
    sim.control("switches", {"campaigns.unsubscribe_unknown": "2101"})
    assert write("listunsubscribe", "stranger@example.com")["code"] == "2101"


def test_do_not_mail_empties_the_lists_and_says_so_only_once(sim, write, status, somebody):
    first, second = write("contactdonotmail", somebody), write("contactdonotmail", somebody)
    assert (first["code"], first["message"]) == ("0", "User successfully moved to Do-Not-Mail.")
    assert (second["code"], second["message"]) == ("0", "User already in Do-Not-Mail.")
    assert status(somebody) == "unsub"
    assert sim.control("person", {"email": somebody})["campaigns"]["dnm"] is True


def test_do_not_mail_for_a_stranger_is_2103_or_adds_it_by_switch(sim, write):
    assert write("contactdonotmail", "stranger@example.com")["code"] == "2103"
    sim.control("switches", {"campaigns.dnm_unknown": "added"})
    assert write("contactdonotmail", "stranger@example.com")["code"] == "0"
    assert sim.control("person", {"email": "stranger@example.com"})["campaigns"]["dnm"] is True


def test_do_not_mail_keeps_out_until_the_flag_nobody_documents(sim, write, status, somebody):
    write("contactdonotmail", somebody)
    assert write("listsubscribe", somebody)["code"] == "2006"
    assert status(somebody) == "unsub"
    sim.control("switches", {"campaigns.subscribe_dnm": "noop"})
    assert write("listsubscribe", somebody)["code"] == "0"
    assert status(somebody) == "unsub"
    assert write("listsubscribe", somebody, donotmail_resub="true")["code"] == "0"
    assert status(somebody) == "active"
    assert sim.control("person", {"email": somebody})["campaigns"]["dnm"] is False


def test_a_hard_bounce_is_never_added_again_whatever_the_answer_says(sim, write, status):
    (email, *_) = sim.control("truth/hard_bounce_not_in_crm")["emails"]
    assert write("listsubscribe", email)["code"] == "0"
    assert status(email) == "bounce"
    sim.control("switches", {"campaigns.subscribe_hard_bounced": "2001"})
    assert write("listsubscribe", email)["code"] == "2001"


@pytest.mark.parametrize(
    ("email", "code"),
    [
        ("no-address", "2004"),
        ("a@b", "2004"),
        ("", "2004"),
        ("info@example.com", "2005"),
        ("Support@example.com", "2005"),
    ],
)
def test_bad_and_role_addresses_are_refused(write, email, code):
    assert write("listsubscribe", email)["code"] == code


def test_the_documented_pseudo_json_is_read_as_well(zoho, status):
    info = "{First Name:Mac,Contact Email:mac@example.com}"
    params = {**JSON, "listkey": names.LIST_KEY, "contactinfo": info}
    assert zoho.post("/api/v1.1/json/listsubscribe", params=params).json()["code"] == "0"
    assert status("mac@example.com") == "active"


def test_these_three_calls_take_post_only(zoho):
    assert zoho.get("/api/v1.1/json/listsubscribe", params=JSON).text.startswith("<response")


def test_a_topic_can_be_left_and_joined_again(sim, write, somebody):
    def left():
        return sim.world.db.execute("SELECT count(*) FROM topic_optouts").fetchone()[0]

    write("listunsubscribe", somebody, topic_id=names.TOPIC_ID)
    assert left() == 1
    write("listsubscribe", somebody, topic_id=names.TOPIC_ID)
    assert left() == 0


def test_bulk_takes_ten_addresses_and_skips_who_is_kept_out_without_a_word(
    sim, zoho, status, write, somebody
):
    write("contactdonotmail", somebody)
    path, base = "/api/v1.1/addlistsubscribersinbulk", {**JSON, "listkey": names.LIST_KEY}
    body = zoho.post(
        path, params={**base, "emailids": f"one@example.com,{somebody},sales@example.com"}
    ).json()
    assert body == {
        "status": "success",
        "listkey": names.LIST_KEY,
        "code": "0",
        "url": path,
        "listname": "Newsletter",
        "version": "1.1",
    }
    assert (status("one@example.com"), status(somebody), status("sales@example.com")) == (
        "active",
        "unsub",
        None,
    )
    eleven = ",".join(f"p{number}@example.com" for number in range(11))
    assert zoho.post(path, params={**base, "emailids": eleven}).json()["status"] == "error"


@pytest.mark.parametrize("call", ["listunsubscribe", "contactdonotmail"])
def test_leaving_changes_the_type_only_by_switch(sim, write, somebody, call):
    def permission():
        return sim.control("person", {"email": somebody})["campaigns"]["fields"][names.PERMISSION_LABEL]

    sim.control("switches", {"campaigns.optout_sets_type": True})
    assert permission() == names.GRANTED
    write(call, somebody)
    assert permission() == names.REFUSED


def test_leaving_leaves_the_type_alone_otherwise(sim, write, somebody):
    write("contactdonotmail", somebody)
    assert (
        sim.control("person", {"email": somebody})["campaigns"]["fields"][names.PERMISSION_LABEL]
        == names.GRANTED
    )


def test_a_value_that_is_too_long_is_dropped_and_the_contact_joins_all_the_same(sim, zoho):
    member = {"Contact Email": "long@example.com", "First Name": "x" * 101, "Last Name": "y" * 100}
    params = {"resfmt": "JSON", "listkey": names.LIST_KEY, "contactinfo": json.dumps(member)}
    assert zoho.post("/api/v1.1/json/listsubscribe", params=params).json()["code"] == "0"
    person = sim.control("person", {"email": "long@example.com"})["campaigns"]
    assert (person["fields"]["First Name"], person["fields"]["Last Name"]) == (None, "y" * 100)
    assert person["lists"] == {names.LIST_KEY: "active"}


def test_a_bulk_add_may_take_effect_and_answer_with_a_code_that_nobody_explains(sim, zoho):
    sim.control("switches", {"campaigns.bulk_answer": "Z101"})
    params = {"resfmt": "JSON", "listkey": names.LIST_KEY, "emailids": "bulk@example.com"}
    answer = zoho.post("/api/v1.1/addlistsubscribersinbulk", params=params).json()
    assert (answer["status"], answer["code"], answer["message"]) == ("error", "Z101", "")
    lists = sim.control("person", {"email": "bulk@example.com"})["campaigns"]["lists"]
    assert lists == {names.LIST_KEY: "active"}

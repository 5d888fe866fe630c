"""Channels: made, read, changed, dropped, expired; and what they are told."""

from datetime import UTC, datetime

import pytest

from tests.zoho.simulator.receiver import delivered

WATCH = "/crm/v8/actions/watch"
CONTACTS = "/crm/v8/Contacts"
CHANNEL = "1000000068001"


def channel(url="http://127.0.0.1:9/n", **more):
    return {"channel_id": CHANNEL, "events": ["Contacts.all", "Leads.all"], "notify_url": url, **more}


def enable(zoho, *channels):
    return zoho.post(WATCH, json={"watch": list(channels)})


def in_days(sim, days):
    return datetime.fromtimestamp(sim.control("clock")["now"] + int(days * 86_400), UTC).isoformat()


@pytest.fixture
def record(sim, somebody):
    (record, *_) = sim.control("person", {"email": somebody})["crm"]
    return record


def test_enabling_answers_with_one_event_per_module(sim, zoho):
    answer = enable(zoho, channel())
    (item,) = answer.json()["watch"]
    assert answer.status_code == 201
    assert item["message"] == "Successfully subscribed for actions-watch of the given module"
    assert [event["resource_name"] for event in item["details"]["events"]] == ["Contacts", "Leads"]
    assert item["details"]["events"][0]["resource_uri"] == f"{sim.url}/crm/v2/Contacts"


@pytest.mark.parametrize(
    ("days", "longest", "kept"), [(6.9, 7, True), (7.1, 7, False), (None, 7, False), (2, 1, False)]
)
def test_no_expiry_or_one_too_far_away_means_an_hour(sim, zoho, days, longest, kept):
    sim.control("switches", {"watch.longest_days": longest})
    asked = {} if days is None else {"channel_expiry": in_days(sim, days)}
    (item,) = enable(zoho, channel(**asked)).json()["watch"]
    shown = datetime.fromisoformat(item["details"]["events"][0]["channel_expiry"])
    left_s = shown.timestamp() - sim.control("clock")["now"]
    assert (left_s > 3_700) is kept
    assert kept or 3_590 <= left_s <= 3_600


def test_an_expired_channel_is_gone_and_cannot_be_renewed(sim, zoho, sign_in):
    enable(zoho, channel())
    sim.control("clock", {"advance_s": 3_601})
    zoho = sign_in()
    assert zoho.get(WATCH).status_code == 204
    for method in (zoho.patch, zoho.put):
        answer = method(WATCH, json={"watch": [channel()]})
        assert answer.status_code == 400
        assert answer.json() == {
            "watch": [
                {
                    "code": "NOT_SUBSCRIBED",
                    "details": {},
                    "message": "Not subscribed for actions-watch of the given channel",
                    "status": "error",
                }
            ]
        }
    assert zoho.delete(WATCH, params={"channel_ids": CHANNEL}).status_code == 400
    assert enable(zoho, channel()).status_code == 201


def test_details_are_listed_by_channel_and_module(zoho):
    assert zoho.get(WATCH).status_code == 204
    enable(zoho, channel(token="s3cret"))
    both = zoho.get(WATCH).json()
    assert [entry["resource_name"] for entry in both["watch"]] == ["Contacts", "Leads"]
    assert both["info"] == {"per_page": 200, "count": 2, "page": 1, "more_records": False}
    (one,) = zoho.get(WATCH, params={"module": "Leads", "channel_id": CHANNEL}).json()["watch"]
    assert (one["events"], one["token"], one["notify_on_related_action"]) == (["Leads.all"], "s3cret", True)
    assert zoho.get(WATCH, params={"channel_id": "5"}).status_code == 204


def test_a_patch_changes_what_it_names_and_may_take_events_off(zoho):
    enable(zoho, channel(token="old"))
    answer = zoho.patch(WATCH, json={"watch": [{"channel_id": CHANNEL, "token": "new"}]})
    assert answer.json()["watch"][0]["message"] == "Successfully updated the subscribe details"
    entry = zoho.get(WATCH, params={"module": "Contacts"}).json()["watch"][0]
    assert (entry["token"], entry["events"]) == ("new", ["Contacts.all"])
    gone = {"channel_id": CHANNEL, "events": ["Leads.all"], "_delete_events": True}
    (item,) = zoho.patch(WATCH, json={"watch": [gone]}).json()["watch"]
    assert item["message"] == "Successfully removed the subscribe details"
    assert [entry["resource_name"] for entry in zoho.get(WATCH).json()["watch"]] == ["Contacts"]


def test_a_put_replaces_the_whole_channel(zoho):
    enable(zoho, channel(token="old"))
    zoho.put(WATCH, json={"watch": [channel(events=["Contacts.edit"])]})
    (entry,) = zoho.get(WATCH).json()["watch"]
    assert (entry["events"], entry["token"]) == (["Contacts.edit"], None)


def test_unsubscribing_ends_it(zoho):
    enable(zoho, channel())
    (item,) = zoho.delete(WATCH, params={"channel_ids": CHANNEL}).json()["watch"]
    assert item["message"] == "Successfully un-subscribed from actions-watch"
    assert zoho.get(WATCH).status_code == 204
    assert zoho.delete(WATCH).json()["code"] == "REQUIRED_PARAM_MISSING"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"channel_id": None}, "MANDATORY_NOT_FOUND"),
        ({"channel_id": "abc"}, "INVALID_DATA"),
        ({"events": ["Rivers.all"]}, "INVALID_DATA"),
        ({"events": ["Contacts.read"]}, "INVALID_DATA"),
        ({"notify_url": "mailto:x"}, "INVALID_DATA"),
        ({"token": "x" * 51}, "INVALID_DATA"),
        (
            {"notification_condition": [{"field_selection": {"group": [{"field": {"api_name": "E"}}] * 11}}]},
            "LIMIT_EXCEEDED",
        ),
    ],
)
def test_a_channel_that_makes_no_sense_is_refused(zoho, change, code):
    answer = enable(zoho, channel(**change))
    assert (answer.status_code, answer.json()["watch"][0]["code"]) == (400, code)


@pytest.mark.parametrize("status", ["207", "202"])
def test_good_and_bad_channels_together_are_207_or_202(sim, zoho, status):
    sim.control("switches", {"watch.mixed_status": status, "watch.token_length": 256})
    answer = enable(zoho, channel(token="x" * 256), channel(events=["No.all"]))
    assert answer.status_code == int(status)
    assert enable(zoho, *[channel()] * 101).json()["code"] == "LIMIT_EXCEEDED"


def test_an_update_tells_the_fields_and_their_values_byte_for_byte(sim, zoho, record, receiver):
    enable(zoho, channel(f"{receiver.url}/n?k=v", token="s3cret", return_affected_field_values=True))
    zoho.put(f"/crm/v8/{record['module']}", json={"data": [{"id": record["id"], "Email_Opt_Out": True}]})
    (body,) = receiver.wait(1)
    assert list(body) == [
        *("server_time", "affected_values", "query_params", "module", "resource_uri"),
        *("ids", "affected_fields", "operation", "channel_id", "token"),
    ]
    assert body | {"server_time": 0} == {
        "server_time": 0,
        "affected_values": [{"record_id": record["id"], "values": {"Email_Opt_Out": True}}],
        "query_params": {"k": "v"},
        "module": record["module"],
        "resource_uri": f"{sim.url}/crm/v2/{record['module']}",
        "ids": [record["id"]],
        "affected_fields": [{record["id"]: ["Email_Opt_Out"]}],
        "operation": "update",
        "channel_id": CHANNEL,
        "token": "s3cret",
    }
    assert receiver.requests[0][1]["content-type"] == "application/json"


def test_inserts_carry_no_values_and_deletes_say_who(zoho, receiver):
    enable(zoho, channel(receiver.url, return_affected_field_values=True))
    number = zoho.post(CONTACTS, json={"data": [{"Last_Name": "New"}]}).json()["data"][0]["details"]["id"]
    zoho.delete(f"{CONTACTS}/{number}")
    insert, delete = receiver.wait(2)
    assert (insert["operation"], insert["affected_fields"], insert["ids"]) == ("insert", [], [number])
    assert "affected_values" not in insert
    assert (delete["operation"], delete["token"]) == ("delete", None)
    values = delete["affected_values"][0]["values"]
    assert (values["Record_Status__s"], values["Modified_By"]["name"]) == (0, "Consent Ledger")


def test_a_batch_is_one_notification_and_a_users_tick_another(sim, zoho, somebody, receiver):
    enable(zoho, channel(receiver.url))
    ids = [r["id"] for r in zoho.get(CONTACTS, params={"fields": "Email", "per_page": 3}).json()["data"]]
    zoho.put(CONTACTS, json={"data": [{"id": number, "Last_Name": "Same"} for number in ids]})
    sim.control("crm/set", {"email": somebody, "fields": {"Email_Opt_Out": True}})
    batch, tick = receiver.wait(2)
    assert batch["ids"] == ids
    assert "affected_values" not in batch
    assert [list(one.values()) for one in tick["affected_fields"]] == [[["Email_Opt_Out"]]]


def test_a_condition_lets_only_its_fields_through(zoho, record, receiver):
    field = {"field": {"api_name": "Email_Opt_Out", "id": "1"}}
    condition = {"type": "field_selection", "module": {"api_name": record["module"]}}
    condition["field_selection"] = {"group_operator": "or", "group": [field]}
    enable(zoho, channel(receiver.url, notification_condition=[condition]))
    address = f"/crm/v8/{record['module']}"
    zoho.put(address, json={"data": [{"id": record["id"], "Last_Name": "Other"}]})
    zoho.put(address, json={"data": [{"id": record["id"], "Email_Opt_Out": True}]})
    (body,) = receiver.wait(1)
    assert body["affected_fields"] == [{record["id"]: ["Email_Opt_Out"]}]


def test_a_channel_hears_only_its_own_events(zoho, receiver):
    enable(zoho, channel(receiver.url, events=["Contacts.delete"]))
    number = zoho.post(CONTACTS, json={"data": [{"Last_Name": "New"}]}).json()["data"][0]["details"]["id"]
    zoho.delete(f"{CONTACTS}/{number}")
    (body,) = receiver.wait(1)
    assert body["operation"] == "delete"


def test_notifications_come_twice_late_out_of_order_or_never_by_switch(sim, zoho, receiver):
    enable(zoho, channel(receiver.url))

    def names(count, **switches):
        receiver.requests.clear()
        sim.control("switches", {name.replace("__", "."): value for name, value in switches.items()})
        made = [
            zoho.post(CONTACTS, json={"data": [{"Last_Name": "N"}]}).json()["data"][0]["details"]["id"]
            for _ in range(2)
        ]
        return [made.index(body["ids"][0]) for body in receiver.wait(count)]

    assert names(4, watch__duplicate_every=1) == [0, 0, 1, 1]
    assert names(2, watch__duplicate_every=0, watch__reorder=True) == [1, 0]
    assert names(1, watch__reorder=False, watch__lose_every=2) in ([0], [1])


def test_a_held_notification_is_not_lost_when_nothing_follows(sim, zoho, receiver):
    sim.control("switches", {"watch.reorder": True})
    enable(zoho, channel(receiver.url))
    zoho.post(CONTACTS, json={"data": [{"Last_Name": "Alone"}]})
    sim.control("clock", {"advance_s": 2})
    assert len(receiver.wait(1)) == 1


def test_a_failed_delivery_is_tried_again_only_by_switch(sim, zoho, receiver):
    receiver.status = 500
    enable(zoho, channel(receiver.url))
    zoho.post(CONTACTS, json={"data": [{"Last_Name": "A"}]})
    assert delivered(sim, 1)[0]["outcome"] == "500"
    assert len(receiver.requests) == 1
    sim.control("switches", {"watch.retries": 5})
    zoho.post(CONTACTS, json={"data": [{"Last_Name": "B"}]})
    receiver.wait(3)
    receiver.status = 200
    assert delivered(sim, 2)[1]["outcome"] == "200"


def test_only_loopback_is_notified(sim, zoho):
    enable(zoho, channel("https://h.example.com/n"))
    zoho.post(CONTACTS, json={"data": [{"Last_Name": "A"}]})
    assert delivered(sim, 1)[0]["outcome"].startswith("not called")


def test_what_a_user_deletes_is_told_too(sim, zoho, somebody, receiver):
    enable(zoho, channel(receiver.url))
    sim.control("crm/delete", {"email": somebody})
    (body,) = receiver.wait(1)
    assert body["operation"] == "delete"

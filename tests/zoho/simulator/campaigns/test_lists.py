"""Lists, their members by status, segments, topics and fields."""

import pytest

from service.zoho.simulator import names

JSON = {"resfmt": "JSON"}
LIST = {"listkey": names.LIST_KEY, **JSON}
SUBSCRIBERS = "/api/v1.1/getlistsubscribers"


def members(client, path=SUBSCRIBERS, size=500, **params):
    """Page through a listing until it says in its own way that it has ended."""
    rows, start = [], 1
    while True:
        body = client.get(path, params={**LIST, **params, "range": size, "fromindex": start}).json()
        if body["status"] == "error":
            assert body["code"] in ("2502", "2604")
            return rows
        rows += body["list_of_details"]
        start += size


def test_the_lists_are_rows_of_text(reader):
    body = reader.get("/api/v1.1/getmailinglists", params=JSON).json()
    newsletter = next(row for row in body["list_of_details"] if row["listkey"] == names.LIST_KEY)
    assert {type(value) for key, value in newsletter.items() if key != "segments"} == {str}
    assert set(newsletter["segments"]) == {names.GRANTED_SEGMENT, names.REFUSED_SEGMENT}
    assert newsletter["listname"] == "Newsletter"
    assert body["requestdetails"]["total_list_count"] == "2"


@pytest.mark.parametrize("status", ["active", "unsub", "bounce"])
def test_pages_of_a_status_hold_every_member_once(reader, still, status):
    rows = members(reader, status=status, size=100)
    emails = [row["contact_email"] for row in rows]
    assert len(emails) == len(set(emails)) == still.control("state")[status]
    body = reader.get("/api/v1.1/listsubscriberscount", params={**LIST, "status": status}).json()
    assert body == {"status": "success", "code": 0, "no_of_contacts": len(emails)}


def test_a_page_holds_twenty_rows_unless_asked_and_650_at_most(reader, sim, zoho):
    def count(client, **params):
        return client.get(SUBSCRIBERS, params={**LIST, **params}).json()

    assert len(count(reader)["list_of_details"]) == 20
    assert len(count(reader, range=5000)["list_of_details"]) == 650
    sim.control("switches", {"campaigns.range_over_max": "6502"})
    assert count(zoho, range=651)["code"] == "6502"
    assert count(zoho, range="many")["code"] == "1005"


def test_a_row_is_text_with_null_spelled_out_and_epoch_milliseconds(reader):
    rows = members(reader)
    assert set(rows[0]) == {
        "firstname",
        "lastname",
        "companyname",
        "phone",
        "contact_email",
        "added_time",
        "zuid",
    }
    assert {type(value) for value in rows[0].values()} == {str}
    assert rows[0]["companyname"] == "null"
    assert rows[0]["added_time"].endswith("000")
    assert len(rows[0]["added_time"]) == 13


def test_the_end_of_a_list_is_an_error(reader):
    body = reader.get(SUBSCRIBERS, params={**LIST, "fromindex": 100_000}).json()
    assert (body["status"], body["code"]) == ("error", "2502")
    assert body["message"] == "Yet,There are no contacts in this list."


def test_descending_is_the_other_way_round(reader):
    up, down = members(reader, status="bounce"), members(reader, status="bounce", sort="desc")
    assert up == down[::-1]


def test_recent_members_are_those_of_the_window(sim, zoho):
    assert zoho.get(SUBSCRIBERS, params={**LIST, "status": "recent"}).json()["status"] in ("success", "error")
    info = '{"Contact Email":"fresh@example.com"}'
    zoho.post("/api/v1.1/json/listsubscribe", params={**LIST, "contactinfo": info})
    sim.control("switches", {"campaigns.recent_days": 1})
    assert [row["contact_email"] for row in members(zoho, status="mostrecent")] == ["fresh@example.com"]


def test_mandatory_parameters_and_bad_keys_have_codes_by_endpoint(reader):
    def code(path, **params):
        return reader.get(f"/api/v1.1/{path}", params={**JSON, **params}).json()["code"]

    assert code("getlistsubscribers") == "903"
    assert code("getlistsubscribers", listkey=names.LIST_KEY.upper()) == "2501"
    assert code("listsubscriberscount", listkey="x") == "2202"
    assert code("listsubscriberscount", listkey=names.LIST_KEY, status="gone") == "1001"
    assert code("getsegmentdetails", listkey="x", cvid=names.GRANTED_SEGMENT) == "2202"
    assert code("getsegmentcontacts", cvid="1") == "2603"


def test_a_segment_is_worked_out_from_the_field_when_asked(sim, zoho, somebody):
    def refused():
        params = {"cvid": names.REFUSED_SEGMENT}
        return {row["contact_email"] for row in members(zoho, "/api/v1.1/getsegmentcontacts", **params)}

    before = refused()
    assert before == set(sim.control("truth/permission_refused_in_campaigns")["emails"])
    info = f"{{Contact Email:{somebody},Marketing Permission:Refused}}"
    zoho.post("/api/v1.1/json/listsubscribe", params={**LIST, "contactinfo": info})
    assert refused() == before | {somebody}
    zoho.post("/api/v1.1/json/contactdonotmail", params={**JSON, "contactinfo": info})
    assert refused() == before
    sim.control("switches", {"campaigns.segment_members": "all"})
    assert refused() > before | {somebody}


def test_pages_of_a_segment_are_by_position_even_when_somebody_leaves_between_two(sim, zoho):
    segment = {"cvid": names.GRANTED_SEGMENT}

    def page(start):
        asked = {**LIST, **segment, "range": 5, "fromindex": start}
        rows = zoho.get("/api/v1.1/getsegmentcontacts", params=asked).json()["list_of_details"]
        return [row["contact_email"] for row in rows]

    whole = [row["contact_email"] for row in members(zoho, "/api/v1.1/getsegmentcontacts", **segment)]
    assert (page(1), page(6), page(11)) == (whole[:5], whole[5:10], whole[10:15])
    info = f"{{Contact Email:{whole[0]}}}"
    zoho.post("/api/v1.1/json/contactdonotmail", params={**JSON, "contactinfo": info})
    assert page(16) == whole[16:21]


def test_an_empty_segment_is_error_2604(sim, zoho):
    for email in sim.control("truth/permission_refused_in_campaigns")["emails"]:
        info = f"{{Contact Email:{email},Marketing Permission:Granted}}"
        zoho.post("/api/v1.1/json/listsubscribe", params={**LIST, "contactinfo": info})
    body = zoho.get("/api/v1.1/getsegmentcontacts", params={**JSON, "cvid": names.REFUSED_SEGMENT}).json()
    assert body["code"] == "2604"


def test_a_segments_criteria_come_as_one_text(reader):
    params = {**LIST, "cvid": names.GRANTED_SEGMENT}
    text = reader.get("/api/v1.1/getsegmentdetails", params=params).json()["segments_details"]
    assert "column_value=[Granted]" in text
    assert "column_name=[Marketing Permission]" in text


def test_the_topic_and_the_fields_nest_each_in_its_own_way(reader):
    topics = reader.get("/api/v1.1/topics", params={"details": "{from_index:0,range:100}"}).json()
    assert [topic["topicId"] for topic in topics["topicDetails"]] == [names.TOPIC_ID]
    fields = reader.get("/api/v1.1/contact/allfields", params={"type": "json"}).json()
    labels = [field["DISPLAY_NAME"] for field in fields["response"]["fieldnames"]["fieldname"]]
    assert labels[0] == "Contact Email"
    assert "Marketing Permission" in labels

"""Zoho's own Python SDK cannot tell the simulator from Zoho; what the SDK cannot see, exact bytes tell."""

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest

from service.zoho.simulator import running

PROGRAM = Path(__file__).parent / "official.py"
TIMEOUT_S = 90


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What the SDK saw of a simulator of 60 people, step by step."""
    with running(contacts=60, seed=3) as sim:
        done = subprocess.run(
            [sys.executable, PROGRAM, sim.url],
            cwd=tmp_path_factory.mktemp("sdk"),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=True,
        )
        return json.loads(base64.b64decode(done.stdout.strip().splitlines()[-1])) | {"base": sim.url}


def test_no_step_raised(seen):
    raised = {
        name: step["raised"] for name, step in seen.items() if isinstance(step, dict) and "raised" in step
    }
    assert raised == {}


def test_the_token_is_taken_and_the_sdk_stays_on_loopback(seen):
    assert seen["initialize"] == {"token": "1000.", "url": seen["base"]}


def test_a_grant_code_buys_the_sdk_a_refresh_token_which_it_can_take_back(seen):
    assert seen["granted"] == {"zgid": "7000000001", "refresh_token": "1000.", "revoked": True}


def test_organisation_users_and_fields_are_read(seen):
    assert seen["org"] == {"zgid": "7000000001", "paid": "enterprise"}
    assert seen["users"]["CurrentUser"] == ["consent.ledger@staff.example.com"]
    assert len(seen["users"]["ActiveUsers"]) == 4
    assert seen["users"]["DeactiveUsers"] == 204
    assert seen["fields"]["Email_Opt_Out"] == {"type": "boolean", "writes": True}
    assert seen["fields"]["Unsubscribed_Mode"] == {"type": "picklist", "writes": False}


def test_pages_by_number_and_by_token_are_the_same(seen):
    read = seen["read"]
    assert (read["first"]["status"], read["first"]["class"]) == (200, "ResponseWrapper")
    assert read["first"]["info"]["more"] is True
    assert read["second"]["rows"] == read["by_token"]["rows"] != read["first"]["rows"]


def test_every_list_option_is_understood(seen):
    read = seen["read"]
    first = read["first"]["rows"]
    times = [row["Modified_Time"] for row in read["sorted"]["rows"]]
    assert times == sorted(times)
    assert {row["id"] for row in read["ids"]["rows"]} == {row["id"] for row in first[:2]}
    assert len(read["view"]["rows"]) == 5
    assert (read["bad_view"]["class"], read["bad_view"]["code"]) == ("APIException", "INVALID_DATA")
    assert read["converted"] == 204
    assert read["approved"]["rows"] == read["include_child"]["rows"] == read["changed"]["rows"] == first[:3]
    assert read["since"] == 304


def test_lists_come_in_every_order_and_page_by_page(seen):
    options = seen["list_options"]
    everybody = options["all"]
    assert options["sorted"]["id desc"] == everybody == sorted(everybody, reverse=True)
    for name in ("id", "Created_Time", "Modified_Time"):
        up, down = (options["sorted"][f"{name} {order}"] for order in ("asc", "desc"))
        assert up == down[::-1]
        assert sorted(up) == sorted(everybody)
    assert options["pages"] == [everybody[:20], everybody[20:40], everybody[40:], 204]


def test_options_of_lists_narrow_them_or_leave_them_as_they_are(seen):
    options = seen["list_options"]
    everybody = options["all"]
    assert options["approved"] == {"true": everybody, "both": everybody, "false": 204}
    assert options["converted"]["true"] == 204
    assert options["converted"]["both"] == options["converted"]["false"] != []
    assert sorted(options["ids"]) == sorted(everybody[3:5])
    assert set(options["view"]) < set(everybody)
    for name in ("uid", "between", "child", "since", "external"):
        assert options[name] == everybody, name
    assert (options["unchanged"], options["territory"], options["too_many"]) == (
        304,
        "INVALID_DATA",
        "LIMIT_EXCEEDED",
    )


def test_one_record_is_read_with_every_option(seen):
    one = seen["one_option"]
    assert set(map(tuple, one["seen"].values())) == {(one["id"],)}
    assert one["unchanged"] == 304


def test_a_record_is_read_changed_and_deleted_by_its_own_number(seen):
    external = seen["external"]
    assert external["read"] == [int(external["id"])]
    assert (external["changed"], external["deleted"]) == ("SUCCESS", "SUCCESS")


def test_searches_take_every_option(seen):
    found, written = seen["search_options"], [int(seen["write"]["id"])]
    for name in ("phone", "criteria", "fields", "type"):
        assert found[name] == written, name
    assert (found["approved"], found["converted"]) == (204, 204)
    assert set(found["view"]) < set(found["word"])
    assert found["pages"] == [found["word"][:10], found["word"][10:20]]
    counts = found["counts"]
    assert counts == {"view": counts["view"], "phone": 1, "word": len(found["word"]), "criteria": 1}
    assert 0 < counts["view"] <= len(found["word"])


def test_deleted_records_are_listed_with_every_option(seen):
    gone = seen["deleted_options"]
    assert set(gone["all"]) == {seen["delete"]["id"], seen["external"]["id"]}
    assert gone["recycle"] == gone["since"] == gone["all"]
    assert [*gone["paged"][0], *gone["paged"][1]] == gone["all"]
    assert (gone["permanent"], gone["later"]) == (204, 204)


def test_timelines_fields_channels_and_users_take_their_options(seen):
    assert seen["other_options"] == {
        "timeline": ["crm_api"],
        "fields": len(seen["fields"]),
        "watch": 204,
        "users": 2,
    }


def test_one_record_is_read_with_types_and_an_unknown_one_is_nothing(seen):
    (record,) = seen["read"]["one"]["rows"]
    assert (type(record["Email_Opt_Out"]), record["Owner"]) == (bool, "MinifiedUser")
    assert record["Modified_Time"] == seen["read"]["first"]["rows"][0]["Modified_Time"]
    assert seen["read"]["none"] == 204


def test_writes_answer_record_by_record(seen):
    write = seen["write"]
    assert (write["insert"]["status"], write["insert"]["items"][0]["message"]) == (201, "record added")
    assert (write["update"]["status"], write["update"]["items"][0]["message"]) == (200, "record updated")
    assert write["mixed"]["status"] == 207
    assert [item["class"] for item in write["mixed"]["items"]] == ["SuccessResponse", "APIException"]
    assert (write["failed"]["status"], write["failed"]["class"]) == (400, "ActionWrapper")
    assert write["failed"]["items"][0]["code"] == "INVALID_DATA"


def test_upserts_insert_then_update_and_a_duplicate_is_named(seen):
    assert [one["items"][0]["action"] for one in seen["write"]["upserts"]] == ["insert", "update"]
    (duplicate,) = seen["write"]["duplicate"]["items"]
    assert (duplicate["code"], duplicate["details"]["api_name"]) == ("DUPLICATE_DATA", "Phone")
    assert str(duplicate["details"]["id"]) == seen["write"]["id"]
    assert duplicate["details"]["duplicate_record"] == "DuplicateRecord"


def test_a_stale_write_is_412_with_its_code(seen):
    assert seen["stale"]["status"] == 412
    assert seen["stale"]["items"][0]["code"] == "ALREADY_MODIFIED"
    assert str(seen["stale"]["items"][0]["details"]["id"]) == seen["write"]["id"]


def test_search_and_count_find_what_was_written(seen):
    for how in ("email", "criteria", "word"):
        assert [str(row["id"]) for row in seen["search"][how]["rows"]] == [seen["write"]["id"]]
    assert (seen["search"]["none"], seen["search"]["count"]) == (204, 1)
    assert seen["search"]["bad"]["code"] == "INVALID_QUERY"


def test_coql_answers_rows_nothing_or_where_it_went_wrong(seen):
    (row,) = seen["coql"]["rows"]
    assert (row["Email"], row["Email_Opt_Out"]) == ("sdk@example.com", True)
    assert (seen["coql"]["more"], seen["coql"]["none"]) == (False, 204)
    assert (seen["coql"]["bad"]["code"], seen["coql"]["bad"]["details"]["clause"]) == (
        "SYNTAX_ERROR",
        "WHERE",
    )


def test_a_deleted_record_is_listed_as_such(seen):
    assert seen["delete"]["deleted"]["items"][0]["message"] == "record deleted"
    assert seen["delete"]["listed"] == [
        {"id": seen["delete"]["id"], "type": "recycle", "by": "Consent Ledger"}
    ]


def test_a_bulk_read_is_made_followed_and_downloaded(seen):
    bulk = seen["bulk_read"]
    assert (bulk["created"], bulk["state"]) == ("ADDED_SUCCESSFULLY", "COMPLETED")
    assert (bulk["count"], bulk["lines"], bulk["header"]) == (20, 20, "Id,Email,Email_Opt_Out")
    assert bulk["file"].endswith(".zip")
    assert (bulk["more"], bulk["second_page"]) == (True, 2)
    assert bulk["unknown"]["code"] == "RESOURCE_NOT_FOUND"


def test_a_bulk_write_is_uploaded_run_and_its_result_downloaded(seen):
    bulk = seen["bulk_write"]
    assert (bulk["uploaded"], bulk["created"], bulk["status"]) == ("FILE_UPLOAD_SUCCESS", 201, "COMPLETED")
    assert bulk["counts"] == [1, 1, 2]
    number = seen["write"]["id"]
    assert bulk["lines"] == [
        "id,out,STATUS,RECORD_ID,ERRORS",
        f"{number},false,UPDATED,{number},",
        "77,true,SKIPPED,,INVALID_DATA-id",
    ]


def test_a_watch_is_made_read_changed_and_ended(seen):
    watch = seen["watch"]
    assert (watch["enabled"]["status"], watch["enabled"]["items"][0]["code"]) == (201, "SUCCESS")
    assert watch["read"] == ["1000000068001", "s3cret", ["Contacts.all"], "http://127.0.0.1:9/n"]
    for name in ("patched", "replaced", "removed", "disabled"):
        assert watch[name]["items"][0]["code"] == "SUCCESS"
    assert watch["dead"]["items"][0]["code"] == "NOT_SUBSCRIBED"
    assert watch["none"] == 204


def test_errors_arrive_as_exceptions_with_status_and_code(seen):
    assert seen["errors"]["throttled"] == {
        "status": 429,
        "class": "APIException",
        "code": "TOO_MANY_REQUESTS",
        "details": {},
    }
    assert seen["errors"]["no_fields"]["code"] == "REQUIRED_PARAM_MISSING"


def test_the_bytes_of_a_412_hold_what_the_sdk_drops(zoho):
    (record,) = zoho.get("/crm/v8/Contacts", params={"fields": "Email", "per_page": 1}).json()["data"]
    body = {"data": [{"id": record["id"], "Last_Name": "Late"}]}
    stale = {"If-Unmodified-Since": "2001-01-01T00:00:00+00:00"}
    answer = zoho.put("/crm/v8/Contacts", json=body, headers=stale)
    (item,) = answer.json()["data"]
    details = item.pop("details")
    assert answer.status_code == 412
    assert answer.content.startswith(b'{"data":[{"code":"ALREADY_MODIFIED","details":{"Modified_Time":"')
    assert item == {
        "code": "ALREADY_MODIFIED",
        "message": "record updated time has already passed if-unmodified-since time",
        "status": "error",
    }
    assert set(details) == {"Modified_Time", "Created_Time", "id", "Modified_By", "Created_By"}
    assert set(details["Modified_By"]) == {"name", "id"}

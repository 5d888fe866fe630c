"""Bulk write: upload, job, states, and a result that says row by row what became of it."""

import csv
import io
import zipfile

import pytest

from service.zoho.simulator import names

WRITE = "/crm/bulk/v8/write"
HEADERS = {"feature": "bulk-write", "X-CRM-ORG": names.ORG_ZGID}


@pytest.fixture
def quick(sim):
    """Jobs that are done at once."""
    sim.control("switches", {"bulk.duration_ms": 0})


@pytest.fixture
def ids(zoho):
    answer = zoho.get("/crm/v8/Contacts", params={"fields": "Email", "per_page": 3})
    return [record["id"] for record in answer.json()["data"]]


def zipped(text, name="contacts.csv"):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, text)
    return buffer.getvalue()


def upload(zoho, content, headers=None):
    headers = HEADERS if headers is None else headers
    return zoho.post("/crm/v8/upload", files={"file": ("contacts.zip", content)}, headers=headers)


def write(zoho, text, *columns, operation="update", **more):
    file_id = upload(zoho, zipped(text)).json()["details"]["file_id"]
    mappings = [{"api_name": name, "index": index} for index, name in enumerate(columns)]
    resource = {"type": "data", "module": {"api_name": "Contacts"}, "file_id": file_id, "find_by": "id"}
    resource |= {"field_mappings": mappings, **more}
    return zoho.post(WRITE, json={"operation": operation, "ignore_empty": True, "resource": [resource]})


def outcome(zoho, answer):
    """Return the job and the rows of its result."""
    job = zoho.get(f"{WRITE}/{answer.json()['details']['id']}").json()
    content = zoho.get(job["result"]["download_url"]).content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return job, list(csv.DictReader(io.StringIO(archive.read(archive.namelist()[0]).decode())))


def test_an_upload_answers_with_a_numeric_file_id(zoho):
    body = upload(zoho, zipped("id\n1\n")).json()
    assert (body["code"], body["message"]) == ("FILE_UPLOAD_SUCCESS", "file uploaded.")
    assert body["details"]["file_id"].isdigit()


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"X-CRM-ORG": "1"}, "MANDATORY_NOT_FOUND"),
        ({"feature": "bulk-write"}, "MANDATORY_NOT_FOUND"),
        ({"feature": "photos", "X-CRM-ORG": "1"}, "NOT_SUPPORTED_FEATURE"),
        ({"feature": "bulk-write", "X-CRM-ORG": "1"}, "INVALID_DATA"),
    ],
)
def test_an_upload_needs_its_two_headers(zoho, headers, code):
    assert upload(zoho, zipped("id\n1\n"), headers).json()["code"] == code


def test_only_a_zip_with_one_csv_is_taken(zoho):
    assert upload(zoho, b"id\n1\n").json()["code"] == "INVALID_FILE_FORMAT"
    assert upload(zoho, zipped("id\n1\n", "contacts.txt")).json()["code"] == "INVALID_FILE_FORMAT"
    assert zoho.post("/crm/v8/upload", headers=HEADERS).json()["code"] == "MANDATORY_NOT_FOUND"


def test_too_large_a_file_is_413_or_400_by_switch(sim, zoho):
    content = b"0" * (25 * 1024 * 1024 + 1)
    assert upload(zoho, content).status_code == 413
    sim.control("switches", {"bulk.too_large": "400"})
    assert upload(zoho, content).json()["code"] == "INVALID_DATA"


def test_rows_are_updated_by_id_and_told_one_by_one(zoho, quick, ids):
    text = f"id,out\n{ids[0]},true\n77,true\n{ids[1]},perhaps\n"
    answer = write(zoho, text, "id", "Email_Opt_Out")
    assert answer.status_code == 201
    assert (answer.json()["code"], answer.json()["message"]) == ("SUCCESS", "success")
    job, rows = outcome(zoho, answer)
    file = job["resource"][0]["file"]
    assert (file["updated_count"], file["skipped_count"], file["total_count"]) == (1, 2, 3)
    assert [row["STATUS"] for row in rows] == ["UPDATED", "SKIPPED", "SKIPPED"]
    assert [row["RECORD_ID"] for row in rows] == [ids[0], "", ids[1]]
    assert [row["ERRORS"] for row in rows] == ["", "INVALID_DATA-id", "INVALID_DATA-Email_Opt_Out"]
    assert list(rows[0])[:2] == ["id", "out"]
    assert zoho.get(f"/crm/v8/Contacts/{ids[0]}").json()["data"][0]["Email_Opt_Out"] is True


def test_upsert_finds_by_a_field_and_adds_the_rest(zoho, quick):
    text = "a,b\nknown@example.com,One\nknown@example.com,Two\nother@example.com,\n"
    columns = ("Email", "Last_Name")
    _, rows = outcome(zoho, write(zoho, text, *columns, operation="upsert", find_by="Email"))
    assert [row["STATUS"] for row in rows] == ["ADDED", "UPDATED", "SKIPPED"]
    assert rows[2]["ERRORS"] == "MANDATORY_NOT_FOUND-Last_Name"


def test_the_state_in_between_is_spelt_either_way(sim, zoho, ids):
    sim.control("switches", {"bulk.duration_ms": 100_000})
    job = write(zoho, f"id,out\n{ids[0]},true\n", "id", "Email_Opt_Out").json()["details"]["id"]
    assert zoho.get(f"{WRITE}/{job}").json()["status"] == "ADDED"
    sim.control("clock", {"advance_s": 50})
    assert zoho.get(f"{WRITE}/{job}").json()["status"] == "INPROGRESS"
    sim.control("switches", {"bulk.write_state": "IN PROGRESS"})
    assert zoho.get(f"{WRITE}/{job}").json()["status"] == "IN PROGRESS"
    assert zoho.get(f"/crm/v8/Contacts/{ids[0]}").json()["data"][0]["Email_Opt_Out"] is False
    sim.control("clock", {"advance_s": 60})
    assert zoho.get(f"{WRITE}/{job}").json()["status"] == "COMPLETED"


def test_the_result_has_an_address_of_either_kind(sim, zoho, quick, ids):
    sim.control("switches", {"bulk.result_url": "absolute"})
    job, rows = outcome(zoho, write(zoho, f"id,out\n{ids[0]},true\n", "id", "Email_Opt_Out"))
    assert job["result"]["download_url"].startswith(sim.url)
    assert rows[0]["STATUS"] == "UPDATED"


def test_a_job_that_cannot_be_read_fails_as_a_whole(sim, zoho, quick, ids):
    answer = write(zoho, f"id\n{ids[0]}\n", "id", "Email_Opt_Out")
    job = zoho.get(f"{WRITE}/{answer.json()['details']['id']}").json()
    assert (job["status"], job["resource"][0]["code"]) == ("FAILED", "COLUMN_INDEX_NOT_FOUND")


def test_workflows_run_after_a_bulk_write_by_switch_only(sim, zoho, quick, ids):
    text = f"id,out\n{ids[0]},true\n"
    before = sim.control("state")["automations"]
    outcome(zoho, write(zoho, text, "id", "Email_Opt_Out"))
    assert sim.control("state")["automations"] == before
    sim.control("switches", {"bulk.runs_workflows": True})
    outcome(zoho, write(zoho, text, "id", "Email_Opt_Out"))
    assert sim.control("state")["automations"] > before


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"operation": "guess"}, "MISSING_REQUIRED_KEY"),
        ({"resource": []}, "MISSING_REQUIRED_KEY"),
        ({"find_by": None}, "MISSING_REQUIRED_KEY"),
        ({"file_id": "1"}, "INVALID_FILE_ID"),
        ({"module": {"api_name": "Rivers"}}, "INVALID_MODULE"),
        ({"field_mappings": []}, "MANDATORY_FIELDS_NOT_MAPPED"),
        ({"field_mappings": [{"api_name": "Nonsense", "index": 0}]}, "INVALID_FIELD"),
    ],
)
def test_a_job_that_makes_no_sense_is_refused(zoho, change, code):
    file_id = upload(zoho, zipped("id\n1\n")).json()["details"]["file_id"]
    resource = {"module": {"api_name": "Contacts"}, "file_id": file_id, "find_by": "id"}
    resource |= {"field_mappings": [{"api_name": "id", "index": 0}]}
    body = {"operation": "update", "resource": [{**resource, **change}]}
    body |= {name: value for name, value in change.items() if name in body}
    assert zoho.post(WRITE, json=body).json()["code"] == code
    assert zoho.post(WRITE, content=b"{}").status_code == 415


def test_an_insert_maps_the_mandatory_field_and_a_bad_callback_is_told_at_the_top(zoho):
    refused = write(zoho, "Email\na@example.com\n", "Email", operation="insert")
    assert (refused.status_code, refused.json()["code"]) == (400, "MANDATORY_FIELDS_NOT_MAPPED")
    job = {"operation": "update", "resource": [], "callback": {"url": "nowhere", "method": "post"}}
    told = zoho.post(WRITE, json=job).json()
    assert (told["code"], told["status"]) == ("INVALID_CALLBACK_URL", "error")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("code", "error"), [("RECORD_LOCKED", "BLOCKED_RECORD-id"), ("NOT_APPROVED", "NOT_APPROVED-id")]
)
def test_a_held_record_is_skipped_and_says_why(sim, zoho, somebody, code, error):
    (found,) = sim.control("person", {"email": somebody})["crm"]
    sim.control("crm/lock", {"email": somebody, "code": code})
    _, (row,) = outcome(zoho, write(zoho, f"id,out\n{found['id']},true\n", "id", "Email_Opt_Out"))
    assert (row["STATUS"], row["ERRORS"]) == ("SKIPPED", error)
    assert sim.control("person", {"email": somebody})["crm"][0]["Email_Opt_Out"] is False

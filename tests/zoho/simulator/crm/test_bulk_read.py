"""Bulk read: states over the clock, the zip, pages, criteria, callbacks, and everything that can go wrong."""

import csv
import io
import zipfile

import pytest

from tests.zoho.simulator.receiver import delivered

READ = "/crm/bulk/v8/read"


@pytest.fixture
def quick(sim):
    """Jobs that are done at once."""
    sim.control("switches", {"bulk.duration_ms": 0})


def create(zoho, **query):
    query = {"module": {"api_name": "Contacts"}, **query}
    return zoho.post(READ, json={"query": query})


def run(zoho, **query):
    """Return status and rows of a job that is done at once."""
    job = create(zoho, **query).json()["data"][0]["details"]["id"]
    (status,) = zoho.get(f"{READ}/{job}").json()["data"]
    return status, rows_of(zoho.get(f"{READ}/{job}/result").content)


def rows_of(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (name,) = archive.namelist()
        return list(csv.DictReader(io.StringIO(archive.read(name).decode())))


def test_a_job_is_added_queued_in_progress_and_completed(sim, zoho):
    sim.control("switches", {"bulk.duration_ms": 100_000})
    answer = create(zoho, fields=["Email"])
    (added,) = answer.json()["data"]
    assert answer.status_code == 201
    assert (added["code"], added["message"]) == ("ADDED_SUCCESSFULLY", "Added successfully.")
    assert list(added["details"]) == ["id", "operation", "state", "created_by", "created_time"]
    states = []
    for _ in range(4):
        (job,) = zoho.get(f"{READ}/{added['details']['id']}").json()["data"]
        states.append(job["state"])
        assert ("result" in job) == (job["state"] == "COMPLETED")
        sim.control("clock", {"advance_s": 35})
    assert states == ["ADDED", "QUEUED", "IN PROGRESS", "COMPLETED"]


def test_the_zip_holds_one_csv_with_an_id_column(sim, zoho, quick):
    status, rows = run(zoho, fields=["Email", "Email_Opt_Out", "Modified_Time", "Owner"])
    assert (
        status["result"]["count"]
        == len(rows)
        == sim.control("state")["crm_records"] - len(run(zoho, module={"api_name": "Leads"})[1])
    )
    assert list(rows[0]) == ["Id", "Email", "Email_Opt_Out", "Modified_Time", "Owner"]
    record = zoho.get(f"/crm/v8/Contacts/{rows[0]['Id']}").json()["data"][0]
    assert rows[0]["Email"] == record["Email"]
    assert rows[0]["Email_Opt_Out"] == str(record["Email_Opt_Out"]).lower()
    assert rows[0]["Modified_Time"] == record["Modified_Time"]
    assert rows[0]["Owner"] == record["Owner"]["id"]


def test_the_download_names_its_file_and_its_size(zoho, quick):
    job = create(zoho).json()["data"][0]["details"]["id"]
    answer = zoho.get(f"{READ}/{job}/result")
    assert answer.headers["content-disposition"] == f'attachment; filename="{job}.zip"'
    assert answer.headers["content-type"] == "application/x-download"
    assert int(answer.headers["content-length"]) == len(answer.content)


def test_the_id_column_is_spelt_either_way_and_a_column_may_be_missing(sim, zoho, quick):
    sim.control("switches", {"bulk.id_column": "id", "bulk.omit_column": "Email_Opt_Out"})
    assert list(run(zoho, fields=["Email", "Email_Opt_Out"])[1][0]) == ["id", "Email"]


@pytest.mark.parametrize("paging", ["page", "page_token"])
def test_every_row_is_on_one_page_by_number_or_by_token(sim, zoho, quick, paging):
    sim.control("switches", {"bulk.rows_per_page": 25, "bulk.paging": paging})
    seen, page, status = [], 1, {"result": {"more_records": True}}
    query = {"module": {"api_name": "Contacts"}, "fields": ["Email"]}
    while status["result"]["more_records"]:
        status, rows = run(zoho, **query)
        assert status["result"]["page"] == page
        seen += [row["Id"] for row in rows]
        page += 1
        token = status["result"]["next_page_token"]
        query = {**query, "page": page} if paging == "page" else {"page_token": token}
    assert page > 2
    assert len(seen) == len(set(seen)) == zoho.get("/crm/v8/Contacts/actions/count").json()["count"]


def test_a_page_token_expires_and_is_not_made_up(sim, zoho, quick, sign_in):
    sim.control("switches", {"bulk.rows_per_page": 10})
    token = run(zoho)[0]["result"]["next_page_token"]
    assert create(zoho, page_token="made-up").json()["data"][0]["code"] == "TOKEN_BOUND_DATA_MISMATCH"
    sim.control("clock", {"advance_s": 86_401})
    assert create(sign_in(), page_token=token).json()["data"][0]["code"] == "EXPIRED_VALUE"


def test_criteria_choose_the_rows(zoho, quick):
    def opted_out(value):
        return {"field": {"api_name": "Email_Opt_Out"}, "comparator": "equal", "value": value}

    recent = {
        "field": {"api_name": "Created_Time"},
        "comparator": "greater_than",
        "value": "2020-01-01T00:00:00+00:00",
    }
    named = {"api_name": "Email", "comparator": "contains", "value": "@"}
    criteria = {"group_operator": "and", "group": [opted_out(value=True), recent, named]}
    _, rows = run(zoho, fields=["Email_Opt_Out"], criteria=criteria)
    assert rows
    assert {row["Email_Opt_Out"] for row in rows} == {"true"}
    _, others = run(zoho, fields=["Email_Opt_Out"], criteria=opted_out(value=False))
    assert len(rows) + len(others) == len(run(zoho)[1])


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"module": {"api_name": "Rivers"}}, "MODULE_NOT_AVAILABLE"),
        ({"fields": ["Nonsense"]}, "FIELD_NOT_AVAILABLE"),
        ({"page": 0}, "INVALID_DATA"),
        ({"criteria": {"api_name": "Nonsense", "comparator": "equal", "value": 1}}, "INVALID_CRITERIA"),
        ({"criteria": {"api_name": "Newsletter", "comparator": "in", "value": [True]}}, "INVALID_CRITERIA"),
        ({"criteria": {"api_name": "Created_Time", "comparator": "equal", "value": "x"}},
         "VALUE_TYPE_NOT_SUPPORTED"),
        ({"criteria": {"group": [{"api_name": "Email", "comparator": "equal", "value": "x"}] * 26}},
         "CRITERIA_LIMIT_EXCEEDED"),
    ],
)  # fmt: skip
def test_a_query_that_makes_no_sense_is_refused(zoho, query, code):
    answer = create(zoho, **query)
    assert (answer.status_code, answer.json()["data"][0]["code"]) == (400, code)


def test_a_body_must_be_json_and_say_so(zoho):
    assert zoho.post(READ, content=b"{}").status_code == 415
    json = {"Content-Type": "application/json"}
    assert zoho.post(READ, content=b"", headers=json).json()["data"][0]["code"] == "REQUEST_BODY_IS_EMPTY"
    assert zoho.post(READ, content=b"[", headers=json).json()["data"][0]["code"] == (
        "REQUEST_BODY_NOT_READABLE"
    )


def test_an_unknown_job_is_404(zoho):
    assert zoho.get(f"{READ}/77").json()["code"] == "RESOURCE_NOT_FOUND"
    assert zoho.get(f"{READ}/77/result").status_code == 404


def test_a_job_fails_or_never_ends_by_switch(sim, zoho):
    sim.control("switches", {"bulk.fate": "never", "bulk.duration_ms": 10, "bulk.early_result": True})
    job = create(zoho).json()["data"][0]["details"]["id"]
    sim.control("clock", {"advance_s": 3000})
    (status,) = zoho.get(f"{READ}/{job}").json()["data"]
    assert (status["state"], status["result"]["count"]) == ("IN PROGRESS", 0)
    sim.control("switches", {"bulk.fate": "fails"})
    (status,) = zoho.get(f"{READ}/{job}").json()["data"]
    assert (status["state"], status["result"]["error_message"]["status"]) == ("FAILURE", "error")
    assert zoho.get(f"{READ}/{job}/result").status_code == 404


def test_the_callback_is_the_status_of_the_finished_job(zoho, sim, receiver):
    sim.control("switches", {"bulk.duration_ms": 200})
    callback = {"url": f"{receiver.url}/done", "method": "post"}
    query = {"module": {"api_name": "Contacts"}}
    job = zoho.post(READ, json={"query": query, "callback": callback}).json()["data"][0]["details"]["id"]
    (body,) = receiver.wait(1)
    assert body == zoho.get(f"{READ}/{job}").json()
    assert body["data"][0]["state"] == "COMPLETED"


def test_nobody_but_loopback_is_ever_called(zoho, sim, quick):
    callback = {"url": "https://h.example.com/cb", "method": "post"}
    query = {"module": {"api_name": "Contacts"}}
    assert zoho.post(READ, json={"query": query, "callback": callback}).status_code == 201
    (delivery,) = delivered(sim, 1)
    assert delivery["outcome"] == "not called: not a loopback address"
    wrong = {"url": "ftp://x", "method": "post"}
    answer = zoho.post(READ, json={"query": query, "callback": wrong}).json()
    assert answer["data"][0]["code"] == "INVALID_CALLBACK_URL"


def test_ten_downloads_a_minute_and_no_more(sim, zoho, quick):
    job = create(zoho, fields=["Email"]).json()["data"][0]["details"]["id"]
    answers = [zoho.get(f"{READ}/{job}/result").status_code for _ in range(11)]
    assert answers == [200] * 10 + [429]
    sim.control("clock", {"advance_s": 60})
    assert zoho.get(f"{READ}/{job}/result").status_code == 200


@pytest.mark.parametrize("price", [50, 500])
def test_a_job_costs_what_the_switch_says_and_the_price_list_knows(sim, zoho, price):
    sim.control("switches", {"bulk.read_credits": price})
    create(zoho)
    assert sim.control("meter")["credits"] == price
    (entry,) = [e for e in zoho.get("/crm/v8/__apis").json()["__apis"] if e["path"] == READ]
    assert entry["operation_types"][0]["max_credits"] == price

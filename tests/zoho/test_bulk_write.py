import json
from collections.abc import Iterator

import msgspec
import pytest

from service.reconciler.port import CrmChange
from service.zoho.bulk_write import upload_host
from service.zoho.mapping import Zoho, connect
from tests.zoho.conftest import settings_for
from tests.zoho.stub import Said

PUT = "PUT /crm/v8/Contacts"
UPLOAD = "POST /crm/v8/upload"
JOB = "/crm/bulk/v8/write"


def in_bulk(mapping, at_least: int = 2):
    return msgspec.structs.replace(
        mapping, crm=msgspec.structs.replace(mapping.crm, bulk_write_from=at_least)
    )


@pytest.fixture
def bulk(sim, time, mapping) -> Iterator[Zoho]:
    """Clients that write two records and more by bulk write."""
    sim.control("switches", {"bulk.duration_ms": 0})
    with connect(settings_for(sim.url), in_bulk(mapping), pace=time.pace()) as clients:
        yield clients


@pytest.fixture
def scripted(stub, time, mapping) -> Iterator[Zoho]:
    stub.says("GET /crm/v8/org", Said(b'{"org":[{"zgid":"7000000001"}]}'))
    stub.says(UPLOAD, Said(b'{"status":"success","details":{"file_id":"11"}}'))
    stub.says(f"POST {JOB}", Said(b'{"status":"success","details":{"id":"77"}}', status=201))
    with connect(settings_for(stub.url), in_bulk(mapping), pace=time.pace()) as clients:
        yield clients


def stops(records) -> list[CrmChange]:
    return [CrmChange(module=r.module, record_id=r.record_id, opted_out=True) for r in records]


def requests(sim) -> list[str]:
    return [f"{method} {path}" for _, method, path, *_ in sim.world.requests]


def test_by_default_nothing_is_written_in_bulk(sim, zoho):
    assert all(r.done for r in zoho.crm.enforce(stops(zoho.crm.observe())))
    assert not [line for line in requests(sim) if "/bulk/" in line]
    assert zoho.crm.at_once(10**6) == 100


def test_a_large_repair_is_one_job_for_each_module(sim, bulk):
    found = list(bulk.crm.observe())
    results = bulk.crm.enforce(stops(found))
    assert [r.target for r in results] == [f"{r.module}/{r.record_id}" for r in found]
    assert all(r.done and len(r.answer_sha256) == 32 for r in results)
    assert all(r.opted_out for r in bulk.crm.observe())
    lines = requests(sim)
    assert lines.count(f"POST {JOB}") == 2
    assert not [line for line in lines if line.startswith("PUT ")]
    assert bulk.crm.at_once(10**6) == 25_000


@pytest.mark.parametrize("where", ["relative", "absolute"])
def test_a_record_that_is_gone_fails_alone(sim, bulk, where):
    sim.control("switches", {"bulk.result_url": where})
    first, second = [r for r in bulk.crm.observe() if r.module == "Contacts"][:2]
    changes = stops([first, second])
    changes.insert(1, CrmChange(module="Contacts", record_id="999", opted_out=True))
    good, gone, also_good = bulk.crm.enforce(changes)
    assert (good.done, also_good.done) == (True, True)
    assert (gone.done, gone.code, gone.retry) == (False, "INVALID_DATA", False)


def test_what_would_permit_or_might_overwrite_somebody_is_never_written_in_bulk(sim, bulk):
    found = list(bulk.crm.observe())
    bulk.crm.enforce([CrmChange(module=r.module, record_id=r.record_id, opted_out=False) for r in found])
    careful = [
        CrmChange(module=r.module, record_id=r.record_id, opted_out=True, unmodified_since=r.modified_at)
        for r in found[:3]
    ]
    bulk.crm.enforce(careful)
    assert not [line for line in requests(sim) if "/bulk/" in line]


@pytest.mark.parametrize("fate", ["fails", "never"])
def test_a_job_whose_end_is_not_known_leaves_its_records_to_be_read_back(sim, bulk, fate):
    changes = stops(bulk.crm.observe())
    sim.control("switches", {"bulk.fate": fate})
    results = bulk.crm.enforce(changes)
    assert {(r.done, r.code, r.retry) for r in results} == {(False, "UNREACHABLE", True)}


def test_a_job_that_may_have_begun_is_not_begun_twice(sim, bulk):
    changes = stops(r for r in bulk.crm.observe() if r.module == "Contacts")
    sim.control("break", {"match": f"POST {JOB}", "times": 1, "how": "drop_after"})
    assert {(r.done, r.code, r.retry) for r in bulk.crm.enforce(changes)} == {(False, "UNREACHABLE", True)}


@pytest.mark.parametrize("state", ["INPROGRESS", "IN PROGRESS"])
def test_a_job_that_runs_is_waited_for_however_its_state_is_spelt(sim, bulk, state):
    changes = stops(r for r in bulk.crm.observe() if r.module == "Contacts")
    sim.control("switches", {"bulk.duration_ms": 40, "bulk.write_state": state})
    assert all(r.done for r in bulk.crm.enforce(changes))
    assert len([line for line in requests(sim) if line.startswith(f"GET {JOB}/")]) > 2


def test_what_bulk_write_does_not_take_is_written_as_usual(stub, scripted):
    error = {"code": "FILE_TOO_LARGE", "details": {}, "message": "The file is too large", "status": "error"}
    stub.says(UPLOAD, Said(json.dumps(error).encode(), status=413))
    item = {"code": "SUCCESS", "details": {}, "message": "record updated", "status": "success"}
    stub.says(PUT, Said(json.dumps({"data": [item, item]}).encode()))
    results = scripted.crm.enforce([CrmChange(module="Contacts", record_id=i, opted_out=True) for i in "12"])
    assert all(r.done for r in results)
    assert len(stub.calls(PUT)) == 1
    assert not stub.calls(f"POST {JOB}")


@pytest.mark.parametrize("url", ["https://evil.example/x.zip", "http://download-accl.zoho.com/x.zip"])
def test_our_token_is_not_sent_to_a_result_elsewhere(stub, scripted, url):
    done = {"status": "COMPLETED", "result": {"download_url": url}}
    stub.says(f"GET {JOB}/77", Said(json.dumps(done).encode()))
    changes = [CrmChange(module="Contacts", record_id=i, opted_out=True) for i in "12"]
    assert {r.code for r in scripted.crm.enforce(changes)} == {"UNREACHABLE"}
    assert not [heard for heard in stub.heard if heard.path.startswith("/x.zip")]


def test_the_job_says_which_field_and_nothing_else(stub, scripted):
    stub.says(f"GET {JOB}/77", Said(b'{"status":"FAILED"}'))
    scripted.crm.enforce([CrmChange(module="Contacts", record_id=i, opted_out=True) for i in "12"])
    (upload,), (job,) = stub.calls(UPLOAD), stub.calls(f"POST {JOB}")
    assert (upload.headers["feature"], upload.headers["x-crm-org"]) == ("bulk-write", "7000000001")
    asked = json.loads(job.body)
    assert asked["operation"] == "update"
    assert [m["api_name"] for m in asked["resource"][0]["field_mappings"]] == ["id", "Email_Opt_Out"]


@pytest.mark.parametrize(
    ("base", "host"),
    [
        ("https://www.zohoapis.eu", "https://content.zohoapis.eu"),
        ("https://www.zohoapis.ca", "https://upload.zohocloud.ca"),
        ("https://www.zohoapis.sa", "https://files.zoho.sa"),
        ("http://127.0.0.1:9", "http://127.0.0.1:9"),
    ],
)
def test_files_go_to_the_upload_host_of_the_data_centre(base, host):
    assert upload_host(base) == host

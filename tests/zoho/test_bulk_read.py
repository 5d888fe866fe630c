import io
import json
import zipfile
from collections.abc import Iterator

import msgspec
import pytest

from service.errors import Unreachable, ZohoError
from service.policy import ZohoMapping
from service.zoho.bulk_read import LONGEST_JOB_S
from service.zoho.mapping import Zoho, connect
from service.zoho.records import layouts
from tests.zoho.conftest import MAPPING, settings_for
from tests.zoho.stub import Said

READ = "/crm/bulk/v8/read"
CREATED = Said(json.dumps({"data": [{"status": "success", "details": {"id": "77"}}]}).encode(), status=201)
VALUES = {"Email_Opt_Out": "false", "Mailing_Country": "Germany", "Newsletter": "true"}
VALUES |= {"Modified_Time": "2026-05-10T01:10:47-07:00"}
MAPPED = msgspec.toml.decode(MAPPING.read_bytes(), type=ZohoMapping)
COLUMNS = layouts(MAPPED)["Contacts"].columns
HEADER = ",".join(("Id", *COLUMNS[1:]))


def by_bulk(mapping, modules: int = 2):
    crm = msgspec.structs.replace(mapping.crm, sweep="bulk", modules=mapping.crm.modules[:modules])
    return msgspec.structs.replace(mapping, crm=crm)


@pytest.fixture
def bulk(sim, time, mapping) -> Iterator[Zoho]:
    """Clients that read whole modules by bulk read, of jobs that are done at once."""
    sim.control("switches", {"bulk.duration_ms": 0})
    with connect(settings_for(sim.url), by_bulk(mapping), pace=time.pace()) as clients:
        yield clients


@pytest.fixture
def scripted(stub, time, mapping) -> Iterator[Zoho]:
    """Clients of the stub that read one module by bulk read."""
    with connect(settings_for(stub.url), by_bulk(mapping, 1), pace=time.pace()) as clients:
        yield clients


def state(state: str, **result) -> Said:
    return Said(json.dumps({"data": [{"id": "77", "state": state, "result": result}]}).encode())


def zipped(*lines: str, name: str = "77.csv") -> Said:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, "\n".join((*lines, "")))
    return Said(file.getvalue(), headers={"content-type": "application/x-download"})


def row(number: int, email: str) -> str:
    values = VALUES | {"id": str(number), "Email": email}
    return ",".join(values.get(name, "") for name in COLUMNS)


def says(stub, *states: Said, file: Said) -> None:
    stub.says(f"POST {READ}", CREATED)
    stub.says(f"GET {READ}/77", *states)
    stub.says(f"GET {READ}/77/result", file)


def seen(zoho) -> dict:
    """What a read shows of each record."""
    return {
        (r.module, r.record_id): (
            *(r.addresses, r.opted_out, r.modified_at, r.unsubscribed_mode, r.unsubscribed_at),
            *(r.country, r.views, r.modified_by),
        )
        for r in zoho.crm.observe()
    }


def test_a_bulk_read_shows_the_same_records_as_coql(bulk, zoho):
    assert seen(bulk) == seen(zoho)
    assert bulk.meter.credits == 2 * (50 + 1 + 1) + 1, "two jobs, and once the names of users"


@pytest.mark.parametrize("paging", ["page", "page_token", "both"])
def test_pages_follow_each_other_by_token_or_by_number(sim, bulk, zoho, paging):
    sim.control(
        "switches", {"bulk.rows_per_page": 50, "bulk.paging": paging, "bulk.downloads_per_min": 1_000}
    )
    assert seen(bulk) == seen(zoho)


def test_downloads_wait_for_their_window(sim, stub, scripted, time):
    throttled = Said(json.dumps({"code": "TOO_MANY_REQUESTS", "status": "error"}).encode(), status=429)
    says(stub, state("COMPLETED", count=1), file=throttled)
    stub.script[f"GET {READ}/77/result"] = [*[throttled] * 4, zipped(HEADER, row(1, "ada@example.com"))]
    assert [r.addresses for r in scripted.crm.observe()] == [("ada@example.com",)]
    assert sum(time.slept) > 60


def test_a_job_is_asked_ever_more_seldom_until_it_is_done(stub, scripted, time):
    waiting = [state("ADDED"), state("QUEUED", count=9), *[state("IN PROGRESS")] * 8]
    says(stub, *waiting, state("COMPLETED", count=1), file=zipped(HEADER, row(1, "ada@example.com")))
    (record,) = scripted.crm.observe()
    assert (record.record_id, record.opted_out, record.views) == ("1", False, frozenset({"newsletter"}))
    assert time.slept == sorted(time.slept)
    assert len(time.slept) == len(waiting) + 1
    assert scripted.meter.credits == 50 + len(waiting) + 1 + 1


@pytest.mark.parametrize("fate", ["fails", "never"])
def test_a_job_that_fails_or_never_ends_is_replaced_by_coql(sim, bulk, zoho, time, fate):
    sim.control("switches", {"bulk.fate": fate})
    assert seen(bulk) == seen(zoho)
    assert sum(time.slept) < 2 * (LONGEST_JOB_S + 60)


def test_a_token_without_the_bulk_scope_reads_by_coql(sim, time, mapping, zoho):
    scopes = "ZohoCRM.modules.ALL ZohoCRM.coql.READ"
    sim.control("switches", {"oauth.scopes": scopes})
    with connect(settings_for(sim.url), by_bulk(mapping), pace=time.pace()) as narrow:
        assert seen(narrow) == seen(zoho)


def test_a_file_without_an_asked_column_is_an_error_that_names_it(sim, bulk):
    sim.control("switches", {"bulk.omit_column": "Email_Opt_Out"})
    with pytest.raises(ZohoError, match="Email_Opt_Out") as caught:
        list(bulk.crm.observe())
    assert caught.value.code == "COLUMN_MISSING"


@pytest.mark.parametrize(
    "file",
    [
        zipped(HEADER, row(1, "ada@example.com")),
        zipped(HEADER, row(1, "ada@example.com"), row(2, "bob@example.com"), row(3, "eve@example.com")),
        zipped(HEADER, row(1, "ada@example.com"), "2,bob@example.com"),
        zipped(HEADER, row(1, "ada@example.com"), row(2, 'bob"@example.com,"')),
        zipped(HEADER, name="readme.txt"),
        Said(b"PK\x03\x04 and then nothing"),
        Said(zipped(HEADER, row(1, "a@example.com"), row(2, "b@example.com")).body[:-40]),
    ],
    ids=["short", "long", "ragged", "quotes", "no csv", "garbage", "cut"],
)
def test_a_file_that_is_not_whole_is_not_believed(stub, scripted, file):
    says(stub, state("COMPLETED", count=2), file=file)
    with pytest.raises(Unreachable) as caught:
        list(scripted.crm.observe())
    assert caught.value.code == "BULK_FILE_BROKEN"
    assert "@" not in str(caught.value)


def test_a_download_that_breaks_off_is_begun_again(sim, bulk, zoho):
    sim.control("break", {"match": "/result", "times": 1, "how": "drop_after"})
    assert seen(bulk) == seen(zoho)


def test_a_page_token_that_comes_again_ends_the_bulk_read(stub, scripted):
    file = zipped(HEADER, row(1, "ada@example.com"))
    says(stub, state("COMPLETED", count=1, more_records=True, next_page_token="t"), file=file)
    stub.says("POST /crm/v8/coql", Said(status=204))
    assert [r.record_id for r in scripted.crm.observe()] == ["1", "1"]
    assert len(stub.calls("POST /crm/v8/coql")) == 1


def test_a_field_that_crm_does_not_have_is_an_error_and_no_reason_for_coql(sim, time, mapping):
    crm = msgspec.structs.replace(mapping.crm, opt_out_field="Nonsense", sweep="bulk")
    wrong = msgspec.structs.replace(mapping, crm=crm)
    with connect(settings_for(sim.url), wrong, pace=time.pace()) as zoho, pytest.raises(ZohoError) as caught:
        list(zoho.crm.observe())
    assert caught.value.code == "FIELD_NOT_AVAILABLE"

import json
from collections.abc import Iterator

import msgspec
import pytest

from service.zoho.crm_sweeps import bulk_credits, sweep_credits
from service.zoho.mapping import Zoho, connect
from tests.zoho.conftest import settings_for
from tests.zoho.stub import Said
from tests.zoho.test_bulk_read import CREATED, HEADER, READ, row, says, state, zipped
from tests.zoho.test_crm import rows

COQL = "POST /crm/v8/coql"
COUNT = "GET /crm/v8/Contacts/actions/count"
FULL = rows(*range(1, 2_001), more=True)


def only_contacts(mapping, **more):
    crm = msgspec.structs.replace(mapping.crm, modules=mapping.crm.modules[:1], **more)
    return msgspec.structs.replace(mapping, crm=crm)


@pytest.fixture
def contacts(stub, time, mapping) -> Iterator[Zoho]:
    """Clients of the stub that read one module."""
    with connect(settings_for(stub.url), only_contacts(mapping), pace=time.pace()) as clients:
        yield clients


def counted(number: int) -> Said:
    return Said(json.dumps({"count": number}).encode())


def observed(zoho) -> list[str]:
    return [record.record_id for record in zoho.crm.observe()]


def test_a_module_of_one_page_is_neither_counted_nor_exported(stub, contacts):
    stub.says(COQL, rows(1, 2, 3), Said(status=204))
    assert observed(contacts) == ["1", "2", "3"]
    assert not stub.calls(COUNT)


@pytest.mark.parametrize("count", [2_001, 38_000])
def test_a_module_that_coql_reads_cheaper_is_read_by_coql(stub, contacts, count):
    stub.says(COUNT, counted(count))
    stub.says(COQL, FULL, rows(2_001), Said(status=204))
    assert observed(contacts) == [str(n) for n in range(1, 2_002)]
    assert not stub.calls(f"POST {READ}")


@pytest.mark.parametrize("count", [40_000, 200_000])
def test_a_module_that_bulk_read_gives_cheaper_is_exported(stub, contacts, count):
    stub.says(COUNT, counted(count))
    stub.says(COQL, FULL)
    says(stub, state("COMPLETED", count=1), file=zipped(HEADER, row(7, "ada@example.com")))
    assert observed(contacts) == ["7"]
    assert len(stub.calls(COQL)) == 1


def test_a_module_that_may_not_be_counted_is_read_by_coql(stub, contacts):
    refused = {"code": "OAUTH_SCOPE_MISMATCH", "details": {}, "message": "no", "status": "error"}
    stub.says(COUNT, Said(json.dumps(refused).encode(), status=401))
    stub.says(COQL, FULL, rows(2_001), Said(status=204))
    assert len(observed(contacts)) == 2_001


def test_the_policy_may_say_coql_whatever_it_costs(stub, time, mapping):
    stub.says(COQL, FULL, rows(2_001), Said(status=204))
    stub.says(f"POST {READ}", CREATED)
    mapped = only_contacts(mapping, sweep="coql")
    with connect(settings_for(stub.url), mapped, pace=time.pace()) as zoho:
        assert len(observed(zoho)) == 2_001
    assert not stub.calls(COUNT)
    assert not stub.calls(f"POST {READ}")


def test_a_million_records_cost_a_fifth_by_bulk_read():
    assert sweep_credits(1_000_000) == 1_501
    assert bulk_credits(1_000_000) == 5 * 58
    assert bulk_credits(1_000_000, 500) == 5 * 508

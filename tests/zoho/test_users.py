"""From the numbers of users to their names: once a run, and never at the cost of a run."""

import json
from urllib.parse import parse_qs

import pytest

from service.zoho.mapping import connect
from tests.zoho.conftest import settings_for
from tests.zoho.stub import Said
from tests.zoho.test_bulk_read import COLUMNS, HEADER, VALUES, by_bulk, says, state, zipped

USERS = "GET /crm/v8/users"


def listed(*users: tuple[str, str], more: bool = False) -> Said:
    rows = [{"id": number, "full_name": name, "email": f"{number}@staff.example"} for number, name in users]
    return Said(json.dumps({"users": rows, "info": {"more_records": more}}).encode())


def row(number: int, who: str) -> str:
    values = VALUES | {"id": str(number), "Email": f"p{number}@example.com", "Modified_By": who}
    return ",".join(values.get(name, "") for name in COLUMNS)


def who_by_file(stub, clients) -> list[str | None]:
    says(stub, state("COMPLETED", count=3), file=zipped(HEADER, row(1, "7"), row(2, "8"), row(3, "9")))
    return [record.modified_by for record in clients.crm.observe()]


@pytest.fixture
def scripted(stub, time, mapping):
    with connect(settings_for(stub.url), by_bulk(mapping, 1), pace=time.pace()) as clients:
        yield clients


def test_numbers_of_a_file_become_names_and_an_unknown_one_stays(stub, scripted):
    stub.says(USERS, listed(("7", "Petra Lindqvist"), more=True), listed(("8", "Juri Olsen")))
    assert who_by_file(stub, scripted) == ["Petra Lindqvist", "Juri Olsen", "9"]
    assert [parse_qs(call.path.partition("?")[2])["page"] for call in stub.calls(USERS)] == [["1"], ["2"]]


def test_users_are_asked_for_once_and_again_when_an_hour_has_passed(stub, scripted, time):
    stub.says(USERS, listed(("7", "Petra Lindqvist")), listed(("9", "Ana New")))
    assert who_by_file(stub, scripted) == ["Petra Lindqvist", "8", "9"]
    assert who_by_file(stub, scripted) == ["Petra Lindqvist", "8", "9"]
    assert len(stub.calls(USERS)) == 1
    time.sleep(3_600)
    assert who_by_file(stub, scripted) == ["7", "8", "Ana New"]


def test_where_crm_tells_no_users_their_numbers_stay_and_the_reading_goes_on(stub, scripted):
    refused = {"code": "OAUTH_SCOPE_MISMATCH", "details": {}, "message": "no", "status": "error"}
    stub.says(USERS, Said(json.dumps(refused).encode(), status=401))
    assert who_by_file(stub, scripted) == ["7", "8", "9"]
    assert len(stub.calls(USERS)) == 1


def test_a_reading_that_shows_names_asks_for_no_users(sim, zoho):
    assert {record.modified_by for record in zoho.crm.observe()} >= {"Grace Okafor", "Samir Haddad"}
    assert zoho.meter.credits == 2 * (3 + 1)

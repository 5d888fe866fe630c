"""Modules and fields that an admin removes while clients are at work."""

import httpx
import pytest

from service.zoho.simulator import running
from tests.zoho.simulator.conftest import CREDENTIALS

GONE = "Contacts.Email_Opt_Out"
BULK = "/crm/bulk/v8/read"


@pytest.fixture
def remove(sim):
    return lambda *names: sim.control("crm/remove", {"names": list(names)})


def coql(zoho, query):
    return zoho.post("/crm/v8/coql", json={"select_query": query})


def bulk(zoho, **query):
    return zoho.post(BULK, json={"query": {"module": {"api_name": "Contacts"}, **query}})


def test_a_removed_field_is_gone_from_metadata_and_layouts_and_left_out_of_records(zoho, remove):
    remove(GONE)
    fields = zoho.get("/crm/v8/settings/fields?module=Contacts").json()["fields"]
    assert "Email_Opt_Out" not in [field["api_name"] for field in fields]
    (layout,) = zoho.get("/crm/v8/settings/layouts?module=Contacts").json()["layouts"]
    assert "Email_Opt_Out" not in [field["api_name"] for field in layout["sections"][0]["fields"]]
    record = zoho.get("/crm/v8/Contacts?fields=Email,Email_Opt_Out&per_page=1").json()["data"][0]
    assert set(record) == {"id", "Email", "$locked_for_me"}
    assert "Email_Opt_Out" not in zoho.get(f"/crm/v8/Contacts/{record['id']}").json()["data"][0]
    leads = zoho.get("/crm/v8/Leads?fields=Email_Opt_Out&per_page=1").json()["data"][0]
    assert "Email_Opt_Out" in leads


@pytest.mark.parametrize(
    "query",
    [
        "select Email_Opt_Out from Contacts where id > 0",
        "select Email from Contacts where Email_Opt_Out = 'true'",
        "select Email from Contacts where id > 0 order by Email_Opt_Out asc",
    ],
)
def test_coql_refuses_a_removed_field_by_name(zoho, remove, query):
    assert coql(zoho, query).status_code == 200
    remove(GONE)
    answer = coql(zoho, query)
    assert (answer.status_code, answer.content) == (
        400,
        (
            b'{"code":"INVALID_QUERY","details":{"column_name":"Email_Opt_Out",'
            b'"reason":"column given seems to be invalid"},"message":"invalid query formed","status":"error"}'
        ),
    )


def test_a_write_to_a_removed_field_succeeds_and_changes_nothing(sim, zoho, remove):
    rows = coql(zoho, "select id from Contacts where Email_Opt_Out = 'false' limit 1").json()["data"]
    remove(GONE)
    answer = zoho.put("/crm/v8/Contacts", json={"data": [{"id": rows[0]["id"], "Email_Opt_Out": True}]})
    assert answer.json()["data"][0]["code"] == "SUCCESS"
    remove()
    assert zoho.get(f"/crm/v8/Contacts/{rows[0]['id']}").json()["data"][0]["Email_Opt_Out"] is False


def test_bulk_read_refuses_a_removed_field_and_leaves_it_out_by_default(zoho, remove):
    remove(GONE)
    answer = bulk(zoho, fields=["Email", "Email_Opt_Out"])
    assert answer.status_code == 400
    assert answer.json()["data"][0]["code"] == "FIELD_NOT_AVAILABLE"
    assert bulk(zoho).status_code == 201


def test_search_refuses_a_removed_field(zoho, remove):
    remove(GONE)
    answer = zoho.get("/crm/v8/Contacts/search", params={"criteria": "(Email_Opt_Out:equals:true)"})
    assert answer.json()["code"] == "INVALID_QUERY"


def test_a_removed_module_is_invalid_everywhere_and_its_records_come_back_with_it(zoho, remove):
    remove("Leads")
    listed = [one["api_name"] for one in zoho.get("/crm/v8/settings/modules").json()["modules"]]
    assert listed == ["Contacts"]
    for answer in (
        zoho.get("/crm/v8/Leads?fields=Email"),
        zoho.get("/crm/v8/settings/fields?module=Leads"),
        zoho.get("/crm/v8/settings/modules/Leads"),
        zoho.put("/crm/v8/Leads", json={"data": [{"id": "1"}]}),
        coql(zoho, "select id from Leads where id > 0"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_MODULE")
    answer = zoho.post(BULK, json={"query": {"module": {"api_name": "Leads"}}})
    assert answer.json()["data"][0]["code"] == "MODULE_NOT_AVAILABLE"
    remove()
    assert zoho.get("/crm/v8/Leads?fields=Email&per_page=1").status_code == 200


@pytest.mark.parametrize("name", ["Deals", "Contacts.Shoe_Size", "Contacts.id"])
def test_only_what_is_there_can_be_removed(sim, name):
    with pytest.raises(httpx.HTTPStatusError, match="400"):
        sim.control("crm/remove", {"names": [name]})


def test_what_was_removed_stays_away_after_a_restart(tmp_path):
    file = str(tmp_path / "organisation.db")
    with running(contacts=40, seed=5, file=file) as sim:
        sim.control("crm/remove", {"names": ["Leads"]})
        sim.client.post("/oauth/v2/token", data=CREDENTIALS)
    with running(file=file) as sim:
        token = sim.client.post("/oauth/v2/token", data=CREDENTIALS).json()["access_token"]
        header = {"Authorization": f"Zoho-oauthtoken {token}"}
        assert sim.client.get("/crm/v8/Leads?fields=Email", headers=header).status_code == 400

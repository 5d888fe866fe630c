"""What CRM tells about itself."""

import json

import pytest

from service.zoho.simulator import names


def test_the_organisation_names_itself_by_zgid(reader):
    (org,) = reader.get("/crm/v8/org").json()["org"]
    assert org["zgid"] == names.ORG_ZGID != org["id"]
    assert org["license_details"]["paid_type"] == "enterprise"


def test_the_current_user_is_the_one_who_writes(reader):
    (user,) = reader.get("/crm/v8/users", params={"type": "CurrentUser"}).json()["users"]
    assert user["full_name"] == "Consent Ledger"
    assert len(reader.get("/crm/v8/users").json()["users"]) > 1


def test_fields_tell_what_the_api_may_write(reader):
    fields = reader.get("/crm/v8/settings/fields", params={"module": "Contacts"}).json()["fields"]
    by_name = {field["api_name"]: field for field in fields}
    opt_out, mode = by_name["Email_Opt_Out"], by_name["Unsubscribed_Mode"]
    assert (opt_out["data_type"], opt_out["json_type"], opt_out["read_only"]) == ("boolean", "boolean", False)
    assert all(opt_out["operation_type"].values())
    assert mode["read_only"] is True
    assert mode["operation_type"]["api_update"] is False
    assert [pick["actual_value"] for pick in mode["pick_list_values"]][:3] == [
        "Unsubscribe link",
        "Manual",
        "Zoho campaigns",
    ]
    assert by_name["Newsletter"]["custom_field"] is True


def test_leads_keep_the_country_under_another_name(reader):
    fields = reader.get("/crm/v8/settings/fields", params={"module": "Leads"}).json()["fields"]
    names_of_fields = {field["api_name"] for field in fields}
    assert "Country" in names_of_fields
    assert "Mailing_Country" not in names_of_fields


def test_fields_of_no_module_are_refused(reader):
    assert reader.get("/crm/v8/settings/fields").json()["details"] == {"param_name": "module"}
    assert (
        reader.get("/crm/v8/settings/fields", params={"module": "Gnomes"}).json()["code"] == "INVALID_MODULE"
    )


def test_modules_are_listed_and_shown_one_by_one(reader):
    modules = reader.get("/crm/v8/settings/modules").json()["modules"]
    assert [module["api_name"] for module in modules] == ["Contacts", "Leads"]
    assert reader.get("/crm/v8/settings/modules/Leads").json()["modules"] == modules[1:]


def test_the_price_list_names_every_call(reader):
    prices = {
        (row["path"], operation["method"]): (operation["min_credits"], operation["max_credits"])
        for row in reader.get("/crm/v8/__apis").json()["__apis"]
        for operation in row["operation_types"]
    }
    assert prices["/crm/v8/coql", "POST"] == (1, 3)
    assert prices["/crm/v8/{module}", "PUT"] == (1, 10)
    assert prices["/crm/v8/{module}/deleted", "GET"] == (2, 2)


@pytest.mark.parametrize(("comparator", "value"), [("equal", "/crm/v8/coql"), ("contains", "v8/coq")])
def test_prices_are_told_of_the_calls_that_a_filter_names(reader, comparator, value):
    told = {"field": {"api_name": "path"}, "comparator": comparator, "value": value}
    rows = reader.get("/crm/v8/__apis", params={"filters": json.dumps(told)}).json()["__apis"]
    assert [row["path"] for row in rows] == ["/crm/v8/coql"]
    for wrong in ("no json", json.dumps({**told, "field": {"api_name": "colour"}})):
        answer = reader.get("/crm/v8/__apis", params={"filters": wrong})
        assert (answer.status_code, answer.json()["details"]) == (400, {"param_name": "filters"})

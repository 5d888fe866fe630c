from datetime import UTC, datetime

import msgspec
import pytest

from service.errors import Misconfigured, ZohoError
from service.policy import load
from service.settings import HERE
from service.zoho.mapping import _crm, connect
from service.zoho.tokens import Token
from tests.zoho.conftest import settings_for

REAL = "https://www.zohoapis.com"


def token(api_domain):
    return Token(value="1000.x", api_domain=api_domain, renew_at=datetime(2026, 1, 1, tzinfo=UTC))


def base(configured: str, api_domain: str | None) -> str:
    settings = settings_for(configured)
    return _crm(settings).base(token(api_domain))


def test_crm_is_where_the_token_says():
    assert base("https://www.zohoapis.eu", REAL) == REAL


def test_without_a_word_from_the_token_crm_is_where_the_setting_says():
    assert base("https://www.zohoapis.eu/", None) == "https://www.zohoapis.eu"


@pytest.mark.parametrize("loopback", ["http://127.0.0.1:8081", "http://localhost:8081", "http://[::1]:8081"])
def test_a_simulated_organisation_never_turns_into_a_real_one(loopback):
    assert base(loopback, REAL) == loopback


def test_an_api_domain_without_tls_is_not_followed():
    assert base("https://www.zohoapis.eu", "http://www.zohoapis.eu.example") == "https://www.zohoapis.eu"


def test_without_credentials_the_error_names_what_to_set(mapping):
    settings = settings_for("http://127.0.0.1:9").model_copy(update={"zoho_client_id": ""})
    with pytest.raises(Misconfigured, match="CONSENT_ZOHO_CLIENT_ID"):
        connect(settings, mapping)


@pytest.mark.parametrize("wrong", ["", "www.zohoapis.eu", "ftp://x", "http://[::1", "https://x/crm?y=1"])
def test_an_address_that_is_none_is_refused_by_the_name_of_its_setting(mapping, wrong):
    settings = settings_for("http://127.0.0.1:9").model_copy(update={"zoho_crm_url": wrong})
    with pytest.raises(Misconfigured, match="CONSENT_ZOHO_CRM_URL"):
        connect(settings, mapping)


def test_the_policies_that_ship_with_the_service_fit_the_simulator(sim):
    with connect(settings_for(sim.url), load(HERE / "policies")) as zoho:
        zoho.crm.verify()
        assert {entry.key for entry in zoho.campaigns.lists()} >= set(zoho.campaigns._keys.values())


def test_a_field_that_does_not_exist_is_named_with_its_module_and_the_file_to_correct(sim, mapping):
    crm = msgspec.structs.replace(mapping.crm, opt_out_field="Stop_Mail")
    wrong = msgspec.structs.replace(mapping, crm=crm)
    with connect(settings_for(sim.url), wrong) as zoho:
        with pytest.raises(ZohoError, match=r"Contacts\.Stop_Mail, Leads\.Stop_Mail.*policies/zoho\.toml"):
            zoho.crm.verify()
        with pytest.raises(ZohoError, match=r"Stop_Mail.*'Contacts'.*policies/zoho\.toml"):
            list(zoho.crm.observe())

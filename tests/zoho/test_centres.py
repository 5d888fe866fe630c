"""The data centres, as the facts list them."""

import pytest

from service.zoho.centres import CENTRES, of_accounts_url
from service.zoho.simulator.switches import SWITCHES


def test_the_simulator_can_live_in_each_of_the_eight():
    home = SWITCHES["dc.home"]
    assert {home.default, *home.others} == set(CENTRES)
    assert len(CENTRES) == 8


@pytest.mark.parametrize(
    ("name", "accounts", "crm", "campaigns"),
    [
        ("us", "accounts.zoho.com", "www.zohoapis.com", "campaigns.zoho.com"),
        ("au", "accounts.zoho.com.au", "www.zohoapis.com.au", "campaigns.zoho.com.au"),
        ("cn", "accounts.zoho.com.cn", "www.zohoapis.com.cn", "campaigns.zoho.com.cn"),
        ("ca", "accounts.zohocloud.ca", "www.zohoapis.ca", "campaigns.zohocloud.ca"),
        ("sa", "accounts.zoho.sa", "www.zohoapis.sa", "campaigns.zoho.sa"),
    ],
)
def test_the_hosts_are_those_that_the_documentation_names(name, accounts, crm, campaigns):
    centre = CENTRES[name]
    found = (centre.accounts_url, centre.crm_url, centre.campaigns_url)
    assert found == (f"https://{accounts}", f"https://{crm}", f"https://{campaigns}")
    assert of_accounts_url(f"https://{accounts}/") is centre


def test_any_other_accounts_host_is_of_no_centre():
    assert of_accounts_url("http://127.0.0.1:8090") is None

import pytest

from service.zoho.licence import Licence, edition


@pytest.mark.parametrize(
    ("details", "users", "name", "credits"),
    [
        ({"paid": True, "paid_type": "professional"}, 10, "professional", 55_000),
        ({"paid": True, "paid_type": "Standard"}, 1_000, "standard", 100_000),
        ({"paid": True, "paid_type": "enterprise"}, 10_000, "enterprise", 5_000_000),
        ({"paid": True, "paid_type": "zoho_one"}, 10, "enterprise", 60_000),
        ({"paid": True, "paid_type": "CRMPlus"}, 10, "ultimate", 70_000),
        ({"paid": False, "paid_type": "free", "trial_type": "enterprise"}, 3, "enterprise", 53_000),
        ({"paid": False, "paid_type": "free", "trial_type": None}, 3, "free", 5_000),
        ({"paid": True, "paid_type": "something new"}, 50, "free", 5_000),
        ({}, 50, "free", 5_000),
    ],
)
def test_an_edition_grants_credits_by_its_users(details, users, name, credits):  # noqa: A002  # Zoho's word
    found = edition(details)
    assert (found.name, found.allowance(users)) == (name, credits)


def test_a_price_is_our_own_sum_within_what_the_organisation_tells():
    licence = Licence(
        prices={
            "POST /crm/v8/coql": (1, 3),
            "PUT /crm/v8/{module}": (1, 10),
            "POST /crm/bulk/v8/read": (500, 500),
        }
    )
    assert licence.price("POST /crm/v8/coql", 2) == 2
    assert licence.price("PUT /crm/v8/Contacts", 10) == 10
    assert licence.price("POST /crm/bulk/v8/read", 50) == 500
    assert licence.price("GET /crm/v8/org", 1) == 1

"""Which scopes are asked for, and when a token has them."""

import msgspec
import pytest

from service.policy import Workflow
from service.zoho.scopes import ASKED, SCOPES, covers, missing


def names(found):
    return [scope.name for scope in found]


def test_a_token_with_what_was_asked_for_lacks_nothing(mapping):
    assert missing(ASKED.split(","), mapping) == []
    assert len(set(ASKED.split(","))) == len(SCOPES)


def test_narrower_scopes_do_for_the_mapped_modules_and_for_no_others(mapping):
    others = [name for name in ASKED.split(",") if name != "ZohoCRM.modules.ALL"]
    contacts = ["ZohoCRM.modules.contacts.READ", "ZohoCRM.modules.contacts.UPDATE"]
    assert names(missing([*others, *contacts], mapping)) == ["ZohoCRM.modules.ALL"]
    assert missing([*others, *contacts, "ZohoCRM.modules.leads.ALL"], mapping) == []


def test_bulk_writes_ask_for_more_only_where_they_are_wanted(mapping):
    wanting = msgspec.structs.replace(mapping, crm=msgspec.structs.replace(mapping.crm, bulk_write_from=9))
    found = missing(ASKED.split(","), wanting)
    assert names(found) == ["ZohoCRM.bulk.ALL", "ZohoFiles.files.ALL"]
    assert not any(scope.required for scope in found)
    assert missing([*ASKED.split(","), "ZohoCRM.bulk.ALL", "ZohoFiles.files.ALL"], wanting) == []


def test_a_workflow_asks_for_its_scope_only_where_the_mapping_names_one(mapping):
    named = msgspec.structs.replace(mapping.campaigns, workflow=Workflow(key="3za", trigger_key="3zb"))
    wanting = msgspec.structs.replace(mapping, campaigns=named)
    assert names(missing(ASKED.split(","), wanting)) == ["ZohoCampaigns.workflow.CREATE"]
    assert missing([*ASKED.split(","), "ZohoCampaigns.workflow.CREATE"], wanting) == []


@pytest.mark.parametrize(
    ("granted", "needed", "opens"),
    [
        ("ZohoCampaigns.contact.CREATE", "ZohoCampaigns.contact.UPDATE", False),
        ("ZohoCampaigns.contact.CREATE-UPDATE", "ZohoCampaigns.contact.UPDATE", True),
        ("ZohoCampaigns.contact.WRITE", "ZohoCampaigns.contact.UPDATE", True),
        ("ZohoCampaigns.contact.WRITE", "ZohoCampaigns.contact.READ", False),
        ("ZohoCRM.settings.ALL", "ZohoCRM.settings.fields.READ", True),
        ("ZohoCRM.settings.fields.READ", "ZohoCRM.settings.layouts.READ", False),
        ("ZohoCRM.modules.contacts.READ", "ZohoCRM.modules.Contacts.READ", True),
    ],
)
def test_a_scope_opens_what_the_documentation_says(granted, needed, opens):
    assert covers([granted], needed) is opens


def test_every_scope_says_why_and_the_needed_ones_are_few():
    assert all(scope.why for scope in SCOPES)
    assert names(scope for scope in SCOPES if scope.required) == [
        "ZohoCRM.modules.ALL",
        "ZohoCRM.coql.READ",
        "ZohoCRM.settings.fields.READ",
        "ZohoCRM.org.READ",
        "ZohoCampaigns.contact.READ",
        "ZohoCampaigns.contact.UPDATE",
        "ZohoCampaigns.campaign.READ",
    ]

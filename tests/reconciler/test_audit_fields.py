"""Gotcha 2 against planted truth: what an admin made of the fields is found, and nothing else."""

import msgspec
import pytest

from service.policy import ZohoMapping
from service.reconciler.audit import Verdict
from service.reconciler.audit import fields as mapped
from service.reconciler.audit.fields import LabelField, Trouble
from service.zoho.metadata import ZohoMetadata
from tests.reconciler.conftest import World

CRM_MISFITS = {
    Trouble.WRONG_TYPE: {"module": "Contacts", "field": "Phone", "data_type": "text"},
    Trouble.TOO_SHORT: {"module": "Leads", "field": "Email", "length": 40},
    Trouble.READ_ONLY: {"module": "Leads", "field": "Email_Opt_Out", "read_only": True},
    Trouble.HIDDEN: {"module": "Contacts", "field": "Last_Name", "profiles": {"Sales": "hidden"}},
}


def found(made: World, mapping: ZohoMapping | None = None) -> set[tuple[str, str, Trouble]]:
    metadata = ZohoMetadata(made.zoho.crm, made.zoho.campaigns).describe(["Contacts", "Leads"])
    compared = mapped.compare(mapping or made.context.policy.zoho, metadata)
    return {(fault.module, fault.crm, fault.trouble) for one in compared for fault in one.faults}


def point(made: World, mapping: ZohoMapping | None = None):
    metadata = ZohoMetadata(made.zoho.crm, made.zoho.campaigns).describe(["Contacts", "Leads"])
    return mapped.mapping(mapped.compare(mapping or made.context.policy.zoho, metadata))


def declared(made: World, name: str, **changes) -> ZohoMapping:
    """The shipped mapping with one field declared otherwise."""
    mapping = made.context.policy.zoho
    fields = tuple(
        msgspec.structs.replace(one, **changes) if one.crm == name else one for one in mapping.fields
    )
    return msgspec.structs.replace(mapping, fields=fields)


@pytest.mark.parametrize("told", [False, True])
def test_a_clean_organisation_has_nothing_wrong_with_its_fields(small, told):
    small.sim.control("switches", {"campaigns.field_types": told})
    assert found(small) == set()
    assert point(small).verdict is Verdict.PASS


@pytest.mark.parametrize("trouble", CRM_MISFITS)
def test_each_defect_of_a_crm_field_is_found_where_it_is(small, trouble):
    misfit = CRM_MISFITS[trouble]
    small.sim.control("crm/field", misfit)
    assert found(small) == {(misfit["module"], misfit["field"], trouble)}


def test_a_messy_organisation_is_told_defect_by_defect(small):
    for misfit in CRM_MISFITS.values():
        small.sim.control("crm/field", misfit)
    small.sim.control("crm/remove", {"names": ["Leads.First_Name"]})
    small.sim.control("campaigns/field", {"label": "Country", "renamed": ""})
    mapping = declared(small, "Phone", owner="both")
    assert found(small, mapping) == {
        *((misfit["module"], misfit["field"], trouble) for trouble, misfit in CRM_MISFITS.items()),
        ("Leads", "First_Name", Trouble.MISSING),
        ("Contacts", "Mailing_Country", Trouble.MISSING),
        ("Leads", "Country", Trouble.MISSING),
        ("Contacts", "Phone", Trouble.ONE_WAY),
        ("Leads", "Phone", Trouble.ONE_WAY),
    }
    told = point(small, mapping)
    assert told.verdict is Verdict.FAIL
    counted = {one.label: one.value for one in told.figures}
    assert counted == {
        "missing": 3,
        "wrong type": 1,
        "too short": 1,
        "read-only": 1,
        "hidden from a profile": 1,
        "one way only": 2,
    }


def test_an_adversarial_organisation_with_several_defects_in_one_field_is_told_all_of_them(small):
    everything = {"data_type": "text", "length": 30, "read_only": True, "profiles": {"Sales": "hidden"}}
    small.sim.control("crm/field", {"module": "Contacts", "field": "Email_Opt_Out", **everything})
    small.sim.control(
        "crm/field", {"module": "Contacts", "field": "Email", "profiles": {"Sales": "read_only"}}
    )
    small.sim.control("campaigns/field", {"label": "Marketing Permission", "renamed": "marketing permission"})
    small.sim.control("switches", {"campaigns.field_types": True})
    small.sim.control("campaigns/field", {"label": "Contact Email", "length": 50})
    small.sim.control("campaigns/field", {"label": "Phone", "type": "Date"})
    mapping = declared(small, "Phone", campaigns_type="Text")
    out = ("Contacts", "Email_Opt_Out")
    assert found(small, mapping) == {
        (*out, Trouble.WRONG_TYPE),
        (*out, Trouble.READ_ONLY),
        (*out, Trouble.HIDDEN),
        (*out, Trouble.MISSING),
        ("Leads", "Email_Opt_Out", Trouble.MISSING),
        ("Contacts", "Email", Trouble.TOO_SHORT),
        ("Leads", "Email", Trouble.TOO_SHORT),
        ("Contacts", "Phone", Trouble.WRONG_TYPE),
        ("Leads", "Phone", Trouble.WRONG_TYPE),
    }


def test_a_label_in_other_letters_is_told_as_campaigns_writes_it(small):
    small.sim.control("campaigns/field", {"label": "Marketing Permission", "renamed": "Marketing permission"})
    told = point(small)
    assert told.verdict is Verdict.FAIL
    (line,) = told.advice
    assert line.startswith(
        'Contacts.Email_Opt_Out, Leads.Email_Opt_Out: Campaigns calls it "Marketing permission"'
    )
    assert 'Contacts > Contact Fields: rename it to "Marketing Permission"' in line


def test_defects_that_lose_nothing_for_everybody_are_a_warning(small):
    small.sim.control("crm/field", CRM_MISFITS[Trouble.TOO_SHORT])
    small.sim.control("crm/field", CRM_MISFITS[Trouble.HIDDEN])
    assert point(small).verdict is Verdict.WARN


def test_type_and_length_of_a_contact_field_are_read_where_campaigns_tells_them(small):
    small.sim.control("switches", {"campaigns.field_types": True})
    small.sim.control("campaigns/field", {"label": "Phone", "type": "Phone", "length": 15})
    fields = {one.label: one for one in small.zoho.campaigns.described_fields()}
    assert fields["Phone"] == LabelField(label="Phone", type="phone", length=15)
    small.sim.control("switches", {"campaigns.field_types": False})
    assert {(one.type, one.length) for one in small.zoho.campaigns.described_fields()} == {("", 0)}

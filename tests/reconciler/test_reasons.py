"""Dead mailboxes are tagged in CRM with the reason, where policies/zoho.toml names a field for it."""

from dataclasses import replace

import msgspec
import pytest

from service.consent import Category
from service.reconciler.enforce import carry_out
from service.zoho.mapping import connect
from tests.running import claim

from .conftest import hasty, settings, world


@pytest.fixture
def tagging(sqlite_url):
    with world(sqlite_url, 60) as made:
        crm = msgspec.structs.replace(made.context.policy.zoho.crm, reason_field="Bounce_Reason")
        mapping = msgspec.structs.replace(made.context.policy.zoho, crm=crm)
        with connect(settings(made.sim.url), mapping, pace=hasty()) as zoho:
            yield replace(made, context=replace(made.context, crm=zoho.crm, campaigns=zoho.campaigns))


def reasons(made, email: str) -> set[str | None]:
    return {record["Bounce_Reason"] for record in made.person(email)["crm"]}


def test_a_run_writes_why_a_mailbox_was_opted_out_and_nothing_about_those_who_chose(tagging):
    tagging.run()
    for kind, reason in (
        ("hard_bounce_not_in_crm", "Hard bounce"),
        ("repeated_soft_bounce_not_in_crm", "Repeated soft bounces"),
        ("unsubscribed_not_in_crm", None),
    ):
        assert reasons(tagging, tagging.emails(kind)[0]) == {reason}


def test_the_short_way_writes_it_too(tagging):
    email = tagging.ordinary()
    tagging.intake.record([claim(email, category=Category.BOUNCE_HARD, evidence={})])
    assert carry_out(tagging.context, worker="w").done == 1
    assert reasons(tagging, email) == {"Hard bounce"}


def test_without_the_field_only_the_checkbox_is_written(sqlite_url):
    with world(sqlite_url, 60) as made:
        made.run()
        assert reasons(made, made.emails("hard_bounce_not_in_crm")[0]) == {None}

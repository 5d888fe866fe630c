"""Somebody erased stays stopped in both products, and no sighting makes the ledger know them again."""

import pytest
from sqlalchemy import select

from service.consent import Category
from service.db import payload, subject
from service.intake.erasures import ErasureList
from service.intake.forgetting import erase
from service.vault import address
from tests.reconciler.conftest import stopped
from tests.running import claim, withdrawal


@pytest.fixture
def forgetful(small, tmp_path):
    small.intake.erasures = ErasureList(tmp_path / "erasures")
    return small


def known(world) -> int:
    with world.db.read() as tx:
        return len(tx.scalars(select(subject.c.sub)).all())


def forget(world) -> str:
    """Erase somebody whom both products permit and the ledger knows by a consent."""
    email = world.ordinary()
    world.intake.record([claim(address.parse(email))])
    erase(world.intake, address.parse(email), reason="request")
    return email


def test_the_next_run_stops_an_erased_person_in_both_products(forgetful):
    email = forget(forgetful)
    assert not stopped(forgetful, email)
    forgetful.run()
    assert stopped(forgetful, email)
    with forgetful.db.read() as tx:
        assert forgetful.intake.vault.find(tx, email) is None


def test_who_is_switched_on_again_by_hand_is_stopped_again_and_stays_unknown(forgetful):
    email = forget(forgetful)
    forgetful.run()
    people = known(forgetful)
    forgetful.sim.control("crm/set", {"email": email, "fields": {"Email_Opt_Out": False}})
    forgetful.run()
    assert stopped(forgetful, email)
    assert known(forgetful) == people


def test_a_second_run_over_the_erased_finds_and_records_nothing_new(forgetful):
    forget(forgetful)
    forgetful.run()
    size = forgetful.size()
    assert not forgetful.run().plan.changes
    assert forgetful.size() == size


def test_the_enforcement_is_an_entry_about_nobody_without_the_records_number(forgetful):
    forget(forgetful)
    forgetful.run()
    with forgetful.db.read() as tx:
        nobody = tx.scalars(select(payload.c.idx).where(payload.c.sub == bytes(32))).all()
        opened = forgetful.intake.vault.openings(tx, nobody)
    targets = {fields.fields["target"] for fields in opened.values() if "target" in fields.fields}
    assert targets == {"crm:Contacts", "campaigns"}
    assert not any("email" in fields.fields for fields in opened.values())


def test_who_left_in_campaigns_before_the_erasure_is_no_news_after_it(forgetful):
    (email,) = forgetful.emails("opted_out_by_hand")
    forgetful.intake.record([claim(address.parse(email))])
    forgetful.run()
    erase(forgetful.intake, address.parse(email), reason="request")
    people = known(forgetful)
    forgetful.run()
    assert known(forgetful) == people
    assert stopped(forgetful, email)


def test_who_came_back_by_their_own_consent_is_not_stopped_again(forgetful):
    email = forget(forgetful)
    forgetful.intake.record([claim(address.parse(email))])
    forgetful.run()
    assert not stopped(forgetful, email)


def test_who_came_back_without_consenting_is_still_stopped(forgetful):
    email = forget(forgetful)
    back = withdrawal(address.parse(email), category=Category.REQUESTED)
    forgetful.intake.record([back])
    forgetful.run()
    assert stopped(forgetful, email)

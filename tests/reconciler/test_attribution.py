"""Who or what caused a drift, as far as the products tell."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from service.db import drift
from service.reconciler.attribution import Cause, top_openers
from tests.running import withdrawal

from .conftest import world


@pytest.fixture
def small(sqlite_url):
    with world(sqlite_url, 60) as made:
        yield made


def cause(made, email: str) -> tuple[str, str | None, int]:
    index = made.intake.vault.address_index(email)
    with made.db.read() as tx:
        return tx.execute(
            select(drift.c.cause, drift.c.actor, drift.c.reopened)
            .where(drift.c.address_index == index)
            .order_by(drift.c.run_id.desc())
            .limit(1)
        ).one()


def openers(made):
    now = made.clock()
    with made.db.read() as tx:
        return top_openers(tx, now - timedelta(days=30), now)


def test_every_drift_has_a_cause(database_url):
    with world(database_url, 60) as made:
        made.run(applying=False)
        with made.db.read() as tx:
            causes = tx.scalars(select(drift.c.cause)).all()
    assert causes
    assert set(causes) <= {one.value for one in Cause}


def test_an_opt_out_by_hand_names_the_user_of_crm(small):
    email = small.emails("opted_out_by_hand")[0]
    small.run(applying=False)
    found, actor, reopened = cause(small, email)
    assert found == Cause.STAFF
    assert actor in {"Petra Lindqvist", "Samir Haddad", "Grace Okafor"}
    assert not reopened


def test_an_unsubscribe_that_did_not_flow_back_was_carried_over_by_nobody(small):
    small.run(applying=False)
    assert cause(small, small.emails("unsubscribed_not_in_crm")[0]).cause == Cause.NOT_CARRIED


def test_a_dead_mailbox_is_its_own_cause(small):
    small.run(applying=False)
    assert cause(small, small.emails("hard_bounce_not_in_crm")[0]).cause == Cause.MAILBOX


def test_who_opens_again_what_was_stopped_leads_the_list_of_re_subscribers(small):
    emails = [small.ordinary()]
    small.intake.record([withdrawal(email) for email in emails])
    small.run()
    for email in emails:
        small.sim.control(
            "crm/set", {"email": email, "fields": {"Email_Opt_Out": False}, "by": "Samir Haddad"}
        )
    small.run(applying=False)
    assert cause(small, emails[0]) == (Cause.STAFF, "Samir Haddad", 1)
    assert openers(small) == [("Samir Haddad", Cause.STAFF, 1)]


def test_the_timeline_tells_a_sync_from_a_person(small):
    email = small.ordinary()
    small.intake.record([withdrawal(email)])
    small.run()
    small.sim.control("crm/set", {"email": email, "fields": {"Email_Opt_Out": False}})
    small.sim.world.db.execute(
        "UPDATE timeline SET source = 'mass_update' WHERE id = (SELECT max(id) FROM timeline)"
    )
    small.run(applying=False)
    assert cause(small, email).cause == Cause.IMPORT


def test_a_product_that_tells_no_timelines_does_not_stop_the_run(small):
    email = small.ordinary()
    small.intake.record([withdrawal(email)])
    small.run()
    small.sim.control("crm/set", {"email": email, "fields": {"Email_Opt_Out": False}, "by": "Samir Haddad"})
    small.sim.control(
        "break", {"match": "GET /crm/v8/Contacts/", "how": "status", "status": 500, "times": 50}
    )
    small.run(applying=False)
    assert cause(small, email) == (Cause.STAFF, "Samir Haddad", 1)


def test_who_is_back_in_campaigns_after_a_stop_is_blamed_on_nobody_of_crm_and_not_on_us(small):
    email = small.emails("opted_out_by_hand")[0]
    small.run()
    small.sim.world.db.execute(
        "UPDATE contacts SET dnm = NULL, permission = 'Granted' WHERE email = ?", (email,)
    )
    small.sim.world.db.execute(
        "UPDATE members SET status = 'active' WHERE contact_id = (SELECT id FROM contacts WHERE email = ?)",
        (email,),
    )
    small.run(applying=False)
    assert cause(small, email) == (Cause.CAMPAIGNS, None, 1)
    assert openers(small)[0][1] == Cause.CAMPAIGNS

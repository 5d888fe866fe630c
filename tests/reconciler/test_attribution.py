"""Who or what caused a drift, as far as the products tell."""

from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice

import msgspec
import pytest
from sqlalchemy import select

from service.db import drift
from service.reconciler import mirror
from service.reconciler.actors import UNNAMED
from service.reconciler.attribution import SOURCES, Cause, cause_of
from service.reconciler.openers import NOBODY, Opener
from service.reconciler.openers import openers as openers_of
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
        return openers_of(tx, now - timedelta(days=30), now)


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
    assert openers(small).top == (Opener(name="Samir Haddad", people=1, causes=(Cause.STAFF,)),)


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
    assert openers(small).top == (Opener(name=NOBODY, people=1, causes=(Cause.CAMPAIGNS,)),)


def test_top_re_subscribers_are_exact_over_all_drifts_however_few_timelines_are_read(begun):
    """Three users open 300 people again; later edits by another change nothing, nor do 50 timelines a run."""
    people = {"Samir Haddad": 150, "Petra Lindqvist": 100, "Grace Okafor": 50}
    with begun(360) as made:
        asked = "SELECT DISTINCT lower(Email) FROM crm_Contacts WHERE Email IS NOT NULL ORDER BY id LIMIT 300"
        emails = [email for (email,) in made.sim.world.db.execute(asked)]
        assert len(emails) == 300
        made.intake.record([withdrawal(email) for email in emails])
        made.sim.world.db.execute("UPDATE crm_Contacts SET Email_Opt_Out = 1")
        made.run(applying=False)
        at = iter(emails)
        for name, count in people.items():
            for email in islice(at, count):
                opened = {"email": email, "fields": {"Email_Opt_Out": False}, "by": name}
                made.sim.control("crm/set", opened)
        made.run(applying=False)
        first = openers(made)
        for email in emails[:60]:
            edited = {"email": email, "fields": {"Last_Name": "Edited"}, "by": "Grace Okafor"}
            made.sim.control("crm/set", edited)
        made.run(applying=False)
        second = openers(made)
    for found in (first, second):
        assert {one.name: one.people for one in found.top} == people
        assert (found.people, found.others) == (300, 0)
    assert (first.by_record, second.by_record) == (250, 200)


def test_a_timeline_corrects_what_earlier_runs_said_of_the_same_opening(small):
    """Somebody else edits the record before the first look: its last writer is not who opened it."""
    email = small.ordinary()
    small.intake.record([withdrawal(email)])
    small.run()
    small.sim.control("crm/set", {"email": email, "fields": {"Email_Opt_Out": False}, "by": "Samir Haddad"})
    small.sim.control("crm/set", {"email": email, "fields": {"Last_Name": "Edited"}, "by": "Grace Okafor"})
    small.run(applying=False, policy=asking(small, timelines=0))
    assert [one.name for one in openers(small).top] == ["Grace Okafor"]
    assert openers(small).by_record == 1
    small.run(applying=False)
    assert [one.name for one in openers(small).top] == ["Samir Haddad"]
    assert openers(small).by_record == 0


def test_what_a_timeline_told_is_not_asked_again(small):
    email = small.ordinary()
    small.intake.record([withdrawal(email)])
    small.run()
    small.sim.control("crm/set", {"email": email, "fields": {"Email_Opt_Out": False}, "by": "Samir Haddad"})
    for _ in range(2):
        small.run(applying=False)
    calls = small.sim.control("meter")["by_endpoint"]
    assert sum(count for name, count in calls.items() if "__timeline" in name) == 1
    assert cause(small, email) == (Cause.STAFF, "Samir Haddad", 1)


def test_whom_we_let_go_ourselves_was_opened_again_by_nobody(small):
    """The opt-out by hand was seen before; what we wrote afterwards is no user's doing."""
    email = small.ordinary()
    small.run(applying=False)
    small.sim.control("crm/set", {"email": email, "fields": {"Email_Opt_Out": True}, "by": "Samir Haddad"})
    small.run(applying=False)
    small.sim.control("crm/set", {"email": email, "fields": {"Email_Opt_Out": False}})
    with small.db.begin() as tx:
        mirror.note_opted_out(tx, small.context.crm.find(email))
    small.intake.record([withdrawal(email)])
    small.run(applying=False)
    assert cause(small, email) == (Cause.NOT_CARRIED, None, 0)


def asking(made, *, timelines: int):
    """The rules, with so many timelines a run."""
    enforcement = made.intake.policy.enforcement
    quota = msgspec.structs.replace(enforcement.quota, timelines_per_run=timelines)
    return msgspec.structs.replace(
        made.intake.policy, enforcement=msgspec.structs.replace(enforcement, quota=quota)
    )


@dataclass
class Nameless:
    """A CRM that shows its users by number alone, as after they were deleted."""

    crm: object
    timelines: bool = True

    def observe(self, **more):
        return (replace(found, modified_by="5725767000000411001") for found in self.crm.observe(**more))

    def last_flip(self, module, record_id):
        return self.crm.last_flip(module, record_id) if self.timelines else None

    def __getattr__(self, name):
        return getattr(self.crm, name)


@pytest.mark.parametrize(("timelines", "called"), [(True, "Samir Haddad"), (False, UNNAMED)])
def test_a_deleted_user_is_named_by_the_timeline_and_never_by_a_number(small, timelines, called):
    email = small.ordinary()
    small.intake.record([withdrawal(email)])
    small.run()
    small.sim.control("crm/set", {"email": email, "fields": {"Email_Opt_Out": False}, "by": "Samir Haddad"})
    small.run(applying=False, crm=Nameless(small.zoho.crm, timelines=timelines))
    assert cause(small, email) == (Cause.STAFF, called, 1)
    assert openers(small).top == (Opener(name=called, people=1, causes=(Cause.STAFF,)),)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("crm_ui", Cause.STAFF),
        ("crm_api", Cause.AUTOMATION),
        ("workflow", Cause.AUTOMATION),
        ("migration", Cause.IMPORT),
        ("mass_addition_via_ui", Cause.IMPORT),
        ("zoho_campaigns", Cause.SYNC),
        ("nobody published this", Cause.UNKNOWN),
    ],
)
def test_each_source_of_a_timeline_has_a_cause_and_an_unknown_one_is_called_unknown(source, expected):
    assert SOURCES.get(source, Cause.UNKNOWN) is expected


@pytest.mark.parametrize("mode", ["Unsubscribe link", "Consent form", "Manual", "Zoho campaigns", "Other"])
def test_how_somebody_left_crm_is_told_from_its_mode(mode):
    left = {"Manual": Cause.STAFF, "Zoho campaigns": Cause.SYNC, "Other": Cause.UNKNOWN}
    assert cause_of("opted_out_by_hand", mode=mode) is left.get(mode, Cause.PERSON)

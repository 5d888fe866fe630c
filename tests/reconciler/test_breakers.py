"""Breakers and canaries: small rules, and what they stop in the simulated organisation."""

from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

import msgspec
import pytest
from sqlalchemy import delete, select, update

from service.consent import State
from service.db import breaker, canary, drift
from service.errors import Misconfigured
from service.policy.limits import Breaker, Breakers, Canaries
from service.reconciler import breakers, canaries, hatching, natures
from service.reconciler.watch import Watch
from service.zoho.mapping import connect
from tests.reconciler.conftest import World, hasty, settings, stopped
from tests.reconciler.test_plan import decide, with_rules
from tests.running import claim, withdrawal

LIMIT = Breaker(re_permissions=200, re_permission_share=0.02, re_permissions_free=10)


@pytest.mark.parametrize(
    ("seen", "before", "trips"),
    [
        ({"crm": 100}, {}, False),
        ({"crm": 0}, {}, True),
        ({"crm": 80}, {"crm": 100}, False),
        ({"crm": 79}, {"crm": 100}, True),
        ({"list:a": 10, "permission": 0}, {}, False),
        ({"list:a": 0, "permission": 10}, {}, True),
        ({"list:a": 10, "list:b": 2}, {"list:a": 10, "list:b": 3}, True),
        ({"list:a": 10}, {"list:a": 10, "permission": 5}, True),
    ],
)
def test_a_read_that_is_empty_or_lost_more_than_allowed_is_not_believed(seen, before, trips):
    assert bool(breakers.shrunken_read(seen, before, 0.2)) is trips


@pytest.mark.parametrize(("unknown", "of", "trips"), [(0, 0, False), (1, 100, False), (2, 100, True)])
def test_more_unknown_values_than_allowed_are_not_believed(unknown, of, trips):
    assert bool(breakers.unknown_values(unknown, of, 0.01)) is trips


@pytest.mark.parametrize(
    ("people", "of", "trips"),
    [(9, 10, False), (10, 10, True), (10, 500, False), (200, 1_000_000, False), (201, 1_000_000, True)],
)
def test_too_many_re_permissions_trip_by_number_or_by_share(people, of, trips):
    assert bool(breakers.many_re_permissions(people, of, LIMIT)) is trips


@pytest.mark.parametrize(
    ("by_actor", "trips"), [({}, False), ({"Petra": 100}, False), ({"Petra": 101, "Jo": 1}, True)]
)
def test_a_sudden_change_of_many_people_names_its_actor(by_actor, trips):
    reason = breakers.sudden_change(by_actor, 100)
    assert ("Petra" in (reason or "")) is trips


def test_an_actor_of_whom_crm_tells_a_number_alone_is_not_called_by_it():
    reason = breakers.sudden_change({"5725767000000411001": 101}, 100)
    assert (reason or "").startswith("a deleted or unnamed user changed the consent of 101 records")


def with_limits(made: World, **limits):
    """The shipped rules with other limits for CRM."""
    enforcement = msgspec.structs.replace(
        made.intake.policy.enforcement, breakers=Breakers(crm=Breaker(**limits))
    )
    return msgspec.structs.replace(made.intake.policy, enforcement=enforcement)


def test_too_many_re_permissions_let_nobody_go_in_that_product_alone(small):
    (email, *_) = small.emails("opted_out_both")
    small.intake.record([claim(email)])
    result = small.run(policy=with_limits(small, re_permissions=0))
    assert [(trip.target, trip.name, trip.stops) for trip in result.tripped] == [
        ("crm", "re-permissions", "permissions")
    ]
    assert {item.target for item in result.plan.permits} == {"campaigns"}
    assert not result.remaining


def test_many_records_changed_by_one_person_let_nobody_go_and_stop_everybody_all_the_same(small):
    small.run(applying=False)
    emails = [*small.emails("opted_out_both"), *small.emails("unsubscribed_not_in_crm")][:1]
    for email in [*emails, small.ordinary()]:
        small.sim.control("crm/set", {"email": email, "fields": {"Email_Opt_Out": False}, "by": "Jo Beck"})
        small.sim.control("crm/set", {"email": email, "fields": {"Email_Opt_Out": True}, "by": "Jo Beck"})
    result = small.run(policy=with_limits(small, one_actor=0))
    (trip,) = result.tripped
    assert (trip.target, trip.name, trip.stops) == ("crm", "one actor", "permissions")
    assert "Jo Beck" in trip.reason
    assert not result.remaining


def test_many_permissions_that_came_back_in_campaigns_let_nobody_go_there_and_leave_crm_alone(small):
    small.run(applying=False)
    db = small.sim.world.db
    emails = [small.ordinary(), *small.emails("permission_refused_in_campaigns")]
    marks = ",".join("?" * len(emails))
    db.execute(f"UPDATE contacts SET permission = 'Refused' WHERE email IN ({marks})", emails)
    small.run(applying=False)
    db.execute(f"UPDATE contacts SET permission = 'Granted' WHERE email IN ({marks})", emails)
    enforcement = msgspec.structs.replace(
        small.intake.policy.enforcement, breakers=Breakers(campaigns=Breaker(one_actor=0, unknown_values=0.5))
    )
    result = small.run(policy=msgspec.structs.replace(small.intake.policy, enforcement=enforcement))
    assert [(trip.target, trip.name, trip.stops) for trip in result.tripped] == [
        ("campaigns", "one actor", "permissions")
    ]
    assert breakers.held(result.tripped) == {"campaigns"}
    assert not breakers.blind(result.tripped)
    assert not result.remaining


@dataclass
class Odd:
    """A CRM whose checkbox holds words that nobody knows."""

    crm: object

    def observe(self, **more):
        return (replace(record, understood=False) for record in self.crm.observe(**more))

    def __getattr__(self, name):
        return getattr(self.crm, name)


def test_values_that_mean_neither_leave_the_product_out(small):
    result = small.run(crm=Odd(small.zoho.crm))
    assert [(trip.target, trip.name) for trip in result.tripped] == [("crm", "unknown values")]
    assert {item.target for item in result.plan.changes} == {"campaigns"}
    assert not result.plan.reports


def test_a_product_that_cannot_be_understood_lets_nobody_go_and_the_other_one_does(small):
    (email, *_) = small.emails("opted_out_both")
    small.run()
    small.clock.ahead += timedelta(minutes=5)
    small.intake.record([claim(email, received_at=small.clock())])
    policy = with_rules(small)
    found = small.run(crm=Odd(small.zoho.crm), policy=policy)
    assert {item.target for item in found.plan.permits} == {"campaigns"}
    decide(small, found.run_id, found.plan.digest, policy=policy)
    small.run(crm=Odd(small.zoho.crm), policy=policy)
    assert "active" in small.person(email)["campaigns"]["lists"].values()
    assert all(record["Email_Opt_Out"] for record in small.person(email)["crm"])
    assert {item.target.partition(":")[0] for item in small.run(policy=policy).plan.permits} == {"crm"}


def test_what_tripped_is_kept_with_the_run(small):
    result = small.run(crm=Odd(small.zoho.crm))
    with small.db.read() as tx:
        assert breakers.tripped(tx, result.run_id) == list(result.tripped)
        assert tx.scalar(select(breaker.c.run_id)) == result.run_id


def test_what_only_the_ledger_knows_reaches_the_product_that_is_left(small):
    email = small.ordinary()
    small.intake.record([withdrawal(email)])
    small.run(crm=Odd(small.zoho.crm))
    assert "active" not in small.person(email)["campaigns"]["lists"].values()
    small.run()
    assert stopped(small, email)


@contextmanager
def mapped(made: World, **mapping):
    """The same organisation through other rules: with canaries, and the mapping changed where said."""
    policy = made.intake.policy
    homes = Canaries(domain="canaries.example.com", dead_domain="dead.example.com")
    enforcement = msgspec.structs.replace(policy.enforcement, canaries=homes)
    crm = {name: value for name, value in mapping.items() if name == "opt_out_field"}
    campaigns = {name: value for name, value in mapping.items() if name not in crm}
    zoho = msgspec.structs.replace(
        policy.zoho,
        crm=msgspec.structs.replace(policy.zoho.crm, **crm),
        campaigns=msgspec.structs.replace(policy.zoho.campaigns, **campaigns),
    )
    policy = msgspec.structs.replace(policy, enforcement=enforcement, zoho=zoho, digest=bytes(32))
    with connect(settings(made.sim.url), policy, pace=hasty()) as clients:
        context = replace(made.context, policy=policy, crm=clients.crm, campaigns=clients.campaigns)
        yield replace(made, context=context, zoho=clients)


@pytest.fixture
def watched(small):
    """A small organisation with canaries, and the rules that name them."""
    with mapped(small) as made:
        hatching.create(made.context)
        yield made


def address(made: World, state: str) -> str:
    with made.db.read() as tx:
        return made.intake.vault.open_address(
            tx.scalar(select(canary.c.address).where(canary.c.state == state))
        )


def troubles(made: World) -> dict[str, str | None]:
    with made.db.read() as tx:
        return {row.state: row.trouble for row in canaries.shown(tx)}


def test_canaries_are_created_in_every_state_that_the_products_permit(watched):
    opted_out = {state: watched.person(address(watched, state))["crm"][0] for state in natures.STATES}
    assert {state: record["Email_Opt_Out"] for state, record in opted_out.items()} == natures.OPTED_OUT
    for state in natures.STATES:
        records = watched.context.crm.find(address(watched, state))
        read = {record.module: record.opted_out for record in records}
        assert read == dict.fromkeys(("Contacts", "Leads"), natures.OPTED_OUT[state])
    shown = {state: watched.person(address(watched, state))["campaigns"] or {} for state in natures.STATES}
    assert {state: [*one.get("lists", {}).values()] for state, one in shown.items()} == {
        "granted": ["active"],
        "refused": ["active"],
        "unsubscribed": ["unsub"],
        "pending": ["active"],
        "expired": ["unsub"],
        "bounced": ["active"],
        "complained": ["unsub"],
        "suppressed": [],
        "unknown": [],
    }
    permission = {s: one["fields"].get("Marketing Permission") for s, one in shown.items() if "fields" in one}
    assert (permission["granted"], permission["refused"]) == ("Granted", "Refused")
    assert (permission["pending"], permission["expired"]) == (None, "Refused")


def test_every_state_of_standing_has_a_canary():
    said = {State.PERMITTED: "granted", State.REFUSED: "refused"}
    assert {said.get(state, state.value) for state in State} <= set(natures.STATES)


def test_canaries_are_created_once(watched):
    before = watched.products()
    hatching.create(watched.context)
    assert watched.products() == before


def test_canaries_need_a_domain_of_their_own(small):
    with pytest.raises(Misconfigured, match="dead_domain"):
        hatching.create(small.context)


def test_every_run_writes_the_canaries_and_reads_them_back(watched):
    result = watched.run()
    assert not result.tripped
    waiting = {"bounced": "the bounced canary has not bounced yet"}
    names = [*natures.STATES, *(f"{state} in Leads" for state in natures.STATES)]
    assert troubles(watched) == dict.fromkeys(names) | waiting
    watched.sim.control("campaigns/bounce", {"email": address(watched, "bounced")})
    assert not watched.run().tripped
    assert set(troubles(watched).values()) == {None}


def test_canaries_are_nobody_in_drift_news_and_ledger(watched):
    watched.sim.control("campaigns/bounce", {"email": address(watched, "bounced")})
    result = watched.run()
    assert dict(result.found) == watched.planted()
    ours = {watched.intake.vault.address_index(address(watched, state)) for state in natures.STATES}
    with watched.db.read() as tx:
        assert not ours & set(tx.scalars(select(drift.c.address_index)))
    assert all(watched.events(address(watched, state)) == [] for state in natures.STATES)


def test_a_canary_that_somebody_changed_by_hand_is_put_right_and_trips_nothing(watched):
    watched.run()
    email = address(watched, "refused")
    watched.sim.control("crm/set", {"email": email, "fields": {"Email_Opt_Out": False}})
    assert not watched.run().tripped
    assert watched.person(email)["crm"][0]["Email_Opt_Out"] is True


INVERTED = {
    "values": {"granted": "Refused", "refused": "Granted"},
    "segments": {"granted_segment": "80696000000061003", "refused_segment": "80696000000061001"},
}
INVERTED["both"] = INVERTED["values"] | INVERTED["segments"]


@pytest.mark.parametrize(
    ("state", "found", "product"),
    [
        ("granted", (False, {"a": "active"}, "refused"), "campaigns"),
        ("refused", (False, {"a": "active"}, "refused"), "crm"),
        ("unsubscribed", (True, {"a": "unsub", "b": "active"}, "refused"), "campaigns"),
        ("pending", (False, {"a": "active"}, "granted"), "campaigns"),
        ("pending", (True, {"a": "active"}, None), "crm"),
        ("expired", (True, {"a": "unsub"}, "granted"), "campaigns"),
        ("bounced", (True, {"a": "bounce"}, "granted"), "campaigns"),
        ("complained", (True, {"a": "active"}, "refused"), "campaigns"),
        ("suppressed", (False, {}, None), "crm"),
        ("unknown", (False, {}, "refused"), "campaigns"),
        ("unknown", (False, {"a": "active"}, None), "campaigns"),
    ],
)
def test_each_canary_tells_which_product_shows_it_the_wrong_way_round(state, found, product):
    opted_out, statuses, permission = found
    wrong = [
        *natures.wrong_in_crm(state, "Contacts", opted_out=opted_out),
        *natures.wrong_in_campaigns(state, statuses, permission),
    ]
    assert [target for target, _ in wrong] == [product]
    assert f"the {state} canary" in wrong[0][1]


@pytest.mark.parametrize("state", natures.STATES)
def test_a_canary_that_shows_what_was_written_is_right(state):
    nature = natures.NATURES[state]
    statuses = {"a": nature.status.value} if nature.status else {}
    assert not [
        *natures.wrong_in_crm(state, "Contacts", opted_out=nature.opted_out),
        *natures.wrong_in_campaigns(state, statuses, nature.permission),
    ]


def test_a_segment_that_takes_in_whoever_nobody_asked_is_found_by_the_canary_nobody_asked(watched):
    """The granted segment's criterion is loosened to "is not Refused": everybody unasked looks granted."""
    watched.run()
    db = watched.sim.world.db
    pending = address(watched, "pending")
    db.execute("UPDATE contacts SET permission = 'Granted' WHERE email = ?", (pending,))
    result = watched.run()
    assert [(trip.target, trip.name) for trip in result.tripped] == [("campaigns", "canary polarity")]
    assert "the pending canary reads granted" in result.tripped[0].reason


@pytest.mark.parametrize("which", INVERTED)
def test_a_permission_whose_values_changed_places_leaves_campaigns_out(watched, which):
    watched.run()
    before = watched.products()
    email = watched.ordinary()
    with mapped(watched, **INVERTED[which]) as inverted:
        result = inverted.run()
    assert [(trip.target, trip.name) for trip in result.tripped] == [("campaigns", "canary polarity")]
    assert "canary reads" in result.tripped[0].reason
    assert watched.products() == before
    assert watched.events(email) == []


def test_an_opt_out_read_from_another_field_leaves_crm_out(watched):
    watched.run()
    before = watched.products()
    with mapped(watched, opt_out_field="Newsletter") as inverted:
        result = inverted.run()
    assert ("crm", "canary polarity") in [(trip.target, trip.name) for trip in result.tripped]
    assert watched.products() == before
    assert all(not item.target.startswith("crm") for item in result.plan.changes)


def test_an_opt_out_that_turns_round_in_one_module_alone_trips_and_names_that_module(watched):
    """An automation of Leads writes the opposite of what it is told; Contacts are as they should be."""
    watched.run()
    email = watched.ordinary()
    watched.sim.world.db.executescript(
        "CREATE TRIGGER turned AFTER UPDATE OF Email_Opt_Out ON crm_Leads BEGIN"
        " UPDATE crm_Leads SET Email_Opt_Out = 1 - NEW.Email_Opt_Out WHERE id = NEW.id; END"
    )
    result = watched.run()
    (trip,) = result.tripped
    assert (trip.target, trip.name, trip.stops) == ("crm", "canary polarity", "all")
    assert "the refused canary reads not opted out in Leads" in trip.reason
    assert "in Contacts" not in trip.reason
    wrong = {name for name, trouble in troubles(watched).items() if trouble}
    assert wrong == {"bounced", *(f"{state} in Leads" for state in natures.STATES)}
    assert all(not item.target.startswith("crm") for item in result.plan.changes)
    assert watched.events(email) == []


def test_a_stop_of_leads_that_somebody_turned_round_is_read_under_a_new_mapping_before_it_is_written(watched):
    watched.run()
    watched.sim.world.db.execute("UPDATE crm_Leads SET Email_Opt_Out = 1 - Email_Opt_Out")
    with watched.db.begin() as tx:
        tx.execute(update(canary).values(mapping=b"another"))
    (trip,) = watched.run().tripped
    assert "the granted canary reads opted out in Leads" in trip.reason
    assert {watched.context.crm.find(address(watched, "refused"))[1].opted_out} == {False}


def test_an_installation_of_one_module_is_given_the_records_that_it_lacks_and_nothing_else(watched):
    with watched.db.begin() as tx:
        tx.execute(delete(canary).where(canary.c.module == "Leads"))
        assert canaries.lacking(tx, watched.context.policy) == {
            state: {f"{state} in Leads": "Leads"} for state in natures.STATES
        }
    watched.sim.world.db.execute("DELETE FROM crm_Leads WHERE Email LIKE 'consent-canary-%'")
    before = {state: watched.person(address(watched, state))["campaigns"] for state in natures.STATES}
    made = hatching.create(watched.context)
    assert [one.module for one in made if not one.is_first] == ["Leads"] * len(natures.STATES)
    assert {s: watched.person(address(watched, s))["campaigns"] for s in natures.STATES} == before
    assert not watched.run().tripped


def test_a_module_that_is_not_mapped_any_more_leaves_its_canaries_alone(watched):
    crm = msgspec.structs.replace(
        watched.context.policy.zoho.crm, modules=watched.context.policy.zoho.crm.modules[:1]
    )
    zoho = msgspec.structs.replace(watched.context.policy.zoho, crm=crm)
    context = replace(watched.context, policy=msgspec.structs.replace(watched.context.policy, zoho=zoho))
    assert {one.module for one in canaries.everybody(context)} == {"Contacts"}
    assert not canaries.judge(context, applying=True)


def test_what_lacks_is_told_by_state_and_then_by_module():
    there = dict.fromkeys(natures.STATES[1:], "Contacts")
    told = natures.tell_lacking(natures.lacking(there, ["Contacts", "Leads"], "Contacts"))
    assert told.startswith("there is no canary for: granted; there is no canary in Leads for: refused, ")
    assert not natures.lacking(there | {"granted": "Leads"}, [], "Contacts")


def test_the_right_mapping_is_believed_again(watched):
    watched.run()
    with mapped(watched, **INVERTED["both"]) as inverted:
        assert inverted.run().tripped
    assert not watched.run().tripped


def test_the_watch_takes_no_news_from_a_product_that_the_last_run_left_out(small):
    small.run(crm=Odd(small.zoho.crm))
    (email,) = small.emails("duplicate_harmless")[:1]
    small.sim.control("crm/set", {"email": email, "fields": {"Email_Opt_Out": True}})
    assert Watch(context=small.context).look() == 0
    small.run()
    other = small.ordinary()
    small.sim.control("crm/set", {"email": other, "fields": {"Email_Opt_Out": True}})
    assert Watch(context=small.context).look() == 1

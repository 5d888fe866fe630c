"""Whose law somebody stands under: as CRM tells over HTTP, with the state beside the country."""

import msgspec
import pytest
from sqlalchemy import select

from service.consent import Provenance
from service.db import crm_address, crm_record, drift
from service.policy import WithoutConsent
from service.zoho.simulator.names import COUNTRY_FIELD, STATE_FIELD
from tests.reconciler.conftest import World, stopped
from tests.running import NOTICE, claim, withdrawal


def settle(made: World, email: str, *, country: str | None, state: str | None) -> None:
    """Let a user of CRM write where somebody lives."""
    module = made.person(email)["crm"][0]["module"]
    told = {COUNTRY_FIELD[module]: country, STATE_FIELD[module]: state}
    made.sim.control("crm/set", {"email": email, "fields": told})


def mirrored(made: World, email: str) -> set[str]:
    record = (crm_record.c.module == crm_address.c.module) & (
        crm_record.c.record_id == crm_address.c.record_id
    )
    with made.db.read() as tx:
        return set(
            tx.scalars(
                select(crm_record.c.jurisdiction)
                .join(crm_address, record)
                .where(crm_address.c.address_index == made.intake.vault.address_index(email))
            )
        )


@pytest.mark.parametrize(
    ("country", "state", "place"),
    [
        ("United States", "California", "US-CA"),
        ("USA", "CA", "US-CA"),
        ("United States", "Nevada", "US"),
        ("United States", None, "US"),
        ("Canada", "California", "CA"),
    ],
)
def test_who_lives_in_california_stands_under_californias_rules_too(small, country, state, place):
    email = small.ordinary()
    settle(small, email, country=country, state=state)
    small.intake.record([withdrawal(email)])
    small.run(applying=False)
    assert mirrored(small, email) == {place}
    with small.db.read() as tx:
        where = drift.c.address_index == small.intake.vault.address_index(email)
        assert tx.scalars(select(drift.c.jurisdiction).where(where)).one() == place
    codes = [law.code for law in small.context.policy.atlas.chain(place)]
    assert codes == ([place, "US"] if place == "US-CA" else [place])


def test_some_of_the_simulated_people_live_in_california(small):
    small.run(applying=False)
    with small.db.read() as tx:
        assert {"US", "US-CA"} <= set(tx.scalars(select(crm_record.c.jurisdiction)))


def stopping_in(made: World, place: str):
    """The shipped policies, which stop who never consented in one country, and report them elsewhere."""
    stop = WithoutConsent(unknown="stop", pending="stop", expired="stop")
    enforcement = made.intake.policy.enforcement
    choices = {**enforcement.without_consent, place: stop}
    enforcement = msgspec.structs.replace(enforcement, without_consent=choices)
    return msgspec.structs.replace(made.intake.policy, enforcement=enforcement)


def asserted(email: str, country: str):
    """A consent without any evidence: it tells a country, and permits nothing."""
    return claim(email, provenance=Provenance.IMPORT, evidence={}, country=country)


def found_without_consent(made: World, email: str, policy) -> list[str]:
    made.run(policy=policy)
    index = made.intake.vault.address_index(email)
    with made.db.read() as tx:
        where = (drift.c.address_index == index) & (drift.c.kind == "permitted_without_consent")
        return list(tx.scalars(select(drift.c.jurisdiction).where(where)))


@pytest.mark.parametrize(
    ("told", "crm", "found"),
    [
        ("Canada", "Australia", ["CA"]),
        ("Canada", None, ["CA"]),
        ("Australia", "Canada", []),
        (None, "Canada", ["CA"]),
        (None, "Australia", []),
    ],
)
def test_who_is_stopped_without_consent_depends_on_what_the_event_tells_before_crm(small, told, crm, found):
    email = small.ordinary()
    settle(small, email, country=crm, state=None)
    if told is not None:
        small.intake.record([asserted(email, told)])
    assert found_without_consent(small, email, stopping_in(small, "CA")) == found
    assert stopped(small, email) is bool(found)


@pytest.mark.parametrize(("address", "found"), [("ana@shop.ca", ["CA"]), ("ana@shop.au", [])])
def test_of_people_whom_neither_events_nor_crm_place_the_domain_decides(small, address, found):
    email = small.ordinary()
    settle(small, email, country=None, state=None)
    small.sim.control("crm/set", {"email": email, "fields": {"Email": address}})
    assert found_without_consent(small, address, stopping_in(small, "CA")) == found


def test_who_never_consented_is_counted_where_their_event_puts_them(small):
    email = small.ordinary()
    settle(small, email, country="Australia", state=None)
    before = small.run(applying=False, policy=stopping_in(small, "US")).plan.without_consent
    small.intake.record([asserted(email, "Singapore")])
    after = small.run(applying=False, policy=stopping_in(small, "US")).plan.without_consent
    assert after["AU", "unknown"] == before["AU", "unknown"] - 1
    assert after["SG", "unknown"] == before.get(("SG", "unknown"), 0) + 1


def test_a_plan_says_by_which_rule_the_consent_of_somebody_whom_it_stops_does_not_count(small):
    email = small.ordinary()
    small.intake.record([claim(email, country="Canada", evidence=NOTICE | {"prechecked": True})])
    plan = small.run(applying=False, policy=stopping_in(small, "CA")).plan
    index = small.intake.vault.address_index(email)
    reasons = {one.reason for one in plan.changes if one.address_index == index}
    assert reasons == {"no consent is known, and the policy says stop (enforcement.forbidden_evidence)"}

"""Whose law somebody stands under: as CRM tells over HTTP, with the state beside the country."""

import pytest
from sqlalchemy import select

from service.db import crm_address, crm_record, drift
from service.zoho.simulator.names import COUNTRY_FIELD, STATE_FIELD
from tests.reconciler.conftest import World
from tests.running import withdrawal


def settle(made: World, email: str, *, country: str, state: str | None) -> None:
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

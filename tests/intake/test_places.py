"""What CRM tells about where somebody is, and whose law a withdrawal is carried under."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from sqlalchemy import select

from service.db import task
from service.intake.places import crm_countries
from service.policy import UNKNOWN
from service.reconciler.crm_mirror import put_records
from service.reconciler.placing import places_of
from service.reconciler.port import CrmRecord
from tests.running import policies, withdrawal

WHO = "ana@shop.ca"
NOW = datetime.now(UTC)
STRICTEST = {"gmail.unsub_deadline", "yahoo.unsub_deadline"}


def put(intake, *countries, state: str | None = None, who: str = WHO) -> None:
    """Let CRM hold one record for each of these countries."""
    records = [
        CrmRecord(
            module="Contacts",
            record_id=str(number),
            addresses=(who,),
            opted_out=False,
            modified_at=NOW,
            country=country,
            state=state,
        )
        for number, country in enumerate(countries)
    ]
    with intake.db.begin() as tx:
        put_records(tx, records, run_id=1, vault=intake.vault, policy=policies())


def rule_of(intake, told) -> str:
    intake.record([told])
    with intake.db.read() as tx:
        return tx.scalars(select(task.c.due_rule)).one()


@pytest.mark.parametrize(
    ("countries", "state", "rules"),
    [
        ((), None, {"ca.casl.unsub_deadline"}),
        ((None,), None, {"ca.casl.unsub_deadline"}),
        (("Australia",), None, {"au.spam.unsub_deadline"}),
        (("USA",), "California", {"us.canspam.optout_deadline"}),
        (("Atlantis",), None, STRICTEST),
        (("Atlantis", "Canada"), None, STRICTEST),
        (("Australia", "Canada"), None, STRICTEST),
    ],
)
def test_crm_comes_before_the_domain_and_what_it_names_is_never_passed_over(intake, countries, state, rules):
    put(intake, *countries, state=state)
    assert rule_of(intake, withdrawal(WHO)) in rules


def test_the_mirror_keeps_the_state_of_who_lives_in_the_usa(intake):
    put(intake, "United States", state="CA")
    with intake.db.read() as tx:
        assert list(crm_countries(tx, [intake.vault.address_index(WHO)]).values()) == ["US-CA"]


@pytest.mark.parametrize(
    ("told", "crm", "compared", "place"),
    [
        ("Singapore", "Australia", "AU", "SG"),
        (None, "Australia", "AU", "AU"),
        (None, "Atlantis", UNKNOWN, UNKNOWN),
    ],
)
def test_a_comparison_knows_people_by_their_events_then_crm_then_the_domain(
    intake, told, crm, compared, place
):
    put(intake, crm)
    [found] = intake.record([withdrawal(WHO, country=told)])
    vault = intake.vault
    index, sealed = vault.address_index(WHO), vault.seal_address(WHO)
    rows = [SimpleNamespace(sub=found.subject, address_index=index, address=sealed, jurisdiction=compared)]
    with intake.db.read() as tx:
        assert places_of(tx, rows, policies(), vault) == {index: (place, WHO)}


def test_of_people_without_events_and_records_the_domain_tells(intake):
    vault = intake.vault
    index, sealed = vault.address_index(WHO), vault.seal_address(WHO)
    rows = [SimpleNamespace(sub=None, address_index=index, address=sealed, jurisdiction=UNKNOWN)]
    with intake.db.read() as tx:
        assert places_of(tx, rows, policies(), vault) == {index: ("CA", WHO)}

"""Pseudonyms of mails, plans and pages lead back to people, for those who may ask."""

from contextlib import closing

import pytest

from service.db import Database
from service.errors import Malformed
from service.intake.erasures import ErasureList
from service.intake.forgetting import erase
from service.reconciler.mirror import put_members
from service.reconciler.port import ListMember, Member
from service.reports.pseudonyms import resolve
from tests.running import claim, start

ANA = "ana@example.org"


@pytest.fixture
def intake(database_url):
    with closing(Database(database_url)) as database, start(database) as intake:
        yield intake


def who(intake, pseudonym: str):
    with intake.db.read() as tx:
        return resolve(tx, intake.vault, pseudonym)


@pytest.mark.parametrize("length", [12, 16])
def test_a_pseudonym_of_an_address_leads_to_it(intake, length):
    intake.record([claim(ANA), claim("bea@example.org")])
    assert who(intake, f"p-{intake.vault.address_index(ANA).hex()[:length]}") == [ANA]


def test_a_pseudonym_of_a_person_leads_to_their_address(intake):
    intake.record([claim(ANA)])
    with intake.db.read() as tx:
        sub = intake.vault.find(tx, ANA)
    assert who(intake, f"s-{sub[:8].hex()}") == [ANA]


def test_somebody_whom_only_a_product_knows_is_found_too(intake):
    member = ListMember(list_name="newsletter", address=ANA, status=Member.ACTIVE)
    with intake.db.begin() as tx:
        put_members(tx, [member], run_id=1, at=intake.now(), vault=intake.vault)
    assert who(intake, f"p-{intake.vault.address_index(ANA)[:8].hex()}") == [ANA]


def test_nobody_is_behind_the_pseudonym_of_somebody_erased(intake, tmp_path):
    intake.erasures = ErasureList(tmp_path / "erasures")
    intake.record([claim(ANA)])
    pseudonym = f"p-{intake.vault.address_index(ANA)[:8].hex()}"
    erase(intake, ANA, reason="request")
    assert who(intake, pseudonym) == []


@pytest.mark.parametrize(
    "text", ["ana@example.org", "p-", "p-xyz", "p-0011", "q-001122334455", "p-00112233445566778899"]
)
def test_anything_else_is_refused_with_an_example(intake, text):
    with pytest.raises(Malformed, match="p-0123456789abcdef"):
        who(intake, text)

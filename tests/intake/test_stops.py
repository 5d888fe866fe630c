"""The list of who must not be mailed survives a lost ledger: every stop is there again, none is lifted."""

import shutil
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from service.consent import Category, Provenance, State
from service.db import Database, task
from service.errors import KeptOut
from service.intake.stops import Stop, key_check, restore, stops
from tests import running
from tests.running import claim, count, withdrawal

ANA, BO, CYD, DEE, EVE = (f"{name}@example.org" for name in ("ana", "bo", "cyd", "dee", "eve"))
STOPPED = (BO, CYD, DEE)
LONG_AGO = datetime(2025, 3, 1, tzinfo=UTC)


@pytest.fixture
def fresh(tmp_path, shared, sqlite_url):
    """An installation with the same keys and an empty ledger."""
    url = f"sqlite:///{tmp_path / 'fresh.db'}"
    shutil.copyfile(shared / "template.db", tmp_path / "fresh.db")  # which `sqlite_url` made
    with closing(Database(url)) as database, running.start(database) as intake:
        yield intake


def fill(intake):
    """Five people: one consents, one withdraws, one complains, one's mailbox is dead, one came back."""
    at = datetime.now(UTC) - timedelta(days=1)
    intake.record(
        [
            *(claim(who, occurred_at=at) for who in (ANA, BO, CYD, DEE)),
            withdrawal(BO),
            withdrawal(CYD, category=Category.COMPLAINT, purpose=None, source="observed"),
            withdrawal(DEE, category=Category.BOUNCE_HARD, purpose=None, source="observed"),
            withdrawal(EVE, occurred_at=at),
            claim(EVE),
        ]
    )


def listed(intake):
    with intake.db.read() as tx:
        return list(stops(tx))


def by_address(intake, found):
    names = {intake.vault.address_index(who): who for who in (ANA, *STOPPED, EVE)}
    return {names[one.index]: one.reason for one in found}


def standing_of(intake, who):
    with intake.db.read() as tx:
        sub = intake.vault.find(tx, who)
        return None if sub is None else intake.standings(tx, sub, datetime.now(UTC) + timedelta(seconds=1))[0]


def test_the_list_has_every_stop_in_force_with_its_class_and_nobody_else(intake):
    fill(intake)
    assert by_address(intake, listed(intake)) == {
        BO: "consent.withdrawn",
        CYD: "complaint",
        DEE: "bounce.hard",
    }


def test_after_a_fresh_installation_every_stop_is_there_again(intake, fresh):
    fill(intake)
    told = listed(intake)
    assert restore(fresh, told, now=datetime.now(UTC)).kept_out == len(STOPPED)
    assert by_address(fresh, listed(fresh)) == by_address(intake, told)
    for who in STOPPED:
        [outcome] = fresh.record([claim(who, provenance=Provenance.IMPORT, occurred_at=LONG_AGO)])
        assert isinstance(outcome, KeptOut)
    [fine] = fresh.record([claim(ANA)])
    assert not isinstance(fine, KeptOut)


def test_who_was_kept_out_by_a_list_comes_back_by_their_own_consent_alone(fresh):
    told = [Stop(index=fresh.vault.address_index(BO), reason="complaint", since=LONG_AGO)]
    restore(fresh, told, now=datetime.now(UTC))
    fresh.record([claim(BO)])
    found = standing_of(fresh, BO)
    assert found.may_mail
    fresh.record([withdrawal(BO)])
    found = standing_of(fresh, BO)
    assert "a suppression list tells of complaint" in found.suppressed


def test_a_known_person_gets_the_stop_as_imported_at_its_old_time(intake):
    intake.record([claim(ANA, occurred_at=LONG_AGO - timedelta(days=9)), claim(BO)])
    told = [
        Stop(index=intake.vault.address_index(who), reason="consent.withdrawn", since=LONG_AGO)
        for who in (ANA, BO)
    ]
    assert restore(intake, told, now=datetime.now(UTC)).recorded == len(told)
    assert standing_of(intake, ANA).state is State.REFUSED
    assert standing_of(intake, BO).state is State.PERMITTED  # consented again since
    assert count(intake, task) == len(told)


def test_a_list_taken_in_twice_changes_nothing_more(intake):
    intake.record([claim(ANA)])
    told = [
        Stop(index=intake.vault.address_index(who), reason="complaint", since=LONG_AGO) for who in (ANA, BO)
    ]
    restore(intake, told, now=datetime.now(UTC))
    again = restore(intake, told, now=datetime.now(UTC))
    assert (again.recorded, again.known, again.kept_out) == (0, 1, 0)


def test_the_check_tells_keys_apart_and_nothing_about_them(intake):
    assert key_check(intake.keys.index) != key_check(bytes(32))
    assert key_check(intake.keys.index) not in intake.keys.index.hex()

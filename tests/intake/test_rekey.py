"""The directory gets a new key: the living are found as before, the erased can be tied to nothing."""

import pytest
from sqlalchemy import select

from service.consent import Provenance
from service.db import directory_next, index_row, subject, suppression
from service.errors import KeptOut, Unsafe
from service.intake.epoch import epoch
from service.intake.forgetting import erase
from service.intake.rekey import rekey_directory
from service.intake.rotation import rotate_ingest
from service.ledger.entry import decode, directory_key_value
from service.ledger.verify import State, verify_bundle
from tests import running
from tests.intake.forgotten import (
    ANA,
    BOB,
    CYD,
    Clock,
    House,
    bundle_of,
    consent,
    require_receipts,
    require_whole,
    subject_of,
)


@pytest.fixture
def house(tmp_path) -> House:
    return House(folder=tmp_path, clock=Clock())


@pytest.fixture
def intake(house, database):
    with house.open(database) as intake:
        yield intake


def judge(intake, address):
    return verify_bundle(bundle_of(intake, address), intake.keys.log.vkey, intake.keys.directory)


def test_the_living_are_found_and_proven_complete_under_the_new_key(intake):
    before = consent(intake, ANA, BOB)
    bundle, old = bundle_of(intake, ANA), intake.keys.directory
    assert rekey_directory(intake) == 2
    assert intake.keys.directory != old
    after = consent(intake, ANA, CYD)
    assert [result.subject for result in (before[0], after[0])] == [subject_of(intake, ANA)] * 2
    for address in (ANA, BOB, CYD, "nobody@example.org"):
        verdict = judge(intake, address)
        assert (verdict.state, verdict.complete) == (State.GOOD, True), verdict.report()
    assert verify_bundle(bundle, intake.keys.log.vkey, old).complete
    require_whole(intake)
    require_receipts(intake, *before, *after)


def test_nothing_that_is_kept_ties_an_address_to_an_erased_person_any_more(intake):
    consent(intake, ANA, BOB)
    old = intake.keys.directory
    sub = subject_of(intake, ANA)
    erase(intake, ANA, reason="request")
    assert judge(intake, ANA).finding.closed == 1
    rekey_directory(intake)
    epoch(intake)
    with intake.db.read() as tx:
        listed = set(tx.scalars(select(index_row.c.key)))
        since = tx.scalar(select(suppression.c.since))
    assert directory_key_value(old, ANA, 1) in listed
    assert directory_key_value(intake.keys.directory, ANA, 1) not in listed
    assert old not in (intake.keys.directory, intake.keys.index)
    verdict = judge(intake, ANA)
    assert (verdict.state, verdict.complete, verdict.finding.closed) == (State.GOOD, True, 0)
    lines = intake.erasures.path.read_text().splitlines()
    assert lines == sorted(lines, reverse=True)
    erased_at = next(line.split()[-1] for line in lines if line.startswith(f"person {sub.hex()}"))
    assert f"{since.timestamp() * 1000:.0f}" != erased_at


def test_who_was_erased_stays_out_and_may_come_back_as_the_first_version_again(intake):
    consent(intake, ANA)
    erase(intake, ANA, reason="request")
    rekey_directory(intake)
    imported = running.claim(
        ANA, provenance=Provenance.IMPORT, received_at=intake.now(), occurred_at=intake.now()
    )
    assert isinstance(intake.record([imported])[0], KeptOut)
    consent(intake, ANA)
    verdict = judge(intake, ANA)
    assert (verdict.complete, verdict.finding.closed) == (True, 0)


def test_who_came_back_before_is_the_first_version_of_the_new_key(intake):
    consent(intake, ANA)
    erase(intake, ANA, reason="request")
    consent(intake, ANA)
    rekey_directory(intake)
    with intake.db.read() as tx:
        assert tx.scalar(select(subject.c.version)) == tx.scalar(select(suppression.c.versions)) == 1
    assert judge(intake, ANA).complete
    erase(intake, ANA, reason="request")
    consent(intake, ANA)
    assert judge(intake, ANA).finding.closed == 1


def test_a_rekey_that_was_cut_off_goes_on_and_everything_holds_in_between(house, database):
    class Cut(Exception):  # a power cut
        pass

    def cut(_step, _done, _total):
        raise Cut

    with house.open(database) as intake:
        consent(intake, ANA, BOB, *(f"person-{number}@example.org" for number in range(300)))
        with pytest.raises(Cut):
            rekey_directory(intake, cut)
    with house.open(database) as intake:
        with intake.db.read() as tx:
            staged = tx.scalars(select(directory_next.c.sub)).all()
        assert len(staged) == 250
        with pytest.raises(Unsafe):
            rotate_ingest(intake)
        for address in (ANA, BOB, CYD):
            assert judge(intake, address).complete
        with intake.db.read() as tx:
            address = intake.vault.address_of(tx, staged[0])
        erase(intake, address, reason="request")
        consent(intake, CYD)
        assert rekey_directory(intake) == 302
        with intake.db.read() as tx:
            assert tx.scalars(select(directory_next.c.sub)).all() == []
        for living in (ANA, BOB, CYD):
            assert judge(intake, living).complete
        consent(intake, address)
        verdict = judge(intake, address)
        assert (verdict.state, verdict.finding.closed) == (State.GOOD, 1)
        require_whole(intake)


def test_announcements_are_in_no_order_of_time(intake):
    consent(intake, *(f"person-{number}@example.org" for number in range(60)))
    with intake.db.read() as tx:
        before = tx.scalars(select(subject.c.sub).order_by(subject.c.opened_idx)).all()
    rekey_directory(intake)
    with intake.db.read() as tx:
        after = tx.scalars(select(subject.c.sub).order_by(subject.c.opened_idx)).all()
        entries = intake.store.entries(tx, range(intake.store.size(tx)))
    assert set(before) == set(after)
    assert before != after
    said = [decode(data) for data in entries.values() if decode(data).category == "directory.rekey"]
    assert [one.extra["living"] for one in said] == [60]


def test_another_running_process_opens_people_under_the_new_key(house, database):
    with house.open(database) as one, house.open(database) as other:
        consent(other, ANA)
        rekey_directory(one)
        consent(other, BOB)
        assert other.keys.directory == one.keys.directory
        for address in (ANA, BOB):
            assert judge(one, address).complete

"""The one way in, on every store: receipts, persons, standings and tasks in one transaction."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from service.consent import Category, Provenance, State
from service.db import happening, log_state, payload, subject, subject_key
from service.errors import KeyReused, Malformed, Misconfigured, Tampered
from service.intake import Intake
from service.ledger.entry import check, commit
from tests import running
from tests.running import checked, claim, count, one_standing, withdrawal

ANA = "ana@example.org"
HERE = Path(__file__).parent.parent.parent


# --- the log's beginning ---


def test_the_first_entry_names_the_keys_the_policies_and_the_controller(intake):
    with intake.db.read() as tx:
        genesis = check(intake.store.entries(tx, [0])[0], [running.keys().ingest.verifier])
    assert genesis.category == Category.LOG_GENESIS
    assert genesis.extra["log"] == running.keys().log.vkey
    assert genesis.extra["policy"] == running.policies().digest.hex()
    assert running.keys().directory.hex() not in str(genesis.extra)


def test_a_log_begins_once(database):
    for _ in range(3):
        with running.start(database) as intake:
            assert count(intake, log_state) == 1
            with database.read() as tx:
                assert intake.store.size(tx) == 1


def test_two_intakes_that_start_at_the_same_moment_begin_one_log(database):
    intakes = [running.start(database) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(Intake.start, intakes))
    with database.read() as tx:
        assert intakes[0].store.size(tx) == 1
    for intake in intakes:
        intake.stop()


def test_keys_that_do_not_belong_to_this_database_are_refused(database):
    with running.start(database):
        pass
    for wrong in (running.keys(log="another"), replace(running.keys(), directory=bytes(32))):
        with pytest.raises(Misconfigured, match="put back the keys"):
            running.start(database, keys=wrong).start()


def test_the_database_of_another_log_is_refused(database):
    with running.start(database):
        pass
    other = "ledger.example/other-1"
    with pytest.raises(Tampered, match="CONSENT_ORIGIN"):
        running.start(database, keys=running.keys(other), origin=other).start()


# --- one event ---


def test_a_consent_gets_a_receipt_that_verifies_with_the_logs_public_key_alone(intake):
    found = intake.submit(claim(ANA)).result(60)
    proven = checked(found)
    signed = check(proven.receipt.entry, [running.keys().ingest.verifier])
    assert (signed.category, signed.subject, signed.source) == (
        "consent.granted",
        found.subject,
        "form:newsletter",
    )
    assert ANA.encode() not in found.receipt()


def test_the_receipts_entry_commits_to_what_was_sealed(intake):
    [found] = intake.record([claim(ANA)])
    with intake.db.read() as tx:
        opening = intake.vault.open_payload(tx, found.index)
    signed = check(found.entry, [running.keys().ingest.verifier])
    assert commit(opening.fields, opening.event_salt) == signed.commitment


def test_a_new_address_opens_a_person_and_the_next_event_finds_them(intake):
    first, second = (
        intake.submit(told).result(60) for told in (claim(ANA), withdrawal(" ANA@example.org".strip()))
    )
    assert first.subject == second.subject
    assert (count(intake, subject), count(intake, subject_key)) == (1, 2)  # the log itself has a key too
    with intake.db.read() as tx:
        events = intake.events(tx, first.subject)
    assert [event.category for event in events] == ["subject.opened", "consent.granted", "consent.withdrawn"]
    assert [event.index for event in events] == sorted(event.index for event in events)


def test_a_claim_by_subject_needs_no_address(intake):
    [granted] = intake.record([claim(ANA)])
    [stopped] = intake.record([withdrawal(None, subject=granted.subject)])
    assert stopped.subject == granted.subject
    assert one_standing(intake, granted.subject).must_stop == 1


def test_a_look_up_about_nobody_is_recorded_and_sealed_under_the_logs_own_key(intake):
    [found] = intake.record([claim(None, category=Category.ACCESS, purpose=None, evidence={"actor": "eve"})])
    checked(found)
    assert found.subject is None
    with intake.db.read() as tx:
        assert intake.vault.open_payload(tx, found.index).fields["actor"] == "eve"
    assert count(intake, happening) == 0


@pytest.mark.parametrize("changes", [{"purpose": "astrology"}, {"source": "a\nb"}, {"source_number": -3}])
def test_a_claim_that_makes_no_sense_is_refused_at_once(on_sqlite, changes):
    with pytest.raises(Malformed):
        on_sqlite.submit(claim(ANA, **changes))


def test_a_time_from_another_zone_is_recorded_as_utc(on_sqlite):
    [found] = on_sqlite.record([claim(ANA, occurred_at=datetime.fromisoformat("2026-01-31T09:30:00+01:00"))])
    signed = check(found.entry, [running.keys().ingest.verifier])
    assert signed.occurred_at == datetime(2026, 1, 31, 8, 30, tzinfo=UTC)


# --- many events ---


def test_an_array_is_recorded_in_order_and_bad_events_are_refused_by_themselves(intake):
    bad_evidence = {**running.NOTICE, "weight": 1.5}
    told = [claim("a@example.org"), claim("b@example.org", purpose="astrology"), claim("c@example.org")]
    told += [claim("d@example.org", evidence=bad_evidence), claim("e@example.org")]
    found = intake.record(told)
    assert [isinstance(one, Malformed) for one in found] == [False, True, False, True, False]
    assert found[1].field == "purpose"
    good = running.indexes([found[0], found[2], found[4]])
    assert good == sorted(good)


def test_the_same_new_person_twice_in_one_array_is_opened_once(intake):
    found = intake.record([claim(ANA), withdrawal(ANA), claim("bob@example.org"), claim(ANA)])
    assert len(running.indexes(found)) == 4
    assert found[0].subject == found[1].subject == found[3].subject != found[2].subject
    assert count(intake, subject) == 2
    with intake.db.read() as tx:
        assert intake.store.size(tx) == 1 + 4 + 2


def test_a_person_is_opened_by_the_next_claim_when_the_first_is_refused(intake):
    [before] = intake.record([claim("bob@example.org", key="taken")])
    found = intake.record([claim(ANA, key="taken"), withdrawal(ANA)])
    assert isinstance(found[0], KeyReused)
    checked(found[1])
    assert found[1].subject != before.subject
    assert one_standing(intake, found[1].subject).state == State.REFUSED


def test_more_claims_than_the_queue_holds_are_recorded_patiently(on_sqlite):
    found = on_sqlite.record(running.people(2500))
    assert len({one.index for one in found}) == 2500
    assert count(on_sqlite, subject) == 2500


def test_a_retry_gets_the_same_receipt_byte_for_byte(intake):
    told = claim(ANA)
    first = intake.submit(told).result(60)
    intake.record(running.people(20))
    second = intake.submit(running.again(told)).result(60)
    assert second.duplicate
    assert (second.receipt(), second.subject) == (first.receipt(), first.subject)


def test_a_storm_of_one_key_ends_in_one_entry_and_64_equal_receipts(intake):
    told = claim(ANA)
    with ThreadPoolExecutor(64) as pool:
        found = list(pool.map(lambda _: intake.submit(running.again(told)).result(60), range(64)))
    assert len({one.receipt() for one in found}) == 1
    assert len(running.indexes(found[:1])) == 1
    assert (count(intake, payload), count(intake, subject)) == (1, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"address": "bob@example.org"},
        {"category": Category.WITHDRAWN},
        {"purpose": None},
        {"evidence": {}},
        {"occurred_at": datetime(2026, 1, 1, tzinfo=UTC)},
        {"provenance": Provenance.IMPORT},
        {"country": "Canada"},
        {"valid_until": datetime(2027, 1, 1, tzinfo=UTC)},
        {"source_number": 7},
    ],
)
def test_a_key_with_another_request_is_refused_and_names_the_first_entry(on_sqlite, change):
    told = claim(ANA)
    [first] = on_sqlite.record([told])
    [found] = on_sqlite.record([replace(told, **change)])
    assert isinstance(found, KeyReused)
    assert found.index == first.index


def test_the_same_key_of_another_source_is_another_key(on_sqlite):
    told = claim(ANA)
    found = on_sqlite.record([told, replace(told, source="form:other")])
    assert len(set(running.indexes(found))) == 2

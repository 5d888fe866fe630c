"""The one way in, on every store: receipts, persons, standings and tasks in one transaction."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select

from service.consent import Category, Provenance, State
from service.db import Database, happening, log_state, payload, standing, subject, subject_key, task, tick
from service.errors import KeyReused, Malformed, Misconfigured, Tampered, Unavailable
from service.intake import Intake
from service.ledger.entry import check, commit
from service.ledger.note import Signer
from service.ledger.proof import open_checkpoint
from tests import running
from tests.proxy import between
from tests.running import checked, claim, withdrawal

ANA = "ana@example.org"
HERE = Path(__file__).parent.parent.parent


@pytest.fixture
def intake(database):
    with running.start(database) as intake:
        yield intake


@pytest.fixture
def on_sqlite(sqlite_url):
    """For what does not depend on the store."""
    with closing(Database(sqlite_url)) as database, running.start(database) as intake:
        yield intake


def count(intake: Intake, table) -> int:
    with intake.db.read() as tx:
        return tx.execute(select(func.count()).select_from(table)).scalar_one()


def one_standing(intake: Intake, sub: bytes):
    with intake.db.read() as tx:
        return tx.execute(select(standing).where(standing.c.sub == sub)).one()


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


# --- one person, opened by several at once ---


def test_a_person_opened_by_two_intakes_at_once_ends_as_one_person(database):
    with running.start(database) as first, running.start(database) as second:
        with database.begin() as tx:
            first.store.lock(tx)  # both prepare while neither can append: both think the person is new
            futures = [one.submit(claim(ANA)) for one in (first, second, first, second)]
            for one in (first, second):
                while one._sequencer._queue.qsize():
                    pass
        found = [future.result(60) for future in futures]
        assert len({one.subject for one in found}) == 1
        assert len(set(running.indexes(found))) == 4
        assert count(first, subject) == 1
        with database.read() as tx:
            assert len(first.events(tx, found[0].subject)) == 5


def claim_everybody(url: str, number: int) -> None:
    """Run by a process of its own: claims about the same people as the other's."""
    with closing(Database(url)) as database, running.start(database) as intake:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        told = [claim(f"p{n}@example.org", key=f"{number}-{n}") for n in range(150)]
        with ThreadPoolExecutor(8) as pool:
            for found in pool.map(lambda one: intake.submit(one).result(60), told):
                sys.stdout.write(f"{checked(found).receipt.index}\n")


def test_people_opened_by_two_processes_at_once_end_as_one_person_each(database):
    with running.start(database):
        pass
    program = "from tests.intake.test_intake import claim_everybody; claim_everybody({!r}, {})"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", program.format(database.url, n)], text=True, cwd=HERE, **pipes
        )
        for n in range(2)
    ]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    indexes = [int(line) for child in children for line in child.communicate(timeout=100)[0].split()]
    assert [child.returncode for child in children] == [0, 0]
    assert len(set(indexes)) == 300
    with running.start(database) as intake, database.read() as tx:
        assert intake.store.size(tx) == 1 + 150 + 300
        assert tx.scalar(select(func.count()).select_from(subject)) == 150
        for sub in tx.scalars(select(subject.c.sub)).all():
            categories = [event.category for event in intake.events(tx, sub)]
            assert categories == ["subject.opened", "consent.granted", "consent.granted"]


# --- what follows from an event ---


def test_standing_rows_are_those_of_the_fold(intake):
    intake.record([claim(ANA), withdrawal("bob@example.org"), claim("cy@example.org", evidence={})])
    intake.record([claim("bob@example.org", category=Category.BOUNCE_HARD, purpose=None)])
    with intake.db.read() as tx:
        rows = tx.execute(select(standing)).all()
        assert len(rows) == 3
        for row in rows:
            [found] = intake.standings(tx, row.sub)
            for name in ("state", "reason", "suppressed", "decided_by", "decided_at", "suppressed_by"):
                assert getattr(row, name) == getattr(found, name)
            assert row.must_stop == found.must_stop
    assert sorted(row.state for row in rows) == ["permitted", "refused", "unknown"]


def test_standing_as_of_a_moment_does_not_know_what_came_later(intake):
    start = datetime.now(UTC) - timedelta(hours=1)
    hour = timedelta(minutes=20)
    [granted] = intake.record([claim(ANA, received_at=start)])
    intake.record([withdrawal(ANA, received_at=start + hour)])
    with intake.db.read() as tx:
        states = [intake.standings(tx, granted.subject, start + n * hour / 2)[0].state for n in range(4)]
    assert states == [State.PERMITTED, State.PERMITTED, State.REFUSED, State.REFUSED]


def test_a_standing_is_current_the_moment_the_receipt_is_there(intake):
    [granted] = intake.record([claim(ANA)])
    assert one_standing(intake, granted.subject).state == "permitted"
    intake.submit(withdrawal(ANA)).result(60)
    assert one_standing(intake, granted.subject).state == "refused"


def test_events_that_say_nothing_about_consent_leave_the_standing_alone(intake):
    [granted] = intake.record([claim(ANA)])
    before = one_standing(intake, granted.subject)
    intake.record([claim(ANA, category=Category.SCANNER_FETCHED)])
    assert one_standing(intake, granted.subject) == before


@pytest.mark.parametrize(
    "category", [Category.WITHDRAWN, Category.REFUSED, Category.BOUNCE_HARD, Category.COMPLAINT]
)
def test_every_stop_becomes_a_task_with_its_deadline(on_sqlite, category):
    told = claim(ANA, category=category, purpose=None, country="United States")
    [found] = on_sqlite.record([told])
    with on_sqlite.db.read() as tx:
        row = tx.execute(select(task)).one()
    due_at, rule = running.policies().stop_by(told.received_at, "US", address=ANA)
    assert (row.sub, row.cause_idx, row.state, row.attempts) == (found.subject, found.index, "open", 0)
    assert row.due_rule == rule.id
    assert abs(row.due_at - due_at) < timedelta(milliseconds=1)


@pytest.mark.parametrize("category", [Category.GRANTED, Category.BOUNCE_SOFT, Category.REQUESTED])
def test_what_stops_nothing_becomes_no_task(on_sqlite, category):
    on_sqlite.record([claim(ANA, category=category)])
    assert count(on_sqlite, task) == 0


def test_a_stop_that_was_read_from_the_products_may_ask_for_no_task(on_sqlite):
    on_sqlite.record([withdrawal(ANA, enforce=False, provenance=Provenance.OBSERVED)])
    assert count(on_sqlite, task) == 0


def test_a_repeated_stop_is_one_task(on_sqlite):
    told = withdrawal(ANA)
    on_sqlite.record([told, running.again(told)])
    assert count(on_sqlite, task) == 1


def test_nothing_derived_is_written_when_the_entries_are_not(on_sqlite):
    with on_sqlite.db.begin() as tx:
        tx.execute(insert(tick).values(job="j", turn="t", taken_at=datetime.now(UTC), taken_by="me"))
    intake = on_sqlite
    intake.record([claim(ANA)])
    sizes = [count(intake, table) for table in (subject, subject_key, payload, happening, standing)]
    [refused] = intake.record([claim("bob@example.org", source="x" * 200, evidence={"a": 2**53})])
    assert isinstance(refused, Malformed)
    assert [count(intake, table) for table in (subject, subject_key, payload, happening, standing)] == sizes


# --- when things fail ---


def test_a_stopped_intake_refuses_and_has_recorded_what_it_accepted(sqlite_url):
    with closing(Database(sqlite_url)) as database:
        with running.start(database) as intake:
            futures = [intake.submit(told) for told in running.people(200)]
        assert all(future.done() for future in futures)
        running.indexes([future.result() for future in futures[:5]])
        with pytest.raises(Unavailable):
            intake.submit(claim(ANA))
        assert not intake.healthy


@pytest.mark.parametrize("reached", [True, False])
def test_a_line_cut_at_the_commit_gives_every_waiter_one_receipt_and_one_person(postgresql_url, reached):
    with between(postgresql_url) as (proxy, url), closing(Database(url)) as database:
        with running.start(database) as intake:
            intake.record([claim("first@example.org")])
            proxy.arm(reached=reached)
            found = intake.record([claim(ANA), withdrawal(ANA), claim("bob@example.org")])
            assert proxy.cuts == 0
            assert len(set(running.indexes(found))) == 3
            assert found[0].subject == found[1].subject != found[2].subject
            with database.read() as tx:
                assert intake.store.size(tx) == 1 + 2 + 5
            assert count(intake, subject) == 3
            assert one_standing(intake, found[0].subject).state == "refused"


def test_a_database_that_is_away_is_told_at_once_and_used_again_when_it_is_back(durable_postgres):
    with closing(Database(durable_postgres.url("ledger"))) as database, running.start(database) as intake:
        intake.record([claim("first@example.org")])
        durable_postgres.kill()
        [refused] = intake.record([claim(ANA, key="the same")])
        assert isinstance(refused, Unavailable)
        assert ANA not in str(refused)
        durable_postgres.start()
        [found] = intake.record([claim(ANA, key="the same")])
        head = open_checkpoint(found.checkpoint, [running.keys().log.verifier])
        assert (checked(found).checkpoint.size, head.size) == (5, 5)


def test_a_signer_of_another_log_cannot_stand_in(database):
    with running.start(database) as intake:
        [found] = intake.record([claim(ANA)])
    forger = Signer(running.ORIGIN, bytes(32))
    with pytest.raises(Tampered):
        open_checkpoint(found.checkpoint, [forger.verifier])

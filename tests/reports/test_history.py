import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, select, text, update

from service.consent import Category, Provenance, State
from service.db import happening, index_row, payload, subject, subject_key
from service.errors import Malformed, Tampered
from service.intake.epoch import epoch
from service.ledger.entry import check, commit
from service.ledger.index import event_leaf, subject_row
from service.ledger.merkle import Edge
from service.ledger.proof import Receipt, open_checkpoint, require_inclusion
from service.reports.history import as_text, history, to_json
from tests.opening import open_wall
from tests.running import checked, claim, keys, start, withdrawal

ANA = "ana@example.org"
LATER = datetime(2030, 1, 1, tzinfo=UTC)
JANUARY = datetime(2026, 1, 10, 9, 30, tzinfo=UTC)
MARCH = datetime(2026, 3, 2, 18, 5, tzinfo=UTC)


def ask(intake, address=ANA, **told):
    with intake.db.read() as tx:
        return history(intake, tx, address, at=LATER, **told)


def past_the_wall(intake, statement):
    """Change events as somebody does who owns the tables."""
    with open_wall(intake.db, "event"), intake.db.begin() as tx:
        tx.execute(statement)


@pytest.fixture
def intake(database):
    """A ledger that was begun before anything of this happened."""
    with start(database, now=lambda: JANUARY - timedelta(days=1)) as intake:
        yield intake


@pytest.fixture
def ana(intake):
    """Ana consented in January and withdrew in March."""
    recorded = intake.record(
        [
            claim(
                ANA,
                received_at=JANUARY,
                evidence={**claim().evidence, "user_agent": "Firefox", "ip": "192.0.2.7"},
            ),
            claim("bo@example.org", received_at=JANUARY + timedelta(days=1)),
            withdrawal(ANA, received_at=MARCH, purpose=None),
        ]
    )
    return [checked(one).receipt.index for one in recorded]


def test_a_history_holds_every_event_of_the_address_oldest_first_and_of_nobody_else(intake, ana):
    granted, _, withdrawn = ana
    found = ask(intake)
    assert [record.category for record in found.records] == [
        Category.SUBJECT_OPENED,
        Category.GRANTED,
        Category.WITHDRAWN,
    ]
    assert [record.index for record in found.records][1:] == [granted, withdrawn]
    assert [record.mark for record in found.records] == ["opened", "event", "event"]


def test_an_import_of_old_consent_stands_where_it_happened_not_where_it_arrived(intake, ana):
    intake.record(
        [
            claim(
                ANA,
                occurred_at=JANUARY - timedelta(days=900),
                received_at=MARCH,
                provenance=Provenance.IMPORT,
            )
        ]
    )
    first = ask(intake).records[0]
    assert (first.category, first.provenance) == (Category.GRANTED, "import")
    assert first.recorded_at == MARCH


def test_the_withdrawal_decides_now_and_the_consent_decided_in_february(intake, ana):
    found = ask(intake, as_of=datetime(2026, 2, 1, tzinfo=UTC))
    assert [one.state for one in found.now] == [State.REFUSED]
    assert found.then is not None
    assert [(one.state, one.decided_by) for one in found.then] == [(State.PERMITTED, ana[0])]
    assert ask(intake).then is None


def test_an_address_nobody_heard_of_has_no_records_and_no_permission(intake):
    found = ask(intake, "nobody@example.org")
    assert (found.subject, found.records) == (None, ())
    assert [one.state for one in found.now] == [State.UNKNOWN]
    assert "holds nothing about this address" in as_text(found)


def test_a_lookup_about_a_stranger_does_not_appear_in_another_strangers_history(intake):
    intake.record([claim(None, category=Category.ACCESS, source="auditor:eve", purpose=None, evidence={})])
    assert ask(intake, "nobody@example.org").records == ()


def test_lookups_and_enforcements_are_part_of_the_history_and_marked(intake, ana):
    person = ask(intake).subject
    intake.record(
        [
            claim(
                None,
                subject=person,
                category=category,
                source=source,
                purpose=None,
                evidence=evidence,
                received_at=MARCH + timedelta(seconds=delay),
            )
            for category, source, evidence, delay in (
                (
                    Category.ENFORCEMENT,
                    "reconciler",
                    {"target": "crm:Contacts/1", "read_back": "confirmed"},
                    4,
                ),
                (Category.ACCESS, "auditor:eve", {"purpose_of_lookup": "complaint 7"}, 60),
            )
        ]
    )
    found = ask(intake)
    assert [record.mark for record in found.records[-2:]] == ["enforcement", "access"]
    told = as_text(found)
    assert "[enforced] enforcement" in told
    assert "[looked up] access" in told
    assert "purpose_of_lookup: complaint 7" in told


def test_each_record_carries_what_a_stranger_needs_to_prove_it(intake, ana):
    found = ask(intake)
    head = open_checkpoint(found.checkpoint, [keys().log.verifier])
    assert (head.origin, head.size) == (found.origin, found.size)
    for record in found.records:
        require_inclusion(Receipt(record.index, record.entry, record.proof, found.checkpoint), head)
        signed = check(record.entry, [keys().ingest.verifier])
        assert signed.category == record.category
        if record.opening:
            assert commit(record.opening.fields, record.opening.event_salt) == signed.commitment


def test_evidence_comes_back_as_it_was_told(intake, ana):
    evidence = ask(intake).records[1].evidence
    assert evidence is not None
    assert (evidence["user_agent"], evidence["ip"], evidence["email"]) == ("Firefox", "192.0.2.7", ANA)


@pytest.mark.parametrize("table", [payload, subject_key], ids=["details", "key"])
def test_details_that_are_missing_without_an_erasure_are_told_as_damage(intake, ana, table):
    person = ask(intake).subject
    with intake.db.begin() as tx:
        tx.execute(delete(table).where(table.c.sub == person))
    with pytest.raises(Tampered, match="no erasure of this person is recorded"):
        ask(intake)


def test_an_answer_as_of_a_moment_names_what_was_learnt_later(intake, ana):
    happened = MARCH + timedelta(days=10)
    late = intake.record([claim(ANA, occurred_at=happened, received_at=happened + timedelta(days=5))])
    index = checked(late[0]).receipt.index
    between = ask(intake, as_of=happened + timedelta(days=1))
    told = as_text(between)
    assert "as we knew it then" in told
    assert f"consent.granted, entry {index}: occurred" in told
    assert to_json(between)["learnt_later"] == [index]
    assert to_json(ask(intake, as_of=happened + timedelta(days=6)))["learnt_later"] == []
    assert "Learnt later" not in as_text(ask(intake))


def test_a_moment_that_has_not_come_is_refused(intake, ana):
    with pytest.raises(Malformed, match="has not come yet"):
        ask(intake, as_of=LATER + timedelta(seconds=1))


CHANGES = {
    "category": "consent.granted",
    "occurred_at": JANUARY,
    "recorded_at": JANUARY,
    "source": "form:other",
    "grade": "A",
    "provenance": "import",
    "purpose": "marketing",
    "valid_until": LATER,
    "corrects": 1,
}


def test_a_row_changed_by_hand_is_not_shown_whatever_was_changed(intake, ana):
    row = happening.c.idx == ana[2]
    with intake.db.read() as tx:
        before = tx.execute(select(happening).where(row)).mappings().one()
    for column, value in CHANGES.items():
        past_the_wall(intake, update(happening).where(row).values({column: value}))
        with pytest.raises(Tampered, match=f"entry {ana[2]}"):
            ask(intake)
        past_the_wall(intake, update(happening).where(row).values({column: before[column]}))
    assert ask(intake).verified


LEFT_OUT = "not all that was signed"


@pytest.mark.parametrize("listed", [False, True], ids=["after the lists", "in the lists"])
def test_a_history_from_which_a_withdrawal_was_deleted_is_not_given(intake, ana, listed):
    if listed:
        epoch(intake)
    past_the_wall(intake, delete(happening).where(happening.c.category == "consent.withdrawn"))
    with pytest.raises(Tampered, match=LEFT_OUT):
        ask(intake)
    assert ask(intake, "bo@example.org").verified


def test_a_history_is_whole_before_an_epoch_after_it_and_with_entries_on_both_sides(intake, ana):
    epoch(intake)
    assert len(ask(intake).records) == 3
    intake.record([claim(ANA)])
    assert len(ask(intake).records) == 4
    assert ask(intake, "nobody@example.org").verified


@pytest.mark.parametrize("row", ["removed", "changed"])
def test_a_list_of_persons_that_was_bent_to_a_deleted_event_does_not_hide_it(intake, ana, row):
    epoch(intake)
    person = ask(intake).subject
    past_the_wall(intake, delete(happening).where(happening.c.sub == person, happening.c.idx == ana[2]))
    mine = (index_row.c.kind == 1, index_row.c.key == person)
    with intake.db.begin() as tx:
        if row == "removed":
            tx.execute(delete(index_row).where(*mine))
        else:
            hashes = intake.store.leaf_hashes(tx, ana[:1])
            edge = Edge()
            edge.add(event_leaf(ana[0], hashes[ana[0]]))
            tx.execute(update(index_row).where(*mine).values(row=subject_row(person, 1, edge.root())))
    with pytest.raises(Tampered):
        ask(intake)


@pytest.mark.parametrize("listed", [False, True], ids=["after the lists", "in the lists"])
def test_a_person_deleted_from_the_directory_is_not_told_to_be_unknown(intake, ana, listed):
    if listed:
        epoch(intake)
    with intake.db.begin() as tx:
        tx.execute(delete(subject).where(subject.c.sub == intake.vault.find(tx, ANA)))
    with pytest.raises(Tampered, match="leads to the person is missing"):
        ask(intake)


def test_a_withdrawal_moved_to_another_person_is_not_shown(intake, ana):
    with intake.db.read() as tx:
        other = intake.vault.find(tx, "bo@example.org")
    past_the_wall(intake, update(happening).where(happening.c.idx == ana[2]).values(sub=other))
    with pytest.raises(Tampered, match="not all that was signed"):
        ask(intake, "bo@example.org")


def test_a_directory_that_leads_to_another_person_is_not_believed(intake, ana):
    with intake.db.begin() as tx:
        person = intake.vault.find(tx, ANA)
        tx.execute(update(subject).where(subject.c.sub == person).values(r=bytes(32)))
    with pytest.raises(Tampered, match="another person"):
        ask(intake)


def test_evidence_swapped_between_entries_is_not_shown(intake, ana):
    with intake.db.begin() as tx:
        other = tx.execute(text("SELECT sealed FROM payload WHERE idx = :idx"), {"idx": ana[0]}).scalar_one()
        tx.execute(update(payload).where(payload.c.idx == ana[2]).values(sealed=other))
    with pytest.raises(Tampered):
        ask(intake)


def test_json_keeps_its_key_order_and_survives_a_round_trip(intake, ana):
    told = to_json(ask(intake, as_of=MARCH))
    assert list(told) == [
        "address",
        "subject",
        "asked_at",
        "as_of",
        "standing_now",
        "standing_then",
        "learnt_later",
        "as_of_confirmed",
        "records",
        "log",
        "verified",
    ]
    assert json.loads(json.dumps(told)) == told
    assert told["as_of"] == "2026-03-02T18:05:00.000Z"
    assert told["verified"] is True


def test_the_text_says_first_whether_the_person_may_be_mailed(intake, ana):
    lines = as_text(ask(intake)).splitlines()
    standing = next(place for place, line in enumerate(lines) if "MUST NOT BE MAILED" in line)
    timeline = next(place for place, line in enumerate(lines) if line.startswith("Timeline"))
    assert standing < timeline
    assert any("refused for every purpose (one-click)" in line for line in lines[:timeline])


def test_evidence_cannot_move_the_cursor_of_a_terminal(intake):
    intake.record(
        [claim(ANA, evidence={**claim().evidence, "user_agent": "\x1b[2J\x1b[1;1Hpermitted\u202e"})]
    )
    told = as_text(ask(intake))
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert "\\x1b[2J" in told

"""A frozen log goes on in its successor: nobody's consent, withdrawal or erasure is lost on the way."""

from contextlib import closing
from dataclasses import replace

import pytest
from sqlalchemy import select

from service.consent import Category, Provenance
from service.db import Database, standing, task
from service.errors import KeptOut, KeyReused, Tampered, Unsafe
from service.intake import Intake
from service.intake.correcting import Person, approve, propose
from service.intake.corrections import waiting
from service.intake.ending import final_note
from service.intake.erasures import ErasureList
from service.intake.forgetting import erase
from service.intake.rekey import rekey_directory
from service.intake.rotation import require_source
from service.intake.scrub import beside_the_log, of_the_log
from service.intake.successor import carry_over
from service.ledger.entry import decode
from service.ledger.handover import final_checkpoint
from service.ledger.proof import open_checkpoint, verify_receipt
from service.ledger.scrub import scrub
from service.ledger.verify import State, verify_bundle
from service.reports.evidence import bundle
from tests import running
from tests.intake.forgotten import ANA, BOB, CYD, Clock, House, consent, recorded, require_whole, subject_of

SUCCESSOR = "ledger.example/test-2"


@pytest.fixture
def house(tmp_path) -> House:
    return House(folder=tmp_path, clock=Clock())


@pytest.fixture
def old(house, database):
    with house.open(database) as intake:
        yield intake


@pytest.fixture
def new_database(sqlite_url_of_its_own):
    with closing(Database(sqlite_url_of_its_own)) as database:
        yield database


@pytest.fixture
def sqlite_url_of_its_own(shared, tmp_path, sqlite_url) -> str:
    source = tmp_path / "ledger.db"
    target = tmp_path / "successor.db"
    target.write_bytes(source.read_bytes())
    target.chmod(0o600)
    return f"sqlite:///{target}"


def freeze(intake) -> None:
    with intake.db.begin() as tx:
        intake.announce(tx, "log.frozen", {})
        intake.store.freeze(tx)


def begin(old, house, database) -> Intake:
    chosen = house.settings.model_copy(update={"origin": SUCCESSOR, "state_dir": house.folder / "successor"})
    source = require_source(old).found(chosen)
    return Intake(
        database,
        source.open(),
        running.policies(),
        origin=SUCCESSOR,
        now=house.clock,
        source=source,
        erasures=ErasureList(chosen.erasures_path),
        before=final_note(old),
    )


def size_of(intake) -> int:
    with intake.db.read() as tx:
        return intake.store.size(tx)


def damage(intake) -> list[str]:
    """What scrub finds in this log's database."""
    erased = intake.erasures.read().persons
    parts = [*of_the_log(intake.keys), *beside_the_log(intake.keys, intake.policy, erased)]
    return [str(one) for one in scrub(intake.db, parts, lambda _part, _done, _total: None)]


def states(intake) -> dict:
    with intake.db.read() as tx:
        rows = tx.execute(select(standing.c.sub, standing.c.purpose, standing.c.state, standing.c.must_stop))
        return {(row.sub, row.purpose): (row.state, row.must_stop) for row in rows}


def test_a_log_that_still_takes_entries_has_no_successor(old):
    with pytest.raises(Unsafe, match="freeze the log first"):
        final_note(old)


def test_everybody_stands_in_the_successor_as_in_the_log_before(old, house, new_database):
    consent(old, ANA, BOB, CYD)
    recorded(old, running.withdrawal(BOB, received_at=old.now()))
    erase(old, CYD, reason="request")
    token = old.vault.token(subject_of(old, ANA), "marketing")
    before = states(old)
    freeze(old)
    with begin(old, house, new_database) as new:
        assert carry_over(old, new) == 2
        assert states(new) == before
        assert [subject_of(new, address) for address in (ANA, BOB, CYD)] == [
            subject_of(old, ANA),
            subject_of(old, BOB),
            None,
        ]
        assert new.vault.open_token(token) == (subject_of(old, ANA), "marketing")
        imported = running.claim(CYD, provenance=Provenance.IMPORT, received_at=new.now())
        assert isinstance(new.record([imported])[0], KeptOut)
        with new_database.read() as tx:
            [waiting] = tx.execute(select(task.c.sub, task.c.cause_idx)).all()
            assert waiting.sub == subject_of(new, BOB)
        assert carry_over(old, new) == 0
        assert damage(new) == damage(old) == []
        recorded(new, running.withdrawal(ANA, received_at=new.now()))
        require_whole(new)
        require_whole(old)


def test_the_successor_says_where_the_log_before_ended(old, house, new_database):
    consent(old, ANA)
    freeze(old)
    with begin(old, house, new_database) as new, new_database.read() as tx:
        genesis = new.store.entries(tx, [0])[0]
    with old.db.read() as tx:
        head = open_checkpoint(old.store.head(tx), [old.keys.log.verifier])
    assert final_checkpoint(genesis, [old.keys.log.verifier]) == head
    with pytest.raises(Tampered):
        final_checkpoint(genesis, [new.keys.log.verifier])
    with old.db.read() as tx:
        first = old.store.entries(tx, [0])[0]
    with pytest.raises(Tampered, match="does not begin a log that continues"):
        final_checkpoint(first, [old.keys.log.verifier])


def test_a_bundle_of_the_successor_proves_what_was_said_in_the_log_before(old, house, new_database):
    [given] = consent(old, ANA)
    freeze(old)
    with begin(old, house, new_database) as new:
        carry_over(old, new)
        data = bundle(new, ANA, at=new.now())
        verdict = verify_bundle(data, new.keys.log.vkey, new.keys.directory)
        assert (verdict.state, verdict.complete) == (State.GOOD, True), verdict.report()
        with new_database.read() as tx:
            [event] = new.events(tx, subject_of(new, ANA))[-1:]
            fields = new.vault.open_payload(tx, event.index).fields
    receipt = verify_receipt(str(fields["carried_receipt"]).encode(), [old.keys.log.verifier])
    assert (receipt.receipt.index, receipt.receipt.entry) == (given.index, given.entry)
    assert fields["notice_sha256"] == running.NOTICE["notice_sha256"]


def test_carrying_over_goes_on_where_it_was_cut_off(old, house, new_database):
    class Cut(Exception):  # a power cut
        pass

    def cut(_step, _done, _total):
        raise Cut

    consent(old, *(f"person-{number}@example.org" for number in range(130)))
    before = states(old)
    freeze(old)
    with begin(old, house, new_database) as new, pytest.raises(Cut):
        carry_over(old, new, cut)
    with begin(old, house, new_database) as new:
        assert carry_over(old, new) == 30
        assert states(new) == before
        require_whole(new)
        assert damage(new) == []


def test_a_retry_of_an_old_request_gets_the_receipt_of_the_entry_that_carries_it(old, house, new_database):
    asked = running.claim(ANA, received_at=old.now())
    [given] = recorded(old, asked)
    freeze(old)
    with begin(old, house, new_database) as new:
        carry_over(old, new)
        size = size_of(new)
        [again] = recorded(new, asked)
        assert again.duplicate
        assert again.subject == given.subject
        assert 0 < again.index < size == size_of(new)
        receipt = verify_receipt(again.receipt(), [new.keys.log.verifier])
        assert decode(receipt.receipt.entry).subject == given.subject
        [reused] = new.record([replace(asked, country="DE")])
        assert isinstance(reused, KeyReused)
        assert damage(new) == []


def test_a_retry_of_what_was_not_carried_over_is_answered_by_the_first_entry(old, house, new_database):
    consent(old, ANA)
    looked = running.claim(ANA, category=Category.ACCESS, purpose=None, received_at=old.now())
    recorded(old, looked)
    freeze(old)
    with begin(old, house, new_database) as new:
        carry_over(old, new)
        size = size_of(new)
        [again] = recorded(new, looked)
        assert (again.duplicate, again.index) == (True, 0)
        assert verify_receipt(again.receipt(), [new.keys.log.verifier]).receipt.index == 0
        assert size_of(new) == size
        assert damage(new) == []


def test_a_retry_for_somebody_erased_brings_nobody_back(old, house, new_database):
    asked = running.claim(CYD, received_at=old.now())
    recorded(old, asked)
    erase(old, CYD, reason="request")
    freeze(old)
    with begin(old, house, new_database) as new:
        carry_over(old, new)
        size = size_of(new)
        assert isinstance(new.record([asked])[0], KeptOut)
        assert (size_of(new), subject_of(new, CYD)) == (size, None)


def test_nobody_whom_the_successor_erased_is_carried_over_again(old, house, new_database):
    consent(old, ANA, BOB)
    freeze(old)
    with begin(old, house, new_database) as new:
        carry_over(old, new)
        erase(new, ANA, reason="request")
        assert carry_over(old, new) == 0
        assert subject_of(new, ANA) is None


def test_a_log_whose_directory_key_was_changed_goes_on_whole(old, house, new_database):
    consent(old, ANA)
    rekey_directory(old)
    consent(old, BOB)
    freeze(old)
    with begin(old, house, new_database) as new:
        assert carry_over(old, new) == 2
        assert damage(new) == []


def test_a_correction_holds_in_the_successor_and_one_that_waits_is_proposed_anew(old, house, new_database):
    consent(old, ANA, BOB)
    first, second, legal = (
        Person(account=name, role=role, via="terminal")
        for name, role in (("ada", "approver"), ("bea", "approver"), ("lea", "legal"))
    )
    for who in (ANA, BOB):
        by_phone = {"source": "api:desk", "evidence": {"control": "phone"}, "received_at": old.now()}
        told = running.withdrawal(who, **by_phone)
        [wrong] = old.record([told])
        proposed = propose(old, legal, who, wrong.index, "another one", now=old.now())
        approve(old, first, proposed.proposal, now=old.now())
        if who == ANA:
            approve(old, second, proposed.proposal, now=old.now())
    before = states(old)
    freeze(old)
    with begin(old, house, new_database) as new:
        carry_over(old, new)
        assert states(new) == before
        assert before[subject_of(new, ANA), "marketing"] == ("permitted", 0)
        assert before[subject_of(new, BOB), "marketing"] == ("refused", 1)
        assert damage(new) == []
        with new.db.read() as tx:
            assert waiting(new, tx) == []

"""The service's keys change under load and under the feet of running processes; old proofs keep verifying."""

import threading
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select

from service.db import subject_key
from service.errors import KeysChanged, Misconfigured, ReadOnly, Tampered, Unavailable, Unsafe
from service.intake.forgetting import erase
from service.intake.rotation import (
    _commit,
    end_overlap,
    forget_keks,
    rotate_ingest,
    rotate_kek,
    rotate_log,
)
from service.ledger.certificate import verify_certificate
from service.ledger.entry import decode
from service.ledger.handover import follow
from service.ledger.note import split_note
from service.ledger.proof import open_checkpoint, verify_receipt
from service.ledger.publication import Publisher, Signing
from service.ledger.verify import State, verify_bundle
from service.vault import keyfile
from service.vault.custody import FileCustody
from service.vault.keys import KeySource
from tests import running
from tests.intake.forgotten import (
    ANA,
    BOB,
    Clock,
    House,
    bundle_of,
    consent,
    persons,
    require_receipts,
    require_whole,
)


@pytest.fixture
def house(tmp_path) -> House:
    return House(folder=tmp_path, clock=Clock())


def head(intake) -> bytes:
    with intake.db.read() as tx:
        return intake.store.head(tx)


def handovers(intake) -> list[bytes]:
    with intake.db.read() as tx:
        entries = intake.store.entries(tx, range(intake.store.size(tx)))
    return [data for data in entries.values() if decode(data).category == "key.rotated"]


def test_a_new_log_key_is_signed_in_by_both_and_old_proofs_keep_verifying(house, database):
    with house.open(database) as intake:
        before = consent(intake, ANA)
        old, old_bundle = intake.keys.log, bundle_of(intake, ANA)
        index = rotate_log(intake)
        assert intake.keys.log.vkey != old.vkey
        with intake.db.read() as tx:
            said = intake.store.entries(tx, [index])[index]
        assert decode(said).extra["log"] == intake.keys.log.vkey
        assert len(split_note(said)[1]) == 3
        after = consent(intake, BOB)
        for trusted in (old.verifier, intake.keys.log.verifier):
            open_checkpoint(head(intake), [trusted])
            verify_receipt(after[0].receipt(), [trusted])
        require_receipts(intake, *before, *after)
        require_whole(intake)
        assert verify_bundle(old_bundle, old.vkey).state is State.GOOD
        assert verify_bundle(old_bundle, [intake.keys.log.vkey, old.vkey]).state is State.GOOD


def test_after_the_overlap_an_old_verifier_follows_the_handover(house, database):
    with house.open(database) as intake:
        consent(intake, ANA)
        first = intake.keys.log.vkey
        for _ in range(2):
            rotate_log(intake)
            end_overlap(intake)
        consent(intake, BOB)
        note = head(intake)
        assert len(split_note(note)[1]) == 1
        with pytest.raises(Tampered):
            open_checkpoint(note, [running.keys().log.verifier])
        trusted = follow([type(intake.keys.log.verifier).from_vkey(first)], handovers(intake))
        assert trusted[0].vkey == first
        assert len(trusted) == 3
        open_checkpoint(note, trusted)
        assert verify_bundle(bundle_of(intake, ANA), first).state is State.GOOD
        require_whole(intake)
    with house.open(database) as intake:
        consent(intake, ANA)
        require_whole(intake)


def test_a_handover_that_the_new_key_did_not_sign_is_refused(house, database):
    with house.open(database) as intake:
        old = intake.keys.log.verifier
        rotate_log(intake)
        [said] = handovers(intake)
    lines = said.split(b"\n")
    with pytest.raises(Tampered, match="without the signatures of both"):
        follow([old], [b"\n".join([*lines[:-2], b""])])
    unknown = running.keys(log="another").log.verifier
    assert follow([unknown], [said]) == [unknown]


def test_a_log_key_changes_once_per_overlap(house, database):
    with house.open(database) as intake:
        with pytest.raises(Unsafe):
            end_overlap(intake)
        rotate_log(intake)
        with pytest.raises(Unsafe, match="overlap"):
            rotate_log(intake)


def test_published_checkpoints_carry_both_lines_while_verifiers_change_over(house, database):
    with house.open(database) as intake:
        consent(intake, ANA)
        old = intake.keys.log.verifier

        def signing() -> Signing:
            keys = intake.keys
            verifiers = (*keys.log_verifiers, keys.log_pq.verifier)
            return Signing(head=keys.heads, cosigner=keys.log_pq, verifiers=verifiers)

        publisher = Publisher(
            intake.db,
            intake.store,
            intake.keys.log,
            intake.keys.log_pq,
            lambda: datetime.now(UTC),
            current=signing,
        )
        publisher.publish()
        rotate_log(intake)
        made = publisher.publish()
        assert made is not None
        open_checkpoint(made.note, [old])
        open_checkpoint(made.note, [intake.keys.log.verifier, intake.keys.log_pq.verifier])


def test_a_new_ingest_key_signs_what_comes_and_a_bundle_holds_both(house, database):
    with house.open(database) as intake:
        before = consent(intake, ANA)
        rotate_ingest(intake)
        assert intake.keys.ingest.name.endswith("/ingest-2")
        after = consent(intake, ANA)
        assert split_note(after[0].entry)[1][0].name.endswith("/ingest-2")
        verdict = verify_bundle(bundle_of(intake, ANA), intake.keys.log.vkey)
        assert (verdict.state, verdict.reason) == (State.GOOD, "every signature, proof and opening holds")
        require_whole(intake)
        require_receipts(intake, *before, *after)


def test_a_running_process_takes_up_keys_that_another_one_changed(house, database):
    with house.open(database) as one, house.open(database) as other:
        consent(other, ANA)
        for change in (rotate_ingest, rotate_log, end_overlap, rotate_kek):
            change(one)
            [found] = consent(other, BOB)
            assert verify_receipt(found.receipt(), [one.keys.log.verifier])
            assert split_note(found.entry)[1][0].name == one.keys.ingest.name
        assert other.keys.generation == one.keys.generation == 4
        with database.read() as tx:
            assert other.vault.address_of(tx, found.subject) == BOB
            names = set(tx.scalars(select(subject_key.c.kek_id)))
        assert names == {one.keys.kek_id}
        require_whole(other)


def test_a_process_that_does_not_know_where_keys_are_refuses_instead_of_using_old_ones(house, database):
    with house.open(database) as one:
        keys = one.keys
        with running.start(database, keys=keys, now=house.clock) as other:
            rotate_ingest(one)
            [result] = other.record([running.claim(ANA, received_at=other.now())])
            assert isinstance(result, KeysChanged)
            assert result.status == 503
    with pytest.raises(KeysChanged):
        running.start(database, keys=keys).start()


def test_a_keys_file_older_than_the_ledger_is_refused(house, database):
    with house.open(database) as intake:
        saved = house.settings.keys_path.read_bytes()
        rotate_ingest(intake)
    house.settings.keys_path.write_bytes(saved)
    with pytest.raises(Misconfigured, match="put back the newest copy"), house.open(database):
        pass


@pytest.mark.parametrize("said", [False, True])
def test_a_change_that_was_cut_off_is_finished_by_giving_it_again(house, database, said):
    with house.open(database) as intake:
        consent(intake, ANA)
        source = intake.source
        keys = source.stage(_ingest)
        if said:
            whole = keyfile.unseal(house.settings.keys_path, intake.keys.kek)
            _commit(intake, source, keys, "ingest", {"ingest": [keys.ingest.vkey]})
            house.settings.keys_path.write_bytes(keyfile.seal(whole, intake.keys.kek))
    with house.open(database) as intake:
        consent(intake, BOB)
        with pytest.raises(Unsafe) if not said else _nothing():
            rotate_log(intake)
        if not said:
            rotate_ingest(intake)
        assert intake.keys.ingest.vkey == keys.ingest.vkey
        require_whole(intake)


def _ingest(stored):
    from service.intake.rotation import _next_ingest  # noqa: PLC0415  # one use

    return _next_ingest(stored)


class _nothing:  # noqa: N801  # stands where pytest.raises would
    def __enter__(self):
        return self

    def __exit__(self, *_error):
        return False


def test_all_persons_are_wrapped_under_a_new_kek_while_events_come_in(house, database, figures):
    with house.open(database) as intake, house.open(database) as busy:
        consent(intake, *(f"person-{number}@example.org" for number in range(1200)))
        before = intake.keys.kek_id
        stop, failures, written = threading.Event(), [], []

        def write() -> None:
            while not stop.is_set():
                address = f"new-{len(written)}@example.org"
                [result] = busy.record([running.claim(address, received_at=datetime.now(UTC))])
                (failures if isinstance(result, Exception) else written).append(result)

        thread = threading.Thread(target=write)
        thread.start()
        steps = []
        try:
            rotate_kek(intake, lambda _step, done, _total: steps.append(done))
        finally:
            stop.set()
            thread.join()
        assert failures == []
        figures(f"new KEK under load ({database.dialect})", events_meanwhile=len(written), refused=0)
        assert len(steps) >= 2
        assert written
        with database.read() as tx:
            names = dict(
                tx.execute(select(subject_key.c.kek_id, func.count()).group_by(subject_key.c.kek_id)).all()
            )
            assert list(names) == [intake.keys.kek_id] != [before]
            assert busy.vault.address_of(tx, written[-1].subject) is not None
        require_whole(intake)


def test_wrapping_again_goes_on_where_it_was_cut_off(house, database):
    class Cut(Exception):  # a power cut
        pass

    def cut(_step, _done, _total):
        raise Cut

    with house.open(database) as intake:
        consent(intake, *(f"person-{number}@example.org" for number in range(700)))
        with pytest.raises(Cut):
            rotate_kek(intake, cut)
        name = intake.keys.kek_id
    with house.open(database) as intake:
        with pytest.raises(Unsafe):
            forget_keks(intake)
        assert rotate_kek(intake) == 701 - 500
        assert intake.keys.kek_id == name
        assert forget_keks(intake) == 1
    with house.open(database) as intake:
        assert intake.keys.keks == {}
        assert (
            verify_bundle(bundle_of(intake, "person-0@example.org"), intake.keys.log.vkey).state is State.GOOD
        )


def test_a_kek_change_that_was_cut_off_between_the_two_files_is_finished(house, database):
    with house.open(database) as intake:
        consent(intake, ANA)
        path = house.settings.kek_path
        old = path.read_bytes()
        intake.source.stage_kek()
        path.rename(path.with_name("kek.next"))
        path.write_bytes(old)
        path.chmod(0o600)
    with house.open(database) as intake:
        assert not path.with_name("kek.next").exists()
        rotate_kek(intake)
        with intake.db.read() as tx:
            assert set(tx.scalars(select(subject_key.c.kek_id))) == {intake.keys.kek_id}
    with house.open(database) as intake:
        assert verify_bundle(bundle_of(intake, ANA), intake.keys.log.vkey).state is State.GOOD


def test_certificates_of_before_a_rotation_still_verify(house, database):
    with house.open(database) as intake:
        consent(intake, ANA)
        first, certificate = intake.keys.log.vkey, erase(intake, ANA, reason="request").certificate
        rotate_log(intake)
        end_overlap(intake)
        consent(intake, ANA)
        second = erase(intake, ANA, reason="request").certificate
        verify_certificate(certificate, intake.keys.log_verifiers)
        trusted = follow([intake.keys.former[0]], handovers(intake))
        assert trusted[0].vkey == first
        verify_certificate(second, trusted)


@dataclass
class Keeper(FileCustody):
    """A keeper outside that can fail: what it answers is another matter, here only that it does not."""

    away: bool = False
    lease_s: float | None = 0.0

    def open(self, sealed: bytes) -> bytes:
        if self.away:
            raise Unavailable("the keeper of the key-encryption key cannot be reached")
        return super().open(sealed)


def test_nothing_is_recorded_while_the_keeper_of_the_kek_is_away(house, database):
    keeper = Keeper()
    with house.open(database, source=KeySource(house.settings, keeper)) as intake:
        consent(intake, ANA)
        keeper.away = True
        [result] = intake.record([running.claim(BOB, received_at=intake.now())])
        assert isinstance(result, Unavailable)
        assert result.status == 503
        assert persons(database) == 1
        keeper.away = False
        intake.source.kek._refused = None
        consent(intake, BOB)
        require_whole(intake)


def test_a_frozen_log_takes_nothing_and_keeps_proving(house, database):
    with house.open(database) as intake:
        before = consent(intake, ANA)
        with intake.db.begin() as tx:
            intake.announce(tx, "log.frozen", {})
            intake.store.freeze(tx)
        [result] = intake.record([running.claim(BOB, received_at=intake.now())])
        assert isinstance(result, ReadOnly)
        require_whole(intake)
        require_receipts(intake, *before)
    with house.open(database) as intake:
        assert isinstance(intake.record([running.claim(BOB, received_at=intake.now())])[0], ReadOnly)

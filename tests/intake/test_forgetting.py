"""A person is forgotten: content gone, proofs whole, the address kept out, and no backup brings them back."""

import re
import shutil
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import delete, insert, make_url, select

from service.consent import Category, Provenance, State
from service.db import (
    Database,
    contact,
    crm_address,
    crm_record,
    erasure,
    happening,
    payload,
    standing,
    subject_key,
    suppression,
    task,
)
from service.errors import KeptOut, Malformed, Misconfigured, Tampered, UnknownSubject
from service.intake.erasures import ErasureList
from service.intake.forgetting import certificate_of, erase, replay
from service.ledger.certificate import verify_certificate
from service.ledger.entry import decode
from service.ledger.verify import State as Verdict
from service.ledger.verify import verify_bundle
from service.reports.history import history
from tests import running, servers
from tests.intake.forgotten import (
    ANA,
    BOB,
    Clock,
    House,
    bundle_of,
    consent,
    everything,
    persons,
    recorded,
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


def secrets_of(database, sub):
    """The wrapped key and sealed payloads of a person, as the tables hold them."""
    with database.read() as tx:
        wrapped = tx.scalars(select(subject_key.c.wrapped).where(subject_key.c.sub == sub)).all()
        sealed = tx.scalars(select(payload.c.sealed).where(payload.c.sub == sub)).all()
    return [*wrapped, *sealed]


def test_after_an_erasure_nothing_opens_and_everything_verifies(intake, figures):
    before = consent(intake, ANA, BOB)
    sub = subject_of(intake, ANA)
    secrets = secrets_of(intake.db, sub)
    assert len(secrets) == 2
    erased = erase(intake, ANA, reason="request")
    held = everything(intake.db)
    residual = [secret for secret in secrets if secret in held]
    assert residual == []
    assert subject_of(intake, ANA) is None
    with intake.db.read() as tx:
        assert intake.vault.openings(tx, [before[0].index]) == {}
        entry = decode(intake.store.entries(tx, [erased.index])[erased.index])
        assert (entry.category, entry.subject, entry.extra) == ("erasure", sub, {"why": "request"})
        for table in (standing, task, happening):
            assert tx.scalars(select(table.c.sub).where(table.c.sub == sub)).all() == []
    require_whole(intake)
    require_receipts(intake, *before)
    assert subject_of(intake, BOB) is not None
    figures(f"erasure ({intake.db.dialect})", residual_hits=len(residual), proofs_that_still_hold=len(before))


def test_the_erased_address_stands_nowhere_in_the_clear(intake):
    consent(intake, ANA)
    erase(intake, ANA, reason="request")
    assert b"ana@" not in everything(intake.db)
    assert "ana" not in intake.erasures.path.read_text()


def test_sqlite_overwrites_what_was_erased_in_the_file_and_its_log(house, sqlite_url):
    path = Path(make_url(sqlite_url).database)
    with closing(Database(sqlite_url)) as database, house.open(database) as intake:
        consent(intake, *(f"person-{number}@example.org" for number in range(120)), ANA)
        recorded(intake, running.withdrawal(ANA, received_at=intake.now()))
        secrets = secrets_of(database, subject_of(intake, ANA))
        assert len(secrets) == 3
        database.scrub()
        assert all(secret in path.read_bytes() for secret in secrets)
        erase(intake, ANA, reason="request")
        held = b"".join(path.with_name(path.name + end).read_bytes() for end in ("", "-wal"))
        assert not [secret for secret in secrets if secret in held or secret[-40:] in held]


def test_an_erasure_is_recorded_once_and_only_of_the_known(intake):
    with pytest.raises(UnknownSubject):
        erase(intake, ANA, reason="request")
    consent(intake, ANA)
    with pytest.raises(Malformed, match="a reason is one of"):
        erase(intake, ANA, reason="because she is Ana")
    erase(intake, ANA, reason="request")
    with pytest.raises(KeptOut):
        erase(intake, ANA, reason="request")


def test_without_a_list_beside_the_fence_nothing_is_erased(database):
    with running.start(database) as intake:
        consent(intake, ANA)
        with pytest.raises(Misconfigured, match="list beside the rollback fence"):
            erase(intake, ANA, reason="request")
        assert subject_of(intake, ANA) is not None


def test_where_the_list_cannot_be_written_nothing_is_erased(house, database):
    with house.open(database) as intake:
        consent(intake, ANA)
        intake.erasures = ErasureList(house.folder / "ledger.db" / "erasures")
        (house.folder / "ledger.db").touch()
        with pytest.raises((Misconfigured, OSError)):
            erase(intake, ANA, reason="request")
        assert subject_of(intake, ANA) is not None
        require_whole(intake)


@pytest.mark.parametrize("provenance", [Provenance.IMPORT, Provenance.BACKFILL, Provenance.OBSERVED])
def test_no_import_and_no_sighting_brings_an_erased_person_back(intake, provenance):
    consent(intake, ANA)
    erase(intake, ANA, reason="request")
    for claim in (
        running.claim(ANA, provenance=provenance, received_at=intake.now(), occurred_at=intake.now()),
        running.withdrawal(ANA, provenance=provenance, received_at=intake.now()),
    ):
        [result] = intake.record([claim])
        assert isinstance(result, KeptOut)
        assert ANA not in str(result)
    assert persons(intake.db) == 0


def test_a_consent_from_before_the_erasure_that_arrives_late_is_refused(intake):
    consent(intake, ANA)
    earlier = intake.now()
    erase(intake, ANA, reason="request")
    late = running.claim(ANA, received_at=intake.now(), occurred_at=earlier)
    [result] = intake.record([late])
    assert isinstance(result, KeptOut)


def test_a_bounce_about_somebody_erased_is_no_reason_to_know_them_again(intake):
    consent(intake, ANA)
    erase(intake, ANA, reason="request")
    [result] = intake.record([running.claim(ANA, category=Category.BOUNCE_HARD, received_at=intake.now())])
    assert isinstance(result, KeptOut)


def test_a_person_comes_back_by_their_own_consent_under_the_next_version(intake):
    consent(intake, ANA)
    first = subject_of(intake, ANA)
    for version in (2, 3):
        erase(intake, ANA, reason="request")
        [again] = consent(intake, ANA)
        assert again.subject not in (None, first)
        with intake.db.read() as tx:
            found = {one.purpose: one for one in intake.standings(tx, again.subject)}
            assert found["marketing"].may_mail
            versions = tx.scalar(select(suppression.c.versions))
        assert versions == version
    verdict = verify_bundle(bundle_of(intake, ANA), intake.keys.log.vkey, intake.keys.directory)
    assert verdict.state is Verdict.GOOD
    assert verdict.finding.closed == 2
    require_whole(intake)


def test_who_came_back_is_still_kept_out_of_what_they_did_not_consent_to(intake):
    consent(intake, ANA)
    erase(intake, ANA, reason="request")
    [again] = recorded(intake, running.withdrawal(ANA, received_at=intake.now(), purpose=None))
    recorded(intake, running.claim(ANA, received_at=intake.now()))
    imported = running.claim(
        ANA, provenance=Provenance.IMPORT, received_at=intake.now(), occurred_at=intake.now()
    )
    [refused] = intake.record([imported])
    assert isinstance(refused, KeptOut)
    with intake.db.read() as tx:
        assert all(
            one.state is State.PERMITTED or one.must_stop for one in intake.standings(tx, again.subject)
        )


def test_an_erased_address_must_stop_whatever_is_asked_about_it(intake):
    consent(intake, ANA)
    erase(intake, ANA, reason="request")
    with intake.db.read() as tx:
        found = history(intake, tx, ANA, at=intake.now())
    assert found.subject is None
    assert all(one.must_stop and not one.may_mail for one in found.now)
    verdict = verify_bundle(bundle_of(intake, ANA), intake.keys.log.vkey, intake.keys.directory)
    assert (verdict.state, verdict.complete) == (Verdict.GOOD, False)


def test_an_enforcement_about_an_erased_address_is_about_nobody(intake):
    consent(intake, ANA)
    erase(intake, ANA, reason="request")
    [result] = recorded(
        intake,
        running.claim(
            ANA,
            category=Category.ENFORCEMENT,
            received_at=intake.now(),
            evidence={"target": "crm:Contacts/4711", "read_back": "confirmed"},
            enforce=False,
        ),
    )
    assert result.subject is None
    with intake.db.read() as tx:
        fields = intake.vault.open_payload(tx, result.index).fields
    assert fields["target"] == "crm:Contacts"
    assert "email" not in fields
    assert persons(intake.db) == 0


def test_a_claim_about_an_erased_pseudonym_is_refused(intake):
    [found] = consent(intake, ANA)
    erase(intake, ANA, reason="request")
    [result] = intake.record([running.withdrawal(None, subject=found.subject, received_at=intake.now())])
    assert isinstance(result, UnknownSubject)


def test_another_process_that_prepared_before_an_erasure_writes_nothing_about_the_erased(house, database):
    with house.open(database) as first, house.open(database) as second:
        consent(first, ANA, BOB)
        consent(second, BOB)
        sub = subject_of(first, ANA)
        prepared = second._journal.prepare([running.withdrawal(ANA, received_at=second.now())])
        erase(first, ANA, reason="request")
        with database.begin() as tx:
            second.store.lock(tx)
            assert second._journal.stale(tx, prepared) == {0}
        imported = running.claim(ANA, provenance=Provenance.IMPORT, received_at=second.now())
        assert isinstance(second.record([imported])[0], KeptOut)
        assert sub not in everything_but_the_log(database)


def everything_but_the_log(database):
    with database.read() as tx:
        rows = [tx.scalars(select(table.c.sub)).all() for table in (subject_key, payload, happening, task)]
    return {sub for found in rows for sub in found}


def test_copies_from_the_products_go_with_the_person(intake):
    consent(intake, ANA, BOB)
    ana, bob = (intake.vault.address_index(address) for address in (ANA, BOB))
    now = intake.now()
    with intake.db.begin() as tx:
        for number, indexes in enumerate([(ana,), (ana, bob)]):
            tx.execute(
                insert(crm_record).values(
                    module="Contacts",
                    record_id=str(number),
                    opted_out=0,
                    modified_at=now,
                    jurisdiction="DE",
                    views="",
                    seen_run=1,
                )
            )
            for index in indexes:
                sealed = intake.vault.seal_address(ANA if index == ana else BOB)
                tx.execute(
                    insert(crm_address).values(
                        module="Contacts", record_id=str(number), address_index=index, address=sealed
                    )
                )
        tx.execute(
            insert(contact).values(
                address_index=ana, address=intake.vault.seal_address(ANA), since=now, seen_run=1
            )
        )
    erase(intake, ANA, reason="request")
    with intake.db.read() as tx:
        assert tx.scalars(select(crm_address.c.address_index)).all() == [bob]
        assert tx.scalars(select(crm_record.c.record_id)).all() == ["1"]
        assert tx.scalars(select(contact.c.address_index)).all() == []


def test_the_certificate_verifies_with_the_logs_key_alone_and_says_what_remains(intake):
    [given] = consent(intake, ANA)
    erased = erase(intake, ANA, reason="withdrawn")
    found = verify_certificate(erased.certificate, [intake.keys.log.verifier])
    assert (found.index, found.subject, found.reason) == (erased.index, given.subject, "withdrawn")
    assert [one.category for one in found.remains] == ["subject.opened", "consent.granted", "erasure"]
    assert found.sealed == 1
    text = erased.certificate.decode()
    assert ANA not in text
    assert "WHAT REMAINS, AND WHY" in text
    with intake.db.read() as tx:
        assert certificate_of(tx, erased.index) == erased.certificate
        with pytest.raises(UnknownSubject):
            certificate_of(tx, 0)


def test_a_certificate_that_was_changed_anywhere_is_refused(intake):
    consent(intake, ANA)
    note = bytearray(erase(intake, ANA, reason="request").certificate)
    for place in range(0, len(note), 37):
        changed = note.copy()
        changed[place] ^= 1
        with pytest.raises(Tampered):
            verify_certificate(bytes(changed), [intake.keys.log.verifier])


def test_a_certificate_with_the_receipt_of_another_entry_is_refused(intake):
    consent(intake, ANA, BOB)
    ana, bob = (erase(intake, address, reason="request").certificate for address in (ANA, BOB))
    text = ana[: ana.rindex(b"\n\n") + 1]
    other = re.search(rb"receipt: .*", bob).group()
    forged = intake.keys.log.sign(re.sub(rb"receipt: .*", other, text))
    with pytest.raises(Tampered):
        verify_certificate(forged, [intake.keys.log.verifier])


def copy_of(database, request) -> Database:
    """A backup of a database that nobody writes to: a file copy, or a new database from a template."""
    url = make_url(database.url)
    if database.dialect == "sqlite":
        database.scrub()
        target = url.database + ".backup"
        shutil.copyfile(url.database, target)
        return Database(f"sqlite:///{target}")
    database.close()
    server = request.getfixturevalue("postgres")(
        "postgresql15" if "postgresql15" in str(url.query["host"]) else "postgresql"
    )
    name = f"test_{uuid4().hex}"
    server.create_database(name, url.database)
    request.addfinalizer(lambda: server.drop_database(name))
    return Database(server.url(name, servers.OWNER))


def test_a_restored_older_backup_ends_with_the_person_still_erased(house, database, request):
    with house.open(database) as intake:
        before = consent(intake, ANA, BOB)
    backup = copy_of(database, request)
    with house.open(database) as intake:
        erase(intake, ANA, reason="request")
    with closing(backup), house.open(backup) as restored:
        assert subject_of(restored, ANA) is None
        assert subject_of(restored, BOB) is not None
        imported = running.claim(ANA, provenance=Provenance.IMPORT, received_at=restored.now())
        assert isinstance(restored.record([imported])[0], KeptOut)
        with backup.read() as tx:
            [index] = tx.scalars(select(erasure.c.idx)).all()
            certificate = certificate_of(tx, index)
        verify_certificate(certificate, [restored.keys.log.verifier])
        require_whole(restored)
        require_receipts(restored, *before)
        assert replay(restored) == 0


def test_a_backup_from_before_a_person_was_known_keeps_them_out_as_well(house, database, request):
    with house.open(database) as intake:
        consent(intake, BOB)
    backup = copy_of(database, request)
    with house.open(database) as intake:
        consent(intake, ANA)
        erase(intake, ANA, reason="request")
    with closing(backup), house.open(backup) as restored:
        imported = running.claim(ANA, provenance=Provenance.IMPORT, received_at=restored.now())
        assert isinstance(restored.record([imported])[0], KeptOut)
        [again] = consent(restored, ANA)
        assert again.subject is not None


def test_a_crash_between_the_list_and_the_commit_erases_at_the_next_start(house, database):
    with house.open(database) as intake:
        consent(intake, ANA)
        index, sub = intake.vault.address_index(ANA), subject_of(intake, ANA)
        intake.erasures.add(sub, index, entry=99, reason="request", at=intake.now())
    with house.open(database) as intake:
        assert subject_of(intake, ANA) is None
        require_whole(intake)


def test_a_read_only_ledger_destroys_what_the_list_knows_and_appends_nothing(house, database, request):
    with house.open(database) as intake:
        consent(intake, ANA)
    backup = copy_of(database, request)
    with house.open(database) as intake:
        erase(intake, ANA, reason="request")
    with closing(backup), house.open(backup) as restored:
        pass
    with closing(backup):
        with backup.begin() as tx:
            tx.execute(delete(erasure))
        with house.open(backup) as restored:
            restored.store.guard.alarm("a test says so")
            with backup.read() as tx:
                size = restored.store.size(tx)
            replay(restored)
            with backup.read() as tx:
                assert restored.store.size(tx) == size


def test_a_list_that_a_crash_cut_off_is_read_up_to_there_and_written_on(tmp_path):
    listed = ErasureList(tmp_path / "erasures")
    at = Clock()()
    listed.add(b"a" * 32, b"b" * 32, entry=4, reason="request", at=at)
    with listed.path.open("a") as file:
        file.write("person 6161")
    assert listed.read().persons == {b"a" * 32: ("request", at)}
    listed.add(b"c" * 32, b"d" * 32, entry=5, reason="child", at=at + timedelta(days=1))
    assert set(listed.read().persons) == {b"a" * 32, b"c" * 32}
    assert listed.read().addresses[b"d" * 32] == ("child", at + timedelta(days=1))


def test_a_damaged_list_stops_the_start_and_says_why(house, database):
    with house.open(database) as intake:
        consent(intake, ANA)
        erase(intake, ANA, reason="request")
    intake.erasures.path.write_text("person of interest\n")
    with pytest.raises(Misconfigured, match="bring erased people back"), house.open(database):
        pass

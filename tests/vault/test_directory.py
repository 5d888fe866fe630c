"""The vault: find, seal, open; and what cannot be moved, guessed or read."""

import string
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from service.consent import Category
from service.db import Database, outcome, payload, subject, subject_key
from service.errors import Misconfigured, NotFound, Tampered, UnknownSubject
from service.vault import Vault
from tests import running

ANA, BOB = "ana@example.org", "bob@example.org"
URL_SAFE = string.ascii_letters + string.digits + "-_"


@pytest.fixture
def vault() -> Vault:
    return Vault(running.keys())


@pytest.fixture
def intake(database):
    with running.start(database) as intake:
        yield intake


def test_an_address_is_found_in_any_spelling_once_it_was_seen(intake):
    [found] = intake.record([running.claim(ANA)])
    with intake.db.read() as tx:
        assert intake.vault.find(tx, " ANA@Example.org ") == found.subject
        assert intake.vault.find(tx, BOB) is None
        assert intake.vault.address_of(tx, found.subject) == ANA


def test_the_index_of_an_address_is_keyed(vault):
    other = Vault(replace(running.keys(), index=bytes(32)))
    assert vault.address_index(ANA) == vault.address_index("ANA@EXAMPLE.ORG")
    assert len({vault.address_index(ANA), vault.address_index(BOB), other.address_index(ANA)}) == 3


def test_an_index_exists_for_whatever_a_product_holds(vault):
    assert len(vault.address_index("not an address \ud800")) == 32


def test_what_was_sealed_is_opened_with_its_fields(intake):
    [found] = intake.record(
        [running.claim(ANA, evidence={**running.NOTICE, "ip": "192.0.2.7", "tags": ["a", 1]})]
    )
    with intake.db.read() as tx:
        opening = intake.vault.open_payload(tx, found.index)
    assert opening.fields["email"] == ANA
    assert (opening.fields["ip"], opening.fields["tags"], opening.fields["grade"]) == (
        "192.0.2.7",
        ["a", 1],
        "C",
    )
    assert opening.fields["policy"] == running.policies().digest.hex()


def test_nothing_is_opened_for_an_entry_that_seals_nothing(intake):
    with intake.db.read() as tx:
        assert intake.vault.open_payload(tx, 0) is None


def test_many_openings_are_those_of_one_at_a_time(intake):
    found = intake.record(running.people(7))
    with intake.db.read() as tx:
        many = intake.vault.openings(tx, [one.index for one in found])
        assert many == {one.index: intake.vault.open_payload(tx, one.index) for one in found}


def test_a_sealed_payload_cannot_be_moved_to_another_entry_of_the_same_person(intake):
    first, second = intake.record([running.claim(ANA), running.withdrawal(ANA)])
    with intake.db.begin() as tx:
        sealed = tx.scalar(select(payload.c.sealed).where(payload.c.idx == first.index))
        tx.execute(update(payload).where(payload.c.idx == second.index).values(sealed=sealed))
    with intake.db.read() as tx, pytest.raises(Tampered):
        intake.vault.openings(tx, [second.index])


def test_a_sealed_address_cannot_be_moved_to_another_person(intake):
    ana, bob = intake.record([running.claim(ANA), running.claim(BOB)])
    with intake.db.begin() as tx:
        sealed = tx.scalar(select(subject.c.address).where(subject.c.sub == ana.subject))
        tx.execute(update(subject).where(subject.c.sub == bob.subject).values(address=sealed))
    with intake.db.read() as tx, pytest.raises(Tampered):
        intake.vault.address_of(tx, bob.subject)


def test_a_wrapped_key_cannot_be_moved_to_another_person(intake):
    ana, bob = intake.record([running.claim(ANA), running.claim(BOB)])
    with intake.db.begin() as tx:
        wrapped = tx.scalar(select(subject_key.c.wrapped).where(subject_key.c.sub == ana.subject))
        tx.execute(update(subject_key).where(subject_key.c.sub == bob.subject).values(wrapped=wrapped))
    with intake.db.read() as tx, pytest.raises(Tampered):
        intake.vault.open_payload(tx, bob.index)


def test_without_their_key_a_person_cannot_be_read_and_can_still_withdraw(intake):
    [found] = intake.record([running.claim(ANA)])
    with intake.db.begin() as tx:
        tx.execute(delete(subject_key).where(subject_key.c.sub == found.subject))
    with intake.db.read() as tx:
        assert intake.vault.open_payload(tx, found.index) is None
        assert intake.vault.address_of(tx, found.subject) is None
    [refused] = intake.record([running.withdrawal(None, subject=found.subject)])
    assert isinstance(refused, UnknownSubject)


def test_another_key_encryption_key_opens_nothing(intake):
    [found] = intake.record([running.claim(ANA)])
    with intake.db.read() as tx, pytest.raises(Misconfigured, match="put back the keys file"):
        Vault(running.keys(kek="another")).open_payload(tx, found.index)


def test_the_same_address_is_sealed_differently_every_time_and_opens_the_same(vault):
    first, second = vault.seal_address(ANA), vault.seal_address(ANA)
    assert first != second
    assert vault.open_address(first) == vault.open_address(second) == ANA


def test_a_sealed_mirror_address_that_was_changed_does_not_open(vault):
    sealed = bytearray(vault.seal_address(ANA))
    for position in range(len(sealed)):
        sealed[position] ^= 1
        with pytest.raises(Tampered):
            vault.open_address(bytes(sealed))
        sealed[position] ^= 1


SUB = running.secret("a person")


def test_a_token_names_its_person_and_purpose(vault):
    assert vault.open_token(vault.token(SUB, "marketing")) == (SUB, "marketing")


def test_a_token_stands_in_a_link_as_it_is(vault):
    assert set(vault.token(SUB, "marketing")) <= set(URL_SAFE)


def test_a_token_with_any_character_changed_is_not_found(vault):
    token = vault.token(SUB, "marketing")
    for position, character in enumerate(token):
        for other in {URL_SAFE[(URL_SAFE.index(character) + step) % 64] for step in (1, 2, 16, 63)} | {
            "=",
            "+",
            "é",
        }:
            with pytest.raises(NotFound):
                vault.open_token(token[:position] + other + token[position + 1 :])


@pytest.mark.parametrize("change", [lambda t: t[:-1], lambda t: t + "A", lambda t: t + "=", lambda t: t[4:]])
def test_a_token_cut_or_lengthened_is_not_found(vault, change):
    with pytest.raises(NotFound):
        vault.open_token(change(vault.token(SUB, "marketing")))


@pytest.mark.parametrize("text", ["", "A", "AAAA", "é", "../../etc/passwd", "A" * 10_000])
def test_any_other_text_is_not_found(vault, text):
    with pytest.raises(NotFound):
        vault.open_token(text)


def test_a_token_for_one_purpose_does_not_serve_another(vault):
    marketing, surveys = vault.token(SUB, "marketing"), vault.token(SUB, "surveys")
    assert marketing[:22] != surveys[:22]
    with pytest.raises(NotFound):
        vault.open_token(marketing[:22] + surveys[22:])


def test_a_token_of_another_ledger_is_not_found(vault):
    other = Vault(replace(running.keys(), token=bytes(32)))
    with pytest.raises(NotFound):
        vault.open_token(other.token(SUB, "marketing"))


def test_no_address_stands_in_the_clear_in_the_database_files(sqlite_url, tmp_path):
    name = "recognisable.person"
    with closing(Database(sqlite_url)) as database, running.start(database) as intake:
        told = [
            running.claim(f"{name}@example.org", evidence={**running.NOTICE, "ip": "203.0.113.77"}),
            running.withdrawal(f"{name}@example.org"),
            running.claim(f"{name}@example.org", category=Category.BOUNCE_HARD, purpose=None),
        ]
        intake.record(told)
        with database.begin() as tx:
            sealed = intake.vault.seal_address(f"{name}@example.org")
            moment = told[0].received_at
            tx.execute(
                outcome.insert().values(
                    campaign_key="c",
                    address_index=intake.vault.address_index(f"{name}@example.org"),
                    kind="bounce",
                    observed_at=moment,
                    address=sealed,
                )
            )
        stored = files(tmp_path)  # while the write-ahead log is there
    stored += files(tmp_path)
    assert b"consent.granted" in stored
    for secret in (name, "203.0.113.77", running.keys().directory.hex()):
        assert secret.encode() not in stored
        assert secret.upper().encode() not in stored


def files(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("ledger.db*"))

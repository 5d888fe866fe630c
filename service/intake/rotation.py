"""Change the service's keys: staged in the keys file, said in the log by old and new key, then in use.

Each step can be repeated: a command that was cut off is given again and finishes what it began. Running
services notice by the generation that every append locks, and read their keys anew.
"""

import hmac
import secrets
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
from sqlalchemy import Connection, bindparam, func, select, update

from service.consent import Category
from service.db import subject_key
from service.errors import Misconfigured, Unsafe
from service.intake import Intake
from service.intake.keychanges import last_change, note_change
from service.intake.moments import moment
from service.ledger.canonical import Json
from service.ledger.entry import Entry, encode
from service.ledger.note import Joint, Signer
from service.ledger.store import Known
from service.vault.keyfile import KEY, Stored
from service.vault.keys import Keys, KeySource

LOG: Final = "log"
INGEST: Final = "ingest"
KEK: Final = "kek"

CHUNK: Final = 500  # persons' keys wrapped again in one transaction, some 10 ms
Progress = Callable[[str, int, int], None]


def rotate_log(intake: Intake) -> int:
    """Give the log a new key, Ed25519 and ML-DSA-44; return the index of the entry that says so.

    Until `end_overlap`, heads and published checkpoints carry both Ed25519 lines. Raises `Unsafe` while the
    overlap of an earlier change still runs.
    """
    if intake.keys.log_before is not None and not _staged(intake):
        raise Unsafe("the last change of the log's key is still in its overlap; end that first")
    return _change(intake, LOG, _next_log, lambda keys: {"log": keys.log.vkey, "log_pq": keys.log_pq.vkey})


def end_overlap(intake: Intake) -> int:
    """Drop the log's former key for good; return the index of the entry that says so."""
    before = intake.keys.log_before
    if before is None and not _staged(intake):
        raise Unsafe("no overlap of two log keys is running")
    retired = "" if before is None else before.vkey
    return _change(intake, LOG, _without_before, lambda keys: {"log": keys.log.vkey, "retired": retired})


def rotate_ingest(intake: Intake) -> int:
    """Give entries a new signing key, under the next number; return the index of the entry that says so."""
    return _change(intake, INGEST, _next_ingest, lambda keys: {"ingest": [keys.ingest.vkey]})


def rotate_kek(intake: Intake, progress: Progress = lambda _step, _done, _total: None) -> int:
    """Wrap all persons' keys under a new key-encryption key; return how many were wrapped again.

    Works beside running services and can be cut off at any time. Where an earlier run left keys behind, or
    did not reach the log, that is finished and no newer key is made. The former key stays in the keys file,
    sealed, because backups are wrapped under it: see `forget_keks`.
    """
    source = require_source(intake)
    if _staged(intake) or not _left(intake):
        keys = source.stage_kek()
        _commit(intake, source, keys, KEK, {"kek": keys.kek_id})
    total = _left(intake)
    done = 0
    while wrapped := _wrap_again(intake):
        done += wrapped
        progress("wrap persons' keys again", done, total)
    intake.db.scrub()
    return done


def forget_keks(intake: Intake) -> int:
    """Destroy former key-encryption keys, and with them what older backups hold; return how many there were.

    Raises `Unsafe` while a person's key is still wrapped under one of them.
    """
    source = require_source(intake)
    if _left(intake):
        raise Unsafe("some persons' keys are still wrapped under a former key; run `key rotate kek` first")
    count = source.forget_keks()
    intake.adopt(source.open())
    return count


def require_source(intake: Intake) -> KeySource:
    """Return where the keys come from; `Misconfigured` where they were handed in and cannot be changed."""
    if intake.source is None:
        raise Misconfigured("this process was not told where its keys are kept, so it cannot change them")
    return intake.source


def change_keys(
    intake: Intake, tx: Connection, keys: Keys, *, kind: str, category: Category, words: Mapping[str, Json]
) -> int:
    """Append the entry about a change of keys, signed by all whom it concerns; return its index.

    The caller's transaction holds the head and counts the generation.
    """
    signers = [intake.keys.ingest]
    if keys.ingest.vkey != intake.keys.ingest.vkey:
        signers.append(keys.ingest)
    if keys.log.vkey != intake.keys.log.vkey:
        signers += [intake.keys.log, keys.log]
    at = moment(tx, intake.store, intake.now())
    entry = Entry(category=category, at=at, extra=dict(words))
    extent = intake.store.append(tx, intake.lock(tx), [encode(entry, Joint(*signers))])
    note_change(tx, index=extent.start, kind=kind, generation=keys.generation)
    intake.store.note(tx, generation=keys.generation)
    if keys.log_pq.vkey != intake.keys.log_pq.vkey:
        told = hmac.digest(intake.keys.dedupe, f"\0key.rotated\n{keys.log_pq.vkey}".encode(), "sha256")
        known = Known(request=told, index=extent.start, size=extent.size)
        intake.store.remember(tx, [(told, known)])
    return extent.start


def _change(
    intake: Intake,
    kind: str,
    change: Callable[[Stored], Stored],
    words: Callable[[Keys], Mapping[str, Json]],
) -> int:
    source = require_source(intake)
    intake.require_writable()
    keys = source.stage(change)
    return _commit(intake, source, keys, kind, words(keys))


def _commit(intake: Intake, source: KeySource, keys: Keys, kind: str, words: Mapping[str, Json]) -> int:
    """Say the change in the log unless it is said already, then make it the keys in use."""
    with intake.db.begin() as tx:
        intake.lock(tx)
        if intake.store.ledger_generation(tx) >= keys.generation:
            index = last_change(tx, kind) or 0
        else:
            index = change_keys(intake, tx, keys, kind=kind, category=Category.KEY_ROTATED, words=words)
    intake.adopt(source.settle(keys.generation))
    return index


def _staged(intake: Intake) -> bool:
    return require_source(intake).staged() is not None


def _next_log(stored: Stored) -> Stored:
    return msgspec.structs.replace(
        stored,
        log=secrets.token_bytes(KEY),
        log_pq=secrets.token_bytes(KEY),
        log_before=stored.log,
    )


def _without_before(stored: Stored) -> Stored:
    before = Signer(stored.origin, stored.log_before or stored.log).vkey
    return msgspec.structs.replace(stored, log_before=b"", former=(*stored.former, before))


def _next_ingest(stored: Stored) -> Stored:
    before = Signer(f"{stored.origin}/ingest-{stored.ingest_number}", stored.ingest).vkey
    return msgspec.structs.replace(
        stored,
        ingest=secrets.token_bytes(KEY),
        ingest_number=stored.ingest_number + 1,
        former=(*stored.former, before),
    )


def _left(intake: Intake) -> int:
    """Return how many persons' keys are wrapped under another key-encryption key than the one in use."""
    with intake.db.read() as tx:
        other = subject_key.c.kek_id != intake.keys.kek_id
        return tx.execute(select(func.count()).select_from(subject_key).where(other)).scalar_one()


def _wrap_again(intake: Intake) -> int:
    """Wrap the next persons' keys again; return how many."""
    with intake.db.begin() as tx:
        subs = tx.scalars(
            select(subject_key.c.sub)
            .where(subject_key.c.kek_id != intake.keys.kek_id)
            .order_by(subject_key.c.sub)
            .limit(CHUNK)
            .with_for_update()
        ).all()
        if not subs:
            return 0
        rows = [
            {"mine": sub, "name": intake.keys.kek_id, "again": intake.vault.wrap(key, sub)}
            for sub, key in intake.vault.keys_of(tx, subs).items()
        ]
        tx.execute(
            update(subject_key)
            .where(subject_key.c.sub == bindparam("mine"))
            .values(kek_id=bindparam("name"), wrapped=bindparam("again")),
            rows,
        )
        return len(rows)

"""Give the directory a new key: the living are announced under it, the dead can be tied to nothing.

Grade 2 of forgetting (tlog.md 3.4). The living are announced in small steps beside running services, in
the order of their old rows, which is no order of time; then one transaction says `directory.rekey`,
swaps the rows and starts the new key; then the old key is gone. Until that transaction every proof rests
on the old key, after it on the new one. Cut off at any point, the command is given again and goes on.
"""

import base64
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Final

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update

from service.consent import Category
from service.db import directory_next, happening, index_state, subject, suppression
from service.intake import Intake
from service.intake.epoch import epoch
from service.intake.moments import moment
from service.intake.rotation import change_keys, require_source
from service.ledger import lists
from service.ledger.canonical import Json
from service.ledger.entry import Entry, encode
from service.ledger.index import commit_key
from service.ledger.store import LOG_ID
from service.vault.keyfile import KEY, Stored
from service.vault.keys import Keys

DIRECTORY: Final = "directory"
CHUNK: Final = 250  # persons announced in one transaction, some 30 ms: appends wait for it
Progress = Callable[[str, int, int], None]


def rekey_directory(intake: Intake, progress: Progress = lambda _step, _done, _total: None) -> int:
    """Announce the living under a new directory key, destroy the old one, and return how many they are.

    Raises `Unsafe` while another change of keys is under way, `ReadOnly` while nothing may be appended.
    """
    source = require_source(intake)
    intake.require_writable()
    keys = source.stage(_next_directory)
    with intake.db.read() as tx:
        total = tx.execute(select(func.count()).select_from(subject)).scalar_one()
        began = lists.begun(tx)
    done = 0
    while announced := _announce_some(intake, keys):
        done += announced
        progress("announce the living", done, total)
    living = _swap(intake, keys)
    intake.adopt(source.settle(keys.generation))
    _part(intake)
    if began:
        epoch(intake)
    intake.db.scrub()
    return living


def _next_directory(stored: Stored) -> Stored:
    return msgspec.structs.replace(stored, directory=secrets.token_bytes(KEY))


def _announce_some(intake: Intake, keys: Keys) -> int:
    with intake.db.begin() as tx:
        intake.lock(tx)
        if intake.store.ledger_generation(tx) >= keys.generation:
            return 0
        return _announce(intake, tx, keys, CHUNK)


def _announce(intake: Intake, tx: Connection, keys: Keys, limit: int | None) -> int:
    """Append entries that open the next persons under the new key; their rows wait in `directory_next`."""
    waiting = select(directory_next.c.sub).where(directory_next.c.sub == subject.c.sub)
    subs = tx.scalars(
        select(subject.c.sub).where(~waiting.exists()).order_by(subject.c.dk).limit(limit)
    ).all()
    rows, entries = [], []
    at = moment(tx, intake.store, intake.now())
    for sub, address in sorted(intake.vault.addresses_of(tx, subs).items()):
        dk, dv, r = intake.vault.announcement(address, sub, keys)
        rows.append({"sub": sub, "dk": dk, "r": r})
        extra = {"dk": base64.b64encode(dk).decode(), "dv": base64.b64encode(dv).decode()}
        entry = Entry(category=Category.SUBJECT_OPENED, at=at, extra=extra)
        entries.append(encode(entry, intake.keys.ingest))
    if not rows:
        return 0
    extent = intake.store.append(tx, intake.lock(tx), entries)
    tx.execute(
        insert(directory_next),
        [{**row, "opened_idx": extent.start + offset} for offset, row in enumerate(rows)],
    )
    return len(rows)


def _swap(intake: Intake, keys: Keys) -> int:
    """Announce whoever came meanwhile, say that the key changed, and start it; one transaction."""
    with intake.db.begin() as tx:
        intake.lock(tx)
        living = tx.execute(select(func.count()).select_from(subject)).scalar_one()
        if intake.store.ledger_generation(tx) >= keys.generation:
            return living
        _announce(intake, tx, keys, None)
        dkc = base64.b64encode(commit_key(keys.directory)).decode()
        words: dict[str, Json] = {"dkc": dkc, "living": living}
        change_keys(intake, tx, keys, kind=DIRECTORY, category=Category.DIRECTORY_REKEYED, words=words)
        _swap_rows(tx)
        _blur_tokens(tx, intake.now())
        tx.execute(update(index_state).where(index_state.c.log_id == LOG_ID).values(epoch_idx=None))
        return living


def _swap_rows(tx: Connection) -> None:
    """Let every person's row lead to the new announcement; the old one is nobody's any more."""
    mine = directory_next.c.sub == subject.c.sub
    tx.execute(
        update(subject).values(
            dk=select(directory_next.c.dk).where(mine).scalar_subquery(),
            r=select(directory_next.c.r).where(mine).scalar_subquery(),
            opened_idx=select(directory_next.c.opened_idx).where(mine).scalar_subquery(),
            version=1,
        )
    )
    tx.execute(delete(happening).where(happening.c.category == Category.SUBJECT_OPENED.value))
    tx.execute(delete(directory_next))


def _blur_tokens(tx: Connection, now: datetime) -> None:
    """Cut the times of tokens to the month's end, so that none points to an `erasure` entry by its time."""
    tx.execute(update(suppression).values(versions=suppression.c.next_versions, next_versions=0))
    for index, since in tx.execute(select(suppression.c.address_index, suppression.c.since)).all():
        mine = suppression.c.address_index == index
        tx.execute(update(suppression).where(mine).values(since=min(_next_month(since), now)))
    living = select(subject.c.address_index).scalar_subquery()
    tx.execute(update(suppression).where(suppression.c.address_index.in_(living)).values(versions=1))


def _part(intake: Intake) -> None:
    """Take the joints out of the list beside the fence: no line leads from a person to an address."""
    if intake.erasures is None:
        return
    with intake.db.read() as tx:
        since = dict(tx.execute(select(suppression.c.address_index, suppression.c.since)).all())
    intake.erasures.part(since)


def _next_month(at: datetime) -> datetime:
    first = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)

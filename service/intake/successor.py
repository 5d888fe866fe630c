"""Continue a log that ended in its successor: a new tree with new keys, that begins where the old one ended.

The successor has a database of its own. Its first entry holds the old log's last checkpoint. The living
keep their pseudonyms, so that links in mails already sent still work; each of their events is carried
over as an entry of its own, sealed with the receipt that proves it in the old log, under its old idempotency
key: a retry gets the receipt of the entry that carries it. The erased are not carried over, and stay kept
out. Can be cut off and given again at any point.
"""

import base64
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import uuid_utils
from sqlalchemy import Connection, RowMapping, Table, insert, select

from service.consent import Category, Provenance, SubjectId
from service.db import (
    account,
    api_key,
    contact,
    crm_address,
    crm_record,
    erasure,
    happening,
    member,
    outcome,
    payload,
    standing,
    subject,
    subject_key,
    suppression,
    task,
)
from service.intake import Intake
from service.intake.carried import Keyed, bind_the_rest, keys_of
from service.intake.ending import require_ended
from service.intake.journal import CONSENT
from service.intake.moments import moment
from service.intake.places import crm_countries_of
from service.intake.projection import events_of, standing_row, standings
from service.ledger.entry import Entry, Opening, commit, encode
from service.ledger.proof import Receipt, encode_proof
from service.ledger.store import LOG_ID, Request
from service.vault.keyfile import KEY

CHUNK: Final = 100  # persons carried over in one transaction
KEYED: Final = 50 * CHUNK  # persons whose idempotency keys are read together, in one pass over all keys
COPIED: Final = (crm_record, crm_address, contact, member, outcome, api_key, account)
"""Tables that name no entry of the old log, or only to say that there is one."""
Progress = Callable[[str, int, int], None]


def carry_over(old: Intake, new: Intake, progress: Progress = lambda _step, _done, _total: None) -> int:
    """Carry the living of a log that ended over to its successor; return how many were carried now.

    Raises `Unsafe` for a log that still takes entries.
    """
    require_ended(old)
    _copy_once(old, new)
    with old.db.read() as tx:
        everybody = tx.scalars(select(subject.c.sub).order_by(subject.c.dk)).all()
    there = _there(new)
    waiting = [SubjectId(sub) for sub in everybody if sub not in there]
    keyed: Keyed = {}
    for start in range(0, len(waiting), CHUNK):
        if start % KEYED == 0:
            keyed = keys_of(old, waiting[start : start + KEYED])
        _carry(old, new, waiting[start : start + CHUNK], keyed)
        progress("carry persons over", min(start + CHUNK, len(waiting)), len(waiting))
    bind_the_rest(old, new)
    return len(waiting)


def _there(new: Intake) -> set[bytes]:
    """Return whom the successor has, and whom it has erased since: nobody comes back by this."""
    listed = () if new.erasures is None else new.erasures.read().persons
    with new.db.read() as tx:
        return {*tx.scalars(select(subject.c.sub)), *tx.scalars(select(erasure.c.sub)), *listed}


def _copy_once(old: Intake, new: Intake) -> None:
    """Copy what names no entry, unless it is there already."""
    with new.db.begin() as tx:
        new.lock(tx)
        if tx.scalar(select(suppression.c.address_index).limit(1)) is None:
            with old.db.read() as source:
                tokens = [dict(row) for row in source.execute(select(suppression)).mappings()]
            _insert(tx, suppression, [{**row, "versions": 0, "next_versions": 0} for row in tokens])
            new.store.note(tx, erasures=len(tokens))
        for table in COPIED:
            if tx.execute(select(table).limit(1)).first() is None:
                with old.db.read() as source:
                    _insert(tx, table, [dict(row) for row in source.execute(select(table)).mappings()])


def _carry(old: Intake, new: Intake, subs: Sequence[SubjectId], keyed: Keyed) -> None:
    """Open these persons in the new log and append their events again, in one transaction."""
    with old.db.read() as tx:
        persons = tx.execute(select(subject).where(subject.c.sub.in_(subs))).mappings().all()
        wrapped = tx.execute(select(subject_key).where(subject_key.c.sub.in_(subs))).mappings().all()
        keys, addresses = old.vault.keys_of(tx, subs), old.vault.addresses_of(tx, subs)
        carried = [Category.SUBJECT_OPENED.value, *(one.value for one in CONSENT)]
        mine = select(happening).where(happening.c.sub.in_(subs), happening.c.category.in_(carried))
        rows = tx.execute(mine.order_by(happening.c.sub, happening.c.idx)).mappings().all()
        opened = {row["sub"]: row for row in rows if row["category"] == Category.SUBJECT_OPENED}
        events = [row for row in rows if row["category"] != Category.SUBJECT_OPENED]
        proofs = _receipts(old, tx, [event["idx"] for event in events])
        openings = old.vault.openings(tx, list(proofs))
        open_tasks = (
            tx.execute(select(task).where(task.c.sub.in_(subs), task.c.state == "open")).mappings().all()
        )
    with new.db.begin() as tx:
        writer = _Writer(new, tx, keyed)
        for person in persons:
            writer.open(person, addresses[person["sub"]], opened.get(person["sub"]))
        for event in events:
            writer.event(event, keys[event["sub"]], openings.get(event["idx"]), proofs[event["idx"]])
        writer.write([dict(row) for row in wrapped], [dict(row) for row in open_tasks])


def _receipts(old: Intake, tx: Connection, indexes: Sequence[int]) -> dict[int, bytes]:
    """Return the receipts of entries against the old log's last checkpoint, as files."""
    size, head = old.store.size(tx), old.store.head(tx)
    entries, proofs = old.store.entries(tx, indexes), old.store.proofs(tx, indexes, size)
    return {
        index: encode_proof(Receipt(index, entries[index], tuple(proofs[index]), head)) for index in indexes
    }


class _Writer:
    """Collects what one transaction appends and writes beside it."""

    def __init__(self, new: Intake, tx: Connection, keyed: Keyed) -> None:
        self._new, self._tx, self._keyed = new, tx, keyed
        self._edge = new.lock(tx)
        self._at = moment(tx, new.store, new.now())
        self._first = self._edge.size
        self._entries: list[bytes] = []
        self._requests: list[Request] = []
        self._subjects: list[dict[str, Any]] = []
        self._events: list[dict[str, Any]] = []
        self._sealing: list[tuple[int, bytes, bytes, Opening]] = []
        self._moved: dict[int, int] = {}

    def open(self, person: RowMapping, address: str, opened: RowMapping | None) -> None:
        """Open a person under the new directory key; their sealed address goes over as it is.

        `opened` is the event by which the old log opened them; a change of its directory key takes it away.
        """
        sub: bytes = person["sub"]
        dk, dv, r = self._new.vault.announcement(address, sub, self._new.keys)
        extra = {"dk": base64.b64encode(dk).decode(), "dv": base64.b64encode(dv).decode()}
        entry = Entry(category=Category.SUBJECT_OPENED, at=self._at, extra=extra)
        index = self._append(entry)
        self._subjects.append(
            {
                "sub": sub,
                "address_index": self._new.vault.address_index(address),
                "dk": dk,
                "r": r,
                "version": 1,
                "opened_idx": index,
                "address": person["address"],
            }
        )
        told = self._unopened(sub, address) if opened is None else opened
        self._events.append({**told, "idx": index, "recorded_at": self._at})

    def event(self, row: RowMapping, key: bytes, opening: Opening | None, receipt: bytes) -> None:
        """Append an event again: what was sealed, and the receipt that proves it in the old log."""
        fields = {} if opening is None else dict(opening.fields)
        carried = Opening(
            event_salt=secrets.token_bytes(KEY),
            fields={**fields, "carried_index": row["idx"], "carried_receipt": receipt.decode()},
        )
        entry = Entry(
            category=row["category"],
            at=self._at,
            occurred_at=row["occurred_at"],
            id=str(uuid_utils.uuid7()),
            subject=row["sub"],
            commitment=commit(carried.fields, carried.event_salt),
            source=row["source"],
        )
        index = self._append(entry)
        self._moved[row["idx"]] = index
        if row["idx"] in self._keyed:
            key_of_old, request = self._keyed[row["idx"]]
            self._requests.append((key_of_old, request, index - self._first))
        self._sealing.append((index, row["sub"], key, carried))
        moved = None if row["corrects"] is None else self._moved.get(row["corrects"])
        self._events.append({**row, "idx": index, "recorded_at": self._at, "corrects": moved})

    def write(self, wrapped: Sequence[dict[str, Any]], open_tasks: Sequence[dict[str, Any]]) -> None:
        """Append everything and write what belongs beside it."""
        extent = self._new.store.append(self._tx, self._edge, self._entries, self._requests)
        _insert(self._tx, subject, self._subjects)
        _insert(self._tx, subject_key, wrapped)
        sealed = [
            {
                "log_id": LOG_ID,
                "idx": index,
                "sub": sub,
                "sealed": self._new.vault.seal_payload(key, extent.hashes[index - self._first], opening),
            }
            for index, sub, key, opening in self._sealing
        ]
        _insert(self._tx, payload, sealed)
        _insert(self._tx, happening, self._events)
        self._stand()
        moved = [
            {
                **{name: value for name, value in row.items() if name != "id"},
                "cause_idx": self._moved[row["cause_idx"]],
            }
            for row in open_tasks
        ]
        _insert(self._tx, task, moved)

    def _unopened(self, sub: bytes, address: str) -> dict[str, Any]:
        """Return the event that opens a person of whom the old log has none any more."""
        unsaid = ("purpose", "valid_until", "fact", "fact_at", "conditions", "country", "corrects", "brought")
        nothing = dict.fromkeys(unsaid)
        return {
            **nothing,
            "log_id": LOG_ID,
            "sub": sub,
            "category": Category.SUBJECT_OPENED.value,
            "occurred_at": self._at,
            "source": "successor",
            "provenance": Provenance.BACKFILL.value,
            "grade": "F",
            "hint": self._new.policy.atlas.hint(address),
        }

    def _append(self, entry: Entry) -> int:
        self._entries.append(encode(entry, self._new.keys.ingest))
        return self._first + len(self._entries) - 1

    def _stand(self) -> None:
        """Fold what these persons said, under the new log's numbers."""
        subs = [SubjectId(row["sub"]) for row in self._subjects]
        crm = crm_countries_of(self._tx, subs)
        rows = [
            standing_row(sub, one)
            for sub, found in events_of(self._tx, subs).items()
            for one in standings(found, self._new.policy, self._at, crm.get(sub))
        ]
        _insert(self._tx, standing, rows)


def _insert(tx: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        tx.execute(insert(table), [dict(row) for row in rows])

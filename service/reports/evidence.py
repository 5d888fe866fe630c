"""The file that an auditor takes home: one address's history with everything that proves it.

Reads only. The file is judged with the auditor's own verifier before it is given away.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime

from sqlalchemy import Connection

from service.consent import SubjectId
from service.errors import Tampered
from service.intake import Intake
from service.intake.epoch import refresh
from service.intake.keychanges import changes
from service.ledger import entry as entries
from service.ledger.bundle import Bundle, Item, write
from service.ledger.entry import DirectoryOpening, Disclosure
from service.ledger.proof import open_checkpoint, sign_checkpoint
from service.ledger.replay.attested import signed_by
from service.ledger.verify import State, verify_bundle
from service.reports.completeness import gather
from service.reports.history import History, Record, directory_opening, history, to_json

GENESIS = 0  # log.genesis: it names the keys that sign entries


def bundle(
    intake: Intake, address: str, *, at: datetime, as_of: datetime | None = None, disclose_key: bool = False
) -> bytes:
    """Return the zip file about a parsed address as the ledger stands now.

    Holds log.genesis, the person's subject.opened and every entry about them with its opened payload,
    all proven against one checkpoint, and what shows that there is nothing else; for an address that
    the ledger does not know, what shows that. Makes an index epoch first if the last one is far behind.
    `disclose_key` adds the directory key, for an auditor who holds it under contract anyway. Raises
    `Tampered` if anything that is stored does not verify, `Unavailable` while the index is being made.
    """
    refresh(intake)
    with intake.db.read() as tx:
        found = history(intake, tx, address, at=at, as_of=as_of)
        opened = {} if found.subject is None else dict([directory_opening(tx, found.subject)])
        people = {index: SubjectId(opening.subject) for index, opening in opened.items()}
        shown = gather(intake, tx, address, found.size, people, disclose_key=disclose_key)
        others = {GENESIS, *changes(tx), *shown.entries} - {record.index for record in found.records}
        items = [*_plain_items(intake, tx, others, found.size), *_items(found, opened)]
    data = write(
        Bundle(
            origin=found.origin,
            address=address,
            asked_at=at,
            checkpoint_note=_signed_now(intake, found.checkpoint),
            items=tuple(items),
            history=_summary(found),
            completeness=shown.evidence,
        ),
        intake.keys.log,
    )
    verdict = verify_bundle(data, intake.keys.log.vkey, intake.keys.directory)
    if verdict.state is not State.GOOD:
        raise Tampered(f"the bundle was not given away, because it does not verify: {verdict.reason}")
    return data


def _signed_now(intake: Intake, note: bytes) -> bytes:
    """Return a verified head with a line by today's key: the one before a key was handed over has none."""
    if signed_by(note, [intake.keys.log.verifier]):
        return note
    return sign_checkpoint(open_checkpoint(note, intake.keys.log_verifiers), intake.keys.heads)


def _plain_items(intake: Intake, tx: Connection, indexes: Collection[int], size: int) -> Iterator[Item]:
    """Yield entries of which nothing is opened: the log's own, and openings of somebody who was erased."""
    lines = intake.store.entries(tx, indexes)
    proofs = intake.store.proofs(tx, sorted(indexes), size)
    for index in sorted(indexes):
        yield Item(index=index, entry=lines[index], proof=tuple(proofs[index]))


def _items(found: History, openings: Mapping[int, DirectoryOpening]) -> list[Item]:
    return [
        _item(record, openings.get(record.index) or _opened(record))
        for record in sorted(found.records, key=lambda record: record.index)
    ]


def _opened(record: Record) -> Disclosure | None:
    payload = record.opening
    return None if payload is None else entries.disclose(payload, list(payload.fields))


def _item(record: Record, disclosure: Disclosure | DirectoryOpening | None) -> Item:
    return Item(index=record.index, entry=record.entry, proof=record.proof, disclosure=disclosure)


def _summary(found: History) -> bytes:
    """Return `history.json`: the same answer as the API's, laid out for a reader."""
    return (json.dumps(to_json(found), indent=2, ensure_ascii=False) + "\n").encode()

"""The file that an auditor takes home: one address's history with everything that proves it.

Reads only. The file is judged with the auditor's own verifier before it is given away.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
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
from service.ledger.replay.bundled import judge_bundle
from service.ledger.replay.judge import Beliefs
from service.ledger.verify import State
from service.reports.completeness import gather
from service.reports.ground import find_ground
from service.reports.history import History, Record, directory_opening, history, to_json
from service.reports.redaction import closed

GENESIS = 0  # log.genesis: it names the keys that sign entries


def bundle(
    intake: Intake,
    address: str,
    *,
    at: datetime,
    as_of: datetime | None = None,
    disclose_key: bool = False,
    with_staff: bool = False,
) -> bytes:
    """Return the zip file about a parsed address as the ledger stands now.

    Holds log.genesis, the person's subject.opened and every entry about them with its opened payload,
    all proven against one checkpoint, if possible a published one with what others said about it and
    about `as_of`; and what shows that there is nothing else, also for an unknown address. Makes an index
    epoch first if the last one is far behind. `disclose_key` adds the directory key, for an auditor who
    holds it under contract anyway. Names of staff, what they wrote and other people's addresses stay closed
    unless `with_staff`, which is for auditors and never for the person. Raises `Tampered` if anything that
    is stored does not verify, `Unavailable` while the index is being made.
    """
    refresh(intake)
    with intake.db.read() as tx:
        found = history(intake, tx, address, at=at, as_of=as_of)
        opened = {} if found.subject is None else dict([directory_opening(tx, found.subject)])
        people = {index: SubjectId(opening.subject) for index, opening in opened.items()}
        shown = gather(intake, tx, address, found.size, people, disclose_key=disclose_key)
        others = {GENESIS, *changes(tx), *shown.entries} - {record.index for record in found.records}
        reach = max({*others, *(record.index for record in found.records)}) + 1
        bracket = None if found.confirmed is None else found.confirmed.bracket
        ground = find_ground(intake, tx, found.checkpoint, reach=reach, bracket=bracket)
        kept = {} if with_staff else _closed(found)
        records = [*_plain_items(intake, tx, others), *_items(found, opened, kept)]
        items = _proven(intake, tx, records, ground.size)
    data = write(
        Bundle(
            origin=found.origin,
            address=address,
            asked_at=at,
            checkpoint_note=ground.note,
            items=tuple(items),
            history=_summary(found, kept),
            completeness=shown.until(ground.size),
            anchors=ground.beside,
        ),
        intake.keys.log,
    )
    verdict = judge_bundle(data, Beliefs(log_vkey=intake.keys.log.vkey), intake.keys.directory)
    if verdict.state is not State.GOOD:
        raise Tampered(f"the bundle was not given away, because it does not verify: {verdict.reason}")
    return data


def _plain_items(intake: Intake, tx: Connection, indexes: Collection[int]) -> Iterator[Item]:
    """Yield entries of which nothing is opened: the log's own, and openings of somebody who was erased."""
    lines = intake.store.entries(tx, indexes)
    for index in sorted(indexes):
        yield Item(index=index, entry=lines[index], proof=())


def _proven(intake: Intake, tx: Connection, items: Sequence[Item], size: int) -> list[Item]:
    """Return the items with their proofs in the log's first `size` entries."""
    proofs = intake.store.proofs(tx, sorted(item.index for item in items), size)
    return [replace(item, proof=tuple(proofs[item.index])) for item in items]


def _closed(found: History) -> dict[int, frozenset[str]]:
    """Return by index which fields of the person's records are somebody else's."""
    return {record.index: closed(record.evidence or {}, found.address) for record in found.records}


def _items(
    found: History, openings: Mapping[int, DirectoryOpening], kept: Mapping[int, Collection[str]]
) -> list[Item]:
    return [
        _item(record, openings.get(record.index) or _opened(record, kept.get(record.index, ())))
        for record in sorted(found.records, key=lambda record: record.index)
    ]


def _opened(record: Record, kept: Collection[str]) -> Disclosure | None:
    payload = record.opening
    if payload is None:
        return None
    return entries.disclose(payload, [name for name in payload.fields if name not in kept])


def _item(record: Record, disclosure: Disclosure | DirectoryOpening | None) -> Item:
    return Item(index=record.index, entry=record.entry, proof=record.proof, disclosure=disclosure)


def _summary(found: History, kept: Mapping[int, Collection[str]]) -> bytes:
    """Return `history.json`: the same answer as the API's, laid out for a reader, without what is closed."""
    told = replace(found, records=tuple(_without(one, kept.get(one.index, ())) for one in found.records))
    return (json.dumps(to_json(told), indent=2, ensure_ascii=False) + "\n").encode()


def _without(record: Record, kept: Collection[str]) -> Record:
    if record.opening is None or not kept:
        return record
    left = {name: value for name, value in record.opening.fields.items() if name not in kept}
    return replace(record, opening=replace(record.opening, fields={**left, "closed": sorted(kept)}))

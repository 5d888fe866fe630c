"""The file that an auditor takes home: one address's history with everything that proves it.

Reads only. The file is judged with the auditor's own verifier before it is given away.
"""

import json
from datetime import datetime

from sqlalchemy import Connection

from service.errors import Tampered
from service.intake import Intake
from service.ledger import entry as entries
from service.ledger.bundle import Bundle, Item, write
from service.ledger.entry import DirectoryOpening, Disclosure
from service.ledger.verify import State, verify_bundle
from service.reports.history import History, Record, directory_opening, history, to_json

GENESIS = 0  # log.genesis: it names the keys that sign entries


def bundle(intake: Intake, address: str, *, at: datetime, as_of: datetime | None = None) -> bytes:
    """Return the zip file about a parsed address as the ledger stands now.

    Holds log.genesis, the person's subject.opened and every entry about them with its opened payload,
    all proven against one checkpoint. An address that the ledger does not know gives a file with
    log.genesis alone. Raises `Tampered` if anything that is stored does not verify.
    """
    with intake.db.read() as tx:
        found = history(intake, tx, address, at=at, as_of=as_of)
        items = (_genesis(intake, tx, found), *_items(tx, found))
    data = write(
        Bundle(
            origin=found.origin,
            address=address,
            asked_at=at,
            checkpoint_note=found.checkpoint,
            items=items,
            history=_summary(found),
        ),
        intake.keys.log,
    )
    verdict = verify_bundle(data, intake.keys.log.vkey)
    if verdict.state is not State.GOOD:
        raise Tampered(f"the bundle was not given away, because it does not verify: {verdict.reason}")
    return data


def _genesis(intake: Intake, tx: Connection, found: History) -> Item:
    line = intake.store.entries(tx, [GENESIS])[GENESIS]
    proof = intake.store.proofs(tx, [GENESIS], found.size)[GENESIS]
    return Item(index=GENESIS, entry=line, proof=tuple(proof))


def _items(tx: Connection, found: History) -> list[Item]:
    if found.subject is None:
        return []
    opened, opening = directory_opening(tx, found.subject)
    return [
        _item(record, opening if record.index == opened else _opened(record))
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

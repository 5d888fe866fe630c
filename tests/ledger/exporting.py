"""A log of plain entries and its export, for the tests of both and for the foreign judges."""

from datetime import UTC, datetime
from pathlib import Path

from service.db import Database
from service.ledger.export import Export, Exported
from service.ledger.export.folder import Folder
from service.ledger.export.texts import beside
from service.ledger.publication import Publisher
from service.ledger.store import Store
from tests.running import ORIGIN, keys

URL = "https://ledger.example/log"
TEXTS = beside(log=keys().log.vkey, log_pq=keys().log_pq.vkey, ingest=[keys().ingest.vkey], url=URL)
VERIFIERS = (keys().log.verifier, keys().log_pq.verifier)
FULL = 70_000


def sequential(size: int, start: int = 0) -> list[bytes]:
    """The entries of the vectors."""
    return [b"leaf %d" % index for index in range(start, size)]


def begin(database: Database, origin: str = ORIGIN) -> Store:
    """An empty log."""
    store = Store(origin, keys(origin).log)
    with database.begin() as tx:
        store.begin(tx)
    return store


def grow(database: Database, store: Store, size: int) -> None:
    """Append the entries of the vectors until there are `size`."""
    with database.begin() as tx:
        edge = store.lock(tx)
        store.append(tx, edge, sequential(size, edge.size))


def publish(database: Database, store: Store) -> None:
    signed = keys(store.origin)
    Publisher(database, store, signed.log, signed.log_pq, lambda: datetime.now(UTC)).publish()


def export(database: Database, store: Store, folder: Path, progress=lambda _done, _total: None) -> Exported:
    """Publish, then export."""
    publish(database, store)
    with Folder(folder) as out:
        return Export(db=database, store=store, verifiers=VERIFIERS).run(out, TEXTS, progress)


def files(folder: Path) -> dict[str, bytes]:
    """Every file of an export by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

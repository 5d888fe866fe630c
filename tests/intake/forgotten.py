"""A ledger that can forget: keys in files, the list of erasures beside them, a clock, consents."""

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import select

from service.consent import SubjectId
from service.db import Database, metadata, subject
from service.errors import ServiceError
from service.intake import Intake
from service.intake.erasures import ErasureList
from service.ledger import merkle
from service.ledger.entry import check
from service.ledger.proof import open_checkpoint, verify_receipt
from service.reports.evidence import bundle
from service.settings import Settings, load
from service.vault.keys import KeySource
from tests import running

ANA, BOB, CYD = "ana@example.org", "bob@example.org", "cyd@example.org"


class Clock:
    """The time, which passes a little with every look at it."""

    def __init__(self) -> None:
        self.time = datetime.now(UTC).replace(microsecond=0)

    def __call__(self) -> datetime:
        self.time += timedelta(milliseconds=1)
        return self.time


@dataclass(frozen=True, kw_only=True)
class House:
    """Where one ledger lives; `open` starts a process of it."""

    folder: Path
    clock: Clock

    @property
    def settings(self) -> Settings:
        """The settings of the embedded default, which makes its own keys."""
        return load(
            secrets_dir=self.folder / "none",
            state_dir=self.folder / "state",
            database_url=f"sqlite:///{self.folder / 'ledger.db'}",
            origin=running.ORIGIN,
        )

    @contextmanager
    def open(self, database: Database, **changes):
        """Yield a running intake over `database`, as a process that has just started."""
        source = changes.pop("source", None) or KeySource(self.settings)
        with Intake(
            database,
            source.open(),
            running.policies(),
            origin=running.ORIGIN,
            now=self.clock,
            source=source,
            erasures=ErasureList(self.folder / "state" / "erasures"),
            **changes,
        ) as intake:
            yield intake


def consent(intake: Intake, *addresses: str, **changes):
    """Record a live consent of each address and return what was recorded."""
    at = intake.now()
    claims = [running.claim(address, received_at=at, **changes) for address in addresses]
    return recorded(intake, *claims)


def recorded(intake: Intake, *claims):
    results = intake.record(claims)
    for result in results:
        if isinstance(result, ServiceError):
            raise result
    return results


def subject_of(intake: Intake, address: str) -> SubjectId | None:
    with intake.db.read() as tx:
        return intake.vault.find(tx, address)


def everything(database: Database) -> bytes:
    """Every byte that any table holds, as one text to search in."""
    found = bytearray()
    with database.read() as tx:
        for table in metadata.tables.values():
            for row in tx.execute(select(table)):
                for value in row:
                    found += value if isinstance(value, bytes) else str(value).encode()
                    found += b"\0"
    return bytes(found)


def require_whole(intake: Intake) -> None:
    """Read the whole log again: density, signatures, hashes, the root that the head signs."""
    with intake.db.read() as tx:
        head = open_checkpoint(intake.store.head(tx), intake.keys.log_verifiers)
        stored = intake.store.entries(tx, range(head.size))
        hashes = intake.store.leaf_hashes(tx, range(head.size))
    assert sorted(stored) == list(range(head.size))
    edge = merkle.Edge()
    for index in range(head.size):
        check(stored[index], intake.keys.ingest_verifiers)
        assert hashes[index] == merkle.leaf_hash(stored[index])
        edge.add(hashes[index])
    assert edge.root() == head.root


def require_receipts(intake: Intake, *results) -> None:
    """Receipts that were given earlier still verify."""
    for result in results:
        assert verify_receipt(result.receipt(), intake.keys.log_verifiers).receipt.index == result.index


def bundle_of(intake: Intake, address: str) -> bytes:
    return bundle(intake, address, at=intake.now())


def persons(database: Database) -> int:
    with database.read() as tx:
        return len(tx.scalars(select(subject.c.sub)).all())

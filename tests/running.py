"""A running ledger for tests: fixed keys, the shipped policies, and claims as sources make them."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from typing import Any

from sqlalchemy import Row, Table, func, select

from service import policy
from service.consent import Category
from service.db import Database, standing
from service.errors import ServiceError
from service.intake import Claim, Intake, Recorded
from service.ledger.cosignature import Cosigner
from service.ledger.note import Signer
from service.ledger.proof import Verified, verify_receipt
from service.settings import HERE
from service.vault.keys import KEY, Keys

ORIGIN = "ledger.example/test-1"
NOTICE = {
    "notice_sha256": hashlib.sha256(b"Yes, write to me").hexdigest(),
    "control": "tick",
    "page_url": "https://acme.example/news",
}
"""What a form says about the words it showed: evidence of grade C."""

_numbers = count()


def secret(name: str) -> bytes:
    return hashlib.sha256(f"test {name}".encode()).digest()


@cache
def keys(origin: str = ORIGIN, kek: str = "kek", log: str = "log") -> Keys:
    return Keys(
        log=Signer(origin, secret(log)),
        log_pq=Cosigner(origin, secret(f"{log} pq")),
        ingest=Signer(f"{origin}/ingest-1", secret("ingest")),
        directory=secret("directory"),
        index=secret("index"),
        dedupe=secret("dedupe"),
        token=secret("token"),
        mirror=secret("mirror"),
        kek=secret(kek)[:KEY],
    )


@cache
def policies() -> policy.PolicySet:
    """The set that ships with the service."""
    return policy.load(HERE / "policies")


def start(database: Database, **changes: Any) -> Intake:
    """An intake over this database, not yet started."""
    told = {"keys": keys(), "policy": policies(), "origin": ORIGIN, **changes}
    return Intake(database, **told)


def claim(address: str | None = "ana@example.org", **changes: Any) -> Claim:
    """A live consent through a form, under a key of its own unless one is given."""
    told = {
        "category": Category.GRANTED,
        "source": "form:newsletter",
        "key": f"key-{next(_numbers)}",
        "received_at": datetime.now(UTC),
        "address": address,
        "purpose": "marketing",
        "evidence": NOTICE,
        **changes,
    }
    return Claim(**told)


def withdrawal(address: str | None = "ana@example.org", **changes: Any) -> Claim:
    told = {"category": Category.WITHDRAWN, "source": "one-click", "evidence": {}, **changes}
    return claim(address, **told)


def people(number: int, prefix: str = "person") -> list[Claim]:
    return [claim(f"{prefix}-{n}@example.org") for n in range(number)]


def again(told: Claim) -> Claim:
    """The same request as a source sends it a second later."""
    return replace(told, received_at=told.received_at + timedelta(seconds=1))


def checked(found: Recorded | ServiceError | Exception) -> Verified:
    """What the receipt proves; fails if there is none, or if it does not hold."""
    assert isinstance(found, Recorded), found
    proven = verify_receipt(found.receipt(), [keys().log.verifier])
    assert (proven.receipt.index, proven.receipt.entry) == (found.index, found.entry)
    return proven


def indexes(found: Iterable[Recorded | ServiceError]) -> list[int]:
    return [checked(one).receipt.index for one in found]


def count(intake: Intake, table: Table) -> int:
    with intake.db.read() as tx:
        return tx.execute(select(func.count()).select_from(table)).scalar_one()


def one_standing(intake: Intake, sub: bytes | None) -> Row[Any]:
    """The standing row of a person, where the policy has one purpose."""
    with intake.db.read() as tx:
        return tx.execute(select(standing).where(standing.c.sub == sub)).one()

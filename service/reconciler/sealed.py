"""Addresses in the clear, opened for the few people who are written to a product or recorded."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, ScalarSelect, func, select

from service.db import contact, crm_address, outcome
from service.vault import Vault

CHUNK = 500


def sealed_address(index: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return an expression for the sealed address of a keyed hash, as Campaigns spells it if it can."""
    return func.coalesce(*(_first(table, index) for table in (contact, crm_address, outcome)))


def addresses_of(tx: Connection, indexes: Sequence[bytes], vault: Vault) -> dict[bytes, str]:
    """Return the addresses behind keyed hashes, as the products spell them; the unknown are left out."""
    found: dict[bytes, str] = {}
    for table in (outcome, crm_address, contact):
        for start in range(0, len(indexes), CHUNK):
            rows = tx.execute(
                select(table.c.address_index, table.c.address).where(
                    table.c.address_index.in_(indexes[start : start + CHUNK])
                )
            )
            found |= {index: vault.open_address(sealed) for index, sealed in rows}
    return found


def _first(table: Any, index: ColumnElement[Any]) -> ScalarSelect[Any]:  # noqa: ANN401  # one of three tables
    return select(table.c.address).where(table.c.address_index == index).limit(1).scalar_subquery()

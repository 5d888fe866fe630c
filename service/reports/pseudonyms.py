"""Who stands behind a pseudonym of a mail, a plan or a page; whoever asks records the look-up first.

`p-` names a person by the keyed hash of their address, `s-` by the random id of the ledger: the first
eight bytes in hex (six, in plans written before they were one form).
"""

import re
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, select, union

from service.db import contact, crm_address, outcome, subject
from service.errors import Malformed
from service.reconciler.sealed import addresses_of
from service.vault import Vault

_FORM = re.compile("([ps])-((?:[0-9a-f]{2}){6,8})")


def resolve(tx: Connection, vault: Vault, pseudonym: str) -> Sequence[str]:
    """Return the addresses behind a pseudonym: one, none for somebody erased or gone, rarely two.

    Raises `Malformed` for what is no pseudonym.
    """
    found = _FORM.fullmatch(pseudonym.strip())
    if found is None:
        raise Malformed("a pseudonym looks like p-0123456789abcdef", field="pseudonym")
    kind, start = found[1], bytes.fromhex(found[2])
    column = subject.c.sub if kind == "s" else subject.c.address_index
    subs = tx.scalars(select(subject.c.sub).where(_begins(column, start))).all()
    known = [address for address in vault.addresses_of(tx, subs).values() if address]
    return known if known or kind == "s" else _mirrored(tx, vault, start)


def _mirrored(tx: Connection, vault: Vault, start: bytes) -> Sequence[str]:
    """Return whom the mirrors of the products know by such a keyed hash, though the ledger does not."""
    indexes = (
        select(table.c.address_index).where(_begins(table.c.address_index, start))
        for table in (contact, crm_address, outcome)
    )
    return list(addresses_of(tx, tx.scalars(union(*indexes)).all(), vault).values())


def _begins(column: ColumnElement[bytes], start: bytes) -> ColumnElement[bool]:
    return column.between(start, start + b"\xff" * 32)

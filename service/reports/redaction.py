"""What of a person's records is about somebody else: it stays closed in what leaves the house. Pure.

An entry commits to each field by itself, so a field that is left out proves nothing wrong: the file still
verifies. Closed are the names of staff and what they wrote, and every field in which another address stands.
"""

import re
from collections.abc import Mapping
from typing import Final

from service.ledger.canonical import Json
from service.vault.address import fold

STAFF: Final = frozenset({"actor", "approved_by", "via", "note", "reason", "purpose_of_lookup"})
"""Fields that name staff, or that staff wrote in their own words."""
_ADDRESS: Final = re.compile(r"[^\s@<>\"',;:()\[\]]+@[^\s@<>\"',;:()\[\]]+\.[^\s@<>\"',;:()\[\]]+")


def closed(fields: Mapping[str, Json], address: str) -> frozenset[str]:
    """Return the names of fields that must not be shown to the person of this address."""
    return frozenset(
        name for name, value in fields.items() if name in STAFF or _names_another(value, fold(address))
    )


def _names_another(value: Json, own: str) -> bool:
    if isinstance(value, str):
        return any(fold(found.strip(".")) != own for found in _ADDRESS.findall(value))
    if isinstance(value, Mapping):
        return any(_names_another(part, own) for part in value.values())
    if isinstance(value, list | tuple):
        return any(_names_another(part, own) for part in value)
    return False

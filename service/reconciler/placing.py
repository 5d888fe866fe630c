"""Where the people of a comparison are: by what events told, then CRM, then the address's domain."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from service.consent import SubjectId
from service.intake.places import crm_countries
from service.intake.projection import events_of
from service.policy import UNKNOWN, PolicySet
from service.policy.places import ELSEWHERE
from service.vault import Vault


def places_of(
    tx: Connection, rows: Sequence[Any], policy: PolicySet, vault: Vault
) -> dict[bytes, tuple[str, str]]:
    """Return the jurisdiction and the address of these people, by keyed address.

    Addresses are opened, a chunk of people at a time, for their domains: these tell a country where nothing
    else does, and may carry a deadline of their own.
    """
    events = events_of(tx, [SubjectId(row.sub) for row in rows if row.sub is not None])
    crm = crm_countries(tx, [row.address_index for row in rows])
    found: dict[bytes, tuple[str, str]] = {}
    for row in rows:
        address, told = vault.open_address(row.address), crm.get(row.address_index)
        hint = policy.atlas.hint(address)
        mine = events.get(row.sub)
        place = policy.place_of(mine, told) if mine else policy.atlas.place(crm=told, hint=hint)
        found[row.address_index] = place.jurisdiction, address
    return found


def known(jurisdiction: str) -> str:
    """Return a jurisdiction as people read it: a country without rules is one nobody knows."""
    return UNKNOWN if jurisdiction == ELSEWHERE else jurisdiction

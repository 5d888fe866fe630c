"""Where the people of a comparison are: by what events told, then CRM, then the address's domain."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection

from service.db import happening, rows_in
from service.intake.places import crm_countries
from service.ledger.store import LOG_ID
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
    told = _told(tx, [row.sub for row in rows if row.sub is not None])
    # What the comparison says of CRM is CRM's country, unless it is unknown: then records may be torn.
    unsure = crm_countries(tx, [row.address_index for row in rows if row.jurisdiction == UNKNOWN])
    found: dict[bytes, tuple[str, str]] = {}
    for row in rows:
        address = vault.open_address(row.address)
        country, hint = told.get(row.sub) or (None, policy.atlas.hint(address))
        crm = unsure.get(row.address_index) if row.jurisdiction == UNKNOWN else row.jurisdiction
        place = policy.atlas.place(country=country, crm=crm, hint=hint)
        found[row.address_index] = place.jurisdiction, address
    return found


def _told(tx: Connection, subs: Sequence[bytes]) -> dict[bytes, tuple[str | None, str | None]]:
    """Return the newest country and the newest hint that the events of each person tell."""
    columns = (happening.c.sub, happening.c.idx, happening.c.country, happening.c.hint)
    events = sorted(rows_in(tx, columns, happening.c.sub, subs, f"log_id = {LOG_ID}"), key=itemgetter(1))
    found: dict[bytes, tuple[str | None, str | None]] = {}
    for sub, _, country, hint in events:
        before = found.get(sub, (None, None))
        found[sub] = country or before[0], hint or before[1]
    return found


def known(jurisdiction: str) -> str:
    """Return a jurisdiction as people read it: a country without rules is one nobody knows."""
    return UNKNOWN if jurisdiction == ELSEWHERE else jurisdiction

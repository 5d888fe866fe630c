"""Put on a list whom its CRM view selects, the list lacks, and the ledger permits; nobody else.

A push widens nothing: who is not permitted by the ledger at this moment is left where they are, however
CRM's view has them. Do-Not-Mail is never lifted; whoever stands there is refused by Campaigns itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from service.db import chunks
from service.policy import CampaignsList
from service.reconciler.audit.lag import missing_from, permitted_now
from service.reconciler.context import Context
from service.reconciler.mirror import put_members
from service.reconciler.port import ListMember, Member, Result
from service.reconciler.sealed import addresses_of

WRITERS = 4
"""Contacts put on a list at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """How the push of one list ended, in people; `refused` by Campaigns, with its codes."""

    list_name: str
    pushed: int
    refused: Mapping[str, int]

    @property
    def total(self) -> int:
        """Return how many people were tried."""
        return self.pushed + sum(self.refused.values())


def push(context: Context, *, only: Sequence[bytes] | None = None) -> Iterator[Pushed]:
    """Push every list that a CRM view feeds; `only` these addresses (keyed hashes), or everybody missing.

    Judged by the last reading of both products and by the ledger as it is now; safe to repeat.
    """
    for entry in context.policy.zoho.campaigns.lists:
        if entry.view_field:
            yield _push(context, entry, only)


def push_changed(context: Context, indexes: Sequence[bytes]) -> int:
    """Push those of these addresses whose lists want it at once; return how many were put on a list."""
    lists = [
        entry for entry in context.policy.zoho.campaigns.lists if entry.view_field and entry.push_on_change
    ]
    return sum(_push(context, entry, indexes).pushed for entry in lists)


def permitted(
    tx: Connection, entry: CampaignsList, at: datetime, only: Sequence[bytes] | None = None
) -> list[bytes]:
    """Return the keyed hashes of those whom a list lacks and the ledger permits at `at`."""
    return [row.address_index for row in tx.execute(permitted_now(missing_from(entry, only), at))]


def _push(context: Context, entry: CampaignsList, only: Sequence[bytes] | None) -> Pushed:
    with context.db.read() as tx:
        missing = permitted(tx, entry, context.now(), only)
    pushed, refused = 0, dict[str, int]()
    for part in chunks(missing):
        results = _subscribe(context, entry, part)
        done = [address for address, result in results if result.done]
        _remember(context, entry, done)
        pushed += len(done)
        for _, result in results:
            if not result.done:
                refused[result.code] = refused.get(result.code, 0) + 1
        context.progress("pushed", pushed, len(missing))
    return Pushed(list_name=entry.name, pushed=pushed, refused=refused)


def _subscribe(context: Context, entry: CampaignsList, part: Sequence[bytes]) -> list[tuple[str, Result]]:
    """Subscribe each whom the ledger still permits now: a withdrawal may have come since they were listed."""

    def one(index: bytes) -> tuple[str, Result] | None:
        with context.db.read() as tx:
            if not permitted(tx, entry, context.now(), [index]):
                return None
            address = addresses_of(tx, [index], context.vault)[index]
        return address, context.campaigns.subscribe(entry.name, address)

    with ThreadPoolExecutor(max_workers=WRITERS, thread_name_prefix="push") as threads:
        return [told for told in threads.map(one, part) if told is not None]


def _remember(context: Context, entry: CampaignsList, addresses: Sequence[str]) -> None:
    """Note in the mirror who is on the list now, so that a second push leaves them alone."""
    members = [
        ListMember(list_name=entry.name, address=address, status=Member.ACTIVE) for address in addresses
    ]
    if members:
        with context.db.begin() as tx:
            put_members(tx, members, run_id=0, at=context.now(), vault=context.vault)

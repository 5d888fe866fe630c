"""Put on a list whom its CRM view selects, the list lacks, and the ledger permits; nobody else.

A push widens nothing: who is not permitted by the ledger at this moment is left where they are, however
CRM's view has them. Do-Not-Mail is never lifted; whoever stands there is refused by Campaigns itself.
Every push carries the permission field, since what an upsert leaves out may fall back to a default, and is
read back: Campaigns accepts people whom it then asks first, and those are on no list yet.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

import structlog
from sqlalchemy import Connection, func, select

from service.consent import State
from service.db import chunks, contact, member, standing, subject
from service.errors import ZohoError
from service.policy import CampaignsList
from service.reconciler import mirror
from service.reconciler.audit.lag import missing_from, permitted_now
from service.reconciler.context import Context
from service.reconciler.port import ListMember, Member, Result
from service.reconciler.sealed import addresses_of

log = structlog.get_logger(__name__)

WRITERS = 4
"""Contacts put on a list at the same time."""
LATELY = 2_000
"""Rows of those who joined lately that are read for a few: four calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """How the push of one list ended, in people.

    `pushed` are seen on the list; `awaited` were accepted and are not there, because Campaigns asks them
    first or shows them later; `refused` by Campaigns, with its codes.
    """

    list_name: str
    pushed: int = 0
    awaited: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Return how many people were tried."""
        return self.pushed + self.awaited + sum(self.refused.values())


def push(context: Context, *, only: Sequence[bytes] | None = None) -> Iterator[Pushed]:
    """Push every list that a CRM view feeds; `only` these addresses (keyed hashes), or everybody missing.

    Judged by the last reading of both products and by the ledger as it is now; safe to repeat. Each list on
    which somebody was put is read to its end.
    """
    for entry in context.policy.zoho.campaigns.lists:
        if entry.view_field:
            yield _push(context, entry, only, lately=False)


def push_changed(context: Context, indexes: Sequence[bytes]) -> int:
    """Push those of these addresses whose lists want it at once; return how many are seen on a list.

    Looked for among those who joined lately; who is not there is left to the next reading.
    """
    lists = [
        entry for entry in context.policy.zoho.campaigns.lists if entry.view_field and entry.push_on_change
    ]
    return sum(_push(context, entry, indexes, lately=True).pushed for entry in lists)


def permitted(
    tx: Connection, entry: CampaignsList, at: datetime, only: Sequence[bytes] | None = None
) -> list[bytes]:
    """Return the keyed hashes of those whom a list lacks and the ledger permits at `at`."""
    return [row.address_index for row in tx.execute(permitted_now(missing_from(entry, only), at))]


def active(tx: Connection, lists: Sequence[str]) -> Mapping[str, int]:
    """Return how many people each list has as active, as of its last reading."""
    rows = tx.execute(
        select(member.c.list_name, func.count())
        .where(member.c.list_name.in_(lists), member.c.status == Member.ACTIVE.value)
        .group_by(member.c.list_name)
    )
    return dict.fromkeys(lists, 0) | dict(rows.all())


def _push(context: Context, entry: CampaignsList, only: Sequence[bytes] | None, *, lately: bool) -> Pushed:
    with context.db.read() as tx:
        missing = permitted(tx, entry, context.now(), only)
    accepted: dict[bytes, str] = {}
    refused: dict[str, int] = {}
    for part in chunks(missing):
        for index, address, result in _subscribe(context, entry, part):
            if result.done:
                accepted[index] = address
            else:
                refused[result.code] = refused.get(result.code, 0) + 1
        context.progress("pushed", len(accepted), len(missing))
    seen = _seen(context, entry, accepted, lately=lately)
    _remember(context, entry, accepted, seen)
    awaited = len(accepted) - len(seen)
    return Pushed(list_name=entry.name, pushed=len(seen), awaited=awaited, refused=refused)


def _subscribe(
    context: Context, entry: CampaignsList, part: Sequence[bytes]
) -> list[tuple[bytes, str, Result]]:
    """Subscribe each whom the ledger still permits now: a withdrawal may have come since they were listed."""

    def one(index: bytes) -> tuple[bytes, str, Result] | None:
        with context.db.read() as tx:
            if not permitted(tx, entry, context.now(), [index]):
                return None
            address = addresses_of(tx, [index], context.vault)[index]
            granted = entry.purpose == context.governed or _granted(tx, context, index)
        campaigns = context.campaigns
        if granted is None:
            return index, address, campaigns.subscribe(entry.name, address)
        return index, address, campaigns.place(entry.name, address, granted=granted)

    with ThreadPoolExecutor(max_workers=WRITERS, thread_name_prefix="push") as threads:
        return [told for told in threads.map(one, part) if told is not None]


def _granted(tx: Connection, context: Context, index: bytes) -> bool | None:
    """Return what the permission field is to say on a list of another purpose; None: nobody ever said.

    The ledger's word about the governed purpose, else what the field says already.
    """
    known = tx.scalar(
        select(standing.c.state)
        .join(subject, subject.c.sub == standing.c.sub)
        .where(subject.c.address_index == index, standing.c.purpose == context.governed)
    )
    if known in (State.PERMITTED.value, State.REFUSED.value):
        return bool(known == State.PERMITTED.value)
    says = tx.scalar(select(contact.c.permission).where(contact.c.address_index == index))
    return None if says is None else bool(says == "granted")


def _seen(
    context: Context, entry: CampaignsList, accepted: Mapping[bytes, str], *, lately: bool
) -> set[bytes]:
    """Return who of the accepted is shown on the list; nobody where it cannot be read now."""
    if not accepted:
        return set()
    try:
        shown = _lately(context, entry) if lately else _active(context, entry)
        return {index for address in shown if (index := context.vault.address_index(address)) in accepted}
    except ZohoError as error:
        log.warning("push.not_read_back", code=error.code)
        return set()


def _lately(context: Context, entry: CampaignsList) -> Iterator[str]:
    return islice(context.campaigns.joined_lately(entry.name), LATELY)


def _active(context: Context, entry: CampaignsList) -> Iterator[str]:
    return (found.address for found in context.campaigns.members(entry.name, Member.ACTIVE))


def _remember(
    context: Context, entry: CampaignsList, accepted: Mapping[bytes, str], seen: set[bytes]
) -> None:
    """Note in the mirror who is on the list now, and whom Campaigns may be asking: both are left alone.

    The next reading of the list shows what became of the latter.
    """
    at = context.now()
    members = [
        ListMember(list_name=entry.name, address=accepted[index], status=Member.ACTIVE) for index in seen
    ]
    with context.db.begin() as tx:
        if members:
            mirror.put_members(tx, members, run_id=0, at=at, vault=context.vault)
        mirror.note_awaited(tx, [index for index in accepted if index not in seen], entry.name, at)

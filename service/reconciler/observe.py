"""Read both products into the mirrors, side by side, in chunks; whether that is believed, `breakers` say."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import TypeVar

from sqlalchemy import Connection

from service.reconciler import mirror
from service.reconciler.context import Context
from service.reconciler.crm_reading import read_crm
from service.reconciler.port import Member

T = TypeVar("T")

CHUNK = 2_000
"""Rows put in one transaction: the memory that a read needs, whatever the size of the organisation."""

OVERLAP = timedelta(days=7)
"""How far behind the last read outcomes are asked for again: bounces arrive late."""


def observe(context: Context, run_id: int, *, since: datetime | None) -> None:
    """Read both products: CRM as `crm_reading` says, Campaigns whole, its outcomes from `since` on if given.

    Outcomes are asked for a little further back. Both reads are finished, or failed with a `ZohoError`, when
    this returns.
    """
    at = context.now()
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="observe") as threads:
        reads = [
            threads.submit(observe_crm, context, run_id),
            threads.submit(observe_campaigns, context, run_id, at, since),
        ]
    for read in reads:
        read.result()


def observe_crm(context: Context, run_id: int) -> None:
    """Read CRM into its mirror."""
    put = partial(mirror.put_records, run_id=run_id, vault=context.vault, policy=context.policy)
    read_crm(context, run_id, lambda records: _stream(context, "read crm", records, put))


def observe_campaigns(context: Context, run_id: int, at: datetime, since: datetime | None) -> None:
    """Read Campaigns into its mirrors, as of `at`; outcomes from `since` on, less an overlap, if given.

    Segments come before members (see `put_members`), and who left comes last: the later reading wins.
    """
    vault, campaigns = context.vault, context.campaigns
    for permission in ("granted", "refused"):
        put = partial(mirror.put_permissions, permission=permission, run_id=run_id, at=at, vault=vault)
        found = campaigns.permissions(permission == "granted")
        _stream(context, f"read permission {permission}", found, put)
    for entry in context.policy.zoho.campaigns.lists:
        for status in (Member.ACTIVE, Member.BOUNCED, Member.UNSUBSCRIBED):
            members = campaigns.members(entry.name, status)
            put_members = partial(mirror.put_members, run_id=run_id, at=at, vault=vault)
            _stream(context, f"read list {status.value}", members, put_members)
    outcomes = campaigns.outcomes(None if since is None else since - OVERLAP)
    _stream(context, "read outcomes", outcomes, partial(mirror.put_outcomes, at=at, vault=vault))


def _stream(
    context: Context, step: str, items: Iterable[T], put: Callable[[Connection, list[T]], None]
) -> None:
    """Put items chunk by chunk, each chunk in a transaction of its own: none is open while the network is."""
    done = 0
    for chunk in _chunks(items):
        with context.db.begin() as tx:
            put(tx, chunk)
        done += len(chunk)
        context.progress(step, done, 0)


def _chunks(items: Iterable[T]) -> Iterator[list[T]]:
    source = iter(items)
    while chunk := list(islice(source, CHUNK)):
        yield chunk

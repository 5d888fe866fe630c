"""What a run will cost, before anything is asked: calls by endpoint, credits, share of the day, duration.

Follows what the clients do with an organisation of known size, page by page. Credits of CRM come out exact,
and calls of Campaigns too where nothing changed since the last reading, which notes what outcomes took.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from math import ceil

from service.errors import QuotaExhausted
from service.reconciler import canaries, sizes
from service.reconciler.context import Context
from service.reconciler.observe import OVERLAP
from service.reconciler.port import OutcomeKind
from service.reconciler.sizes import Sizes
from service.zoho import listings, repairs, users
from service.zoho.bulk_read import CREATE, JOB_CREDITS, STATUS
from service.zoho.bulk_read import PAGE as BULK_PAGE
from service.zoho.coql import LARGEST_PAGE, SMALLEST_PAGE
from service.zoho.cost import Estimate
from service.zoho.crm_reads import DELETED_CREDITS
from service.zoho.crm_sweeps import POLLS, bulk_credits, sweep_credits
from service.zoho.listings import Noted
from service.zoho.quota import Quota, coql_credits
from service.zoho.shared import SharedQuota


def of_run(
    size: Sizes,
    *,
    applying: bool,
    by: str = "cheapest",
    learning: bool = False,
    job_credits: int = JOB_CREDITS,
    bulk_write_from: int = 0,
    outcomes: Sequence[Noted] | None = None,
    ranges: Mapping[str, int] | None = None,
) -> Estimate:
    """Return what reading everything costs, and when `applying` what is to be stopped by the last reading.

    `by` is how modules are read (`policies/zoho.toml`); `learning`: the edition is asked for first;
    `job_credits` is what a bulk read costs in this organisation; `bulk_write_from` from how many records on a
    module is written in bulk; `outcomes` are the calls that the last
    reading of outcomes took, `ranges` the rows that Campaigns gives at once.
    """
    found = Estimate(exact=size.read_at is not None, oauth=1, ranges=ranges or {})
    if learning:
        found.learn()
    for module, rows in size.records.items():
        if module in size.followed:
            _follow(found, module, size.followed[module])
        else:
            _sweep(found, module, rows, by, job_credits)
    _read_campaigns(found, size, outcomes)
    if applying:
        repairs.stop(found, size, bulk_write_from=bulk_write_from)
    return found


def of_next(context: Context, quota: Quota, *, applying: bool, contacts: int = 0) -> Estimate | None:
    """Return what the next reconciliation costs; None if nothing was read and nobody guesses `contacts`."""
    with context.db.read() as tx:
        found = sizes.sizes(tx, context)
    if found is None and not contacts:
        return None
    size = found or sizes.guessed(contacts, context.policy)
    expected = of_run(
        size,
        applying=applying,
        by=context.policy.zoho.crm.sweep,
        learning=not quota.is_learned,
        job_credits=quota.gate("crm").price(CREATE, JOB_CREDITS),
        bulk_write_from=context.policy.zoho.crm.bulk_write_from,
        outcomes=quota.outcome_calls if found is not None and isinstance(quota, SharedQuota) else None,
        ranges=quota.ranges.known,
    )
    _drive(expected, context, applying=applying, segments=size.permissions)
    return expected


def _drive(found: Estimate, context: Context, *, applying: bool, segments: Mapping[str, int]) -> None:
    """Add what the canaries take: all are read back, and written again by a run that applies.

    Under a mapping that is new to some, a run that applies writes all once more, and reads them and the
    segments again.
    """
    known, current = canaries.everybody(context), canaries.fingerprint(context.policy)
    trusted = [one for one in known if one.mapping == current]
    modules = len({one.module for one in known})
    found.ask_crm("POST /crm/v8/coql", modules, modules)
    if not applying:
        return
    repairs.drive(found, context, trusted)
    if len(trusted) < len(known):
        repairs.drive(found, context, known)
        found.ask_crm("POST /crm/v8/coql", modules, modules)
        for count in segments.values():
            found.list_all("getsegmentcontacts", count)


def require_off_hours(context: Context, quota: Quota, *, longest: timedelta) -> None:
    """Raise `QuotaExhausted` where a large reading can wait for off-hours, which begin within `longest`.

    It never waits longer: a reading finds withdrawals that nobody told us of.
    """
    now = context.now()
    opens, found = context.opens(now), of_next(context, quota, applying=True)
    share = found.credits / quota.allowance if found is not None and quota.allowance else 0.0
    if share > context.policy.enforcement.quota.large_sweep and now < opens < now + longest:
        raise QuotaExhausted(
            f"reading everything takes {share:.0%} of the day's credits; it waits for off-hours, which begin "
            f"at {opens:%H:%M} UTC",
            code="OFF_HOURS",
            until=opens,
        )


def _follow(found: Estimate, module: str, rewritten: int) -> None:
    """Add what changed lately, deletions and the count; others' changes as if they fitted the same pages."""
    found.ask_crm(f"GET /crm/v8/{module}/deleted", 1, DELETED_CREDITS)
    _coql(found, rewritten)
    found.ask_crm(f"GET /crm/v8/{module}/actions/count", 1, 1)


def _sweep(found: Estimate, module: str, rows: int, by: str, job_credits: int) -> None:
    """Add the reading of a whole module, decided as `crm_sweeps` does."""
    if by == "bulk":
        _bulk(found, rows, job_credits)
        return
    if by == "cheapest" and rows > LARGEST_PAGE:
        found.ask_crm(f"GET /crm/v8/{module}/actions/count", 1, 1)
        if bulk_credits(rows, job_credits) < sweep_credits(rows):
            found.ask_crm("POST /crm/v8/coql", 1, coql_credits(LARGEST_PAGE))
            _bulk(found, rows, job_credits)
            return
    _coql(found, rows)


def _coql(found: Estimate, rows: int) -> None:
    """Add the pages of COQL, and the smallest one, which finds that there is no more."""
    pages, end = max(1, ceil(rows / LARGEST_PAGE)), min(rows, 1)
    credit = pages * coql_credits(LARGEST_PAGE) + end * coql_credits(SMALLEST_PAGE)
    found.ask_crm("POST /crm/v8/coql", pages + end, credit)


def _bulk(found: Estimate, rows: int, job_credits: int) -> None:
    """Add jobs and their polls; whose numbers stand in the files is asked once for all modules."""
    jobs = max(1, ceil(rows / BULK_PAGE))
    found.ask_crm(CREATE, jobs, jobs * job_credits)
    found.ask_crm(STATUS, jobs * POLLS, jobs * POLLS)
    if rows and not found.crm[users.ENDPOINT]:
        found.ask_crm(users.ENDPOINT, 1, 1)


def _read_campaigns(found: Estimate, size: Sizes, outcomes: Sequence[Noted] | None) -> None:
    """Add every listing, each with the page that says that it has ended."""
    for count in size.permissions.values():
        found.list_all("getsegmentcontacts", count)
    for count in size.members.values():
        found.list_all("getlistsubscribers", count)
    if outcomes is not None:
        since = None if size.read_at is None else size.read_at - OVERLAP - listings.LATE
        for one in outcomes:
            if since is None or one.sent_at is None or one.sent_at >= since:
                found.campaigns.update(one.calls)
        return
    campaigns = {key for key, _ in size.outcomes}
    found.list_all("recentcampaigns", len(campaigns))
    for key in campaigns:
        for kind in OutcomeKind:
            found.list_all(listings.RECIPIENTS, size.outcomes.get((key, kind.value), 0))

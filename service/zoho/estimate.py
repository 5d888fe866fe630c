"""What a run will cost, before anything is asked: calls by endpoint, credits, share of the day, duration.

Follows what the clients do with an organisation of known size, page by page. Credits of CRM come out exact,
and calls of Campaigns too where nothing changed since the last reading, which notes what outcomes took.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from math import ceil

from service.errors import QuotaExhausted
from service.reconciler import canaries, natures, sizes
from service.reconciler.canaries import Canary
from service.reconciler.context import Context
from service.reconciler.observe import OVERLAP
from service.reconciler.plan import CRM_BATCH, CRM_READ, FEW
from service.reconciler.port import OutcomeKind
from service.reconciler.sizes import Sizes
from service.zoho import listings, users
from service.zoho.bulk_read import CREATE, JOB_CREDITS, STATUS
from service.zoho.bulk_read import PAGE as BULK_PAGE
from service.zoho.coql import LARGEST_PAGE, SMALLEST_PAGE
from service.zoho.crm_reads import DELETED_CREDITS
from service.zoho.crm_sweeps import POLLS, bulk_credits, sweep_credits
from service.zoho.listings import Noted
from service.zoho.quota import CAMPAIGNS_DEFAULT, CAMPAIGNS_LIMITS, Quota, coql_credits, write_credits
from service.zoho.ranges import PAGE
from service.zoho.shared import SharedQuota

SECONDS_PER_CALL = 0.4
"""Of a call over the internet, by experience; Campaigns takes eight writes at a time."""
AT_A_TIME = 8


@dataclass(slots=True, kw_only=True)
class Estimate:
    """Calls by endpoint and credits; `exact` is False where something was never read: `guessed` says what."""

    crm: Counter[str] = field(default_factory=Counter)
    campaigns: Counter[str] = field(default_factory=Counter)
    oauth: int = 0
    credits: int = 0
    exact: bool = True
    guessed: str = "nothing was read yet"
    lasts_s: float | None = None
    """How long it goes on, where that is chosen and no call waits for another."""
    ranges: Mapping[str, int] = field(default_factory=dict)
    """Rows that Campaigns gives at once, by endpoint, where they are fewer than usual."""

    def ask_crm(self, endpoint: str, calls: int, credit: int) -> None:
        """Add calls that cost so many credits together."""
        self.crm[endpoint] += calls
        self.credits += credit

    def list_all(self, endpoint: str, rows: int, *, times: int = 1) -> None:
        """Add the pages of a listing of Campaigns: the last one finds it empty."""
        self.campaigns[endpoint] += times * listings.calls(rows, self.ranges.get(endpoint, PAGE))

    def learn(self) -> None:
        """Add asking for the edition and for the prices of calls."""
        self.ask_crm("GET /crm/v8/org", 1, 1)
        self.ask_crm("GET /crm/v8/__apis", 1, 1)

    def add(self, other: "Estimate") -> None:
        """Add what another errand costs; both use one access token."""
        self.crm += other.crm
        self.campaigns += other.campaigns
        self.oauth = max(self.oauth, other.oauth)
        self.credits += other.credits

    @property
    def calls(self) -> dict[str, int]:
        """Return the calls by product."""
        return {"crm": self.crm.total(), "campaigns": self.campaigns.total(), "oauth": self.oauth}

    @property
    def waits_s(self) -> float:
        """Return how long Campaigns' windows will make it wait, from empty windows on."""
        if self.lasts_s is not None:
            return 0.0
        return max((_waits_s(name, calls) for name, calls in self.campaigns.items()), default=0.0)

    @property
    def seconds(self) -> float:
        """Return the likely duration; both products are read side by side."""
        if self.lasts_s is not None:
            return self.lasts_s
        writes = sum(calls for name, calls in self.campaigns.items() if name.startswith("json/"))
        reads = self.campaigns.total() - writes
        busy = max(self.crm.total(), reads) + writes / AT_A_TIME
        return busy * SECONDS_PER_CALL + self.waits_s


def of_run(
    size: Sizes,
    *,
    applying: bool,
    by: str = "cheapest",
    learning: bool = False,
    job_credits: int = JOB_CREDITS,
    outcomes: Sequence[Noted] | None = None,
    ranges: Mapping[str, int] | None = None,
) -> Estimate:
    """Return what reading everything costs, and when `applying` what is to be stopped by the last reading.

    `by` is how modules are read (`policies/zoho.toml`); `learning`: the edition is asked for first;
    `job_credits` is what a bulk read costs in this organisation; `outcomes` are the calls that the last
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
        _write(found, size)
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
    _write_canaries(found, context, trusted)
    if len(trusted) < len(known):
        _write_canaries(found, context, known)
        found.ask_crm("POST /crm/v8/coql", modules, modules)
        for count in segments.values():
            found.list_all("getsegmentcontacts", count)


def _write_canaries(found: Estimate, context: Context, them: Sequence[Canary]) -> None:
    alike = Counter((one.module, natures.OPTED_OUT[one.state]) for one in them)  # goes apart from stops
    for (module, _), count in alike.items():
        found.ask_crm(f"PUT /crm/v8/{module}", 1, write_credits(count))
    states = [one.state for one in them if one.is_first]
    found.campaigns += natures.calls(states, lists=len(context.lists), making=False)


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


def _write(found: Estimate, size: Sizes) -> None:
    """Add the writes, and the reading back of each."""
    for module, count in size.stops.records.items():
        _write_records(found, module, count)
    contacts = size.stops.contacts
    found.campaigns["json/listsubscribe"] += contacts
    found.campaigns["json/listunsubscribe"] += contacts * size.lists
    found.campaigns["json/contactdonotmail"] += contacts
    if contacts <= FEW:
        found.campaigns["json/contactdonotmail"] += contacts
    else:
        active = sum(count for (_, status), count in size.members.items() if status == "unsub") + contacts
        found.list_all("getlistsubscribers", active)


def _write_records(found: Estimate, module: str, count: int) -> None:
    reads = ceil(count / CRM_READ)
    writes = [CRM_BATCH] * (count // CRM_BATCH) + ([count % CRM_BATCH] if count % CRM_BATCH else [])
    found.ask_crm(f"PUT /crm/v8/{module}", len(writes), sum(map(write_credits, writes)))
    found.ask_crm("POST /crm/v8/coql", reads, reads)


def _waits_s(endpoint: str, calls: int) -> float:
    limits = CAMPAIGNS_LIMITS.get(endpoint, CAMPAIGNS_DEFAULT)
    return max(max(0, ceil(calls / limit.calls) - 1) * limit.seconds for limit in limits)

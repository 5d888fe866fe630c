"""What a command that asks Zoho will cost, told before anything is asked, and beside what it did cost."""

from service import app
from service.app import Parts
from service.errors import Refused, Unsafe
from service.reconciler import canaries, sizes
from service.reconciler import harm as harming
from service.reconciler import push as pushing
from service.reconciler.context import Context
from service.reconciler.port import Member, Meter
from service.zoho import estimate as estimating
from service.zoho.estimate import Estimate
from service.zoho.mapping import Zoho
from service.zoho.shared import SharedQuota


def of_run(parts: Parts, zoho: Zoho, *, applying: bool = False, contacts: int = 0) -> Estimate:
    """Return what a reconciliation will cost; `contacts` is a guess for what was never read.

    Raises `Refused` where nothing was read yet and nobody guesses.
    """
    found = estimating.of_next(parts.context(zoho), zoho.quota, applying=applying, contacts=contacts)
    if found is None:
        raise Refused(
            "nothing was read yet, so that nobody knows how many people there are; say about how many with "
            "--contacts, or run without --estimate"
        )
    return _with_token(found, zoho)


def known(parts: Parts, zoho: Zoho, *, applying: bool = False) -> Estimate | None:
    """Return what a reconciliation will cost, None where nothing was read yet."""
    found = estimating.of_next(parts.context(zoho), zoho.quota, applying=applying)
    return None if found is None else _with_token(found, zoho)


def of_audit(parts: Parts, zoho: Zoho, *, last: bool) -> Estimate:
    """Return what an audit costs: a reading unless of the `last` one, and both products' metadata."""
    found = Estimate() if last else of_run(parts, zoho)
    return _with_metadata(found, parts, zoho)


def of_mapping(parts: Parts, zoho: Zoho) -> Estimate:
    """Return what reading both products' metadata costs."""
    return _with_metadata(Estimate(), parts, zoho)


def _with_metadata(found: Estimate, parts: Parts, zoho: Zoho) -> Estimate:
    modules = len(parts.policy.zoho.crm.modules)
    found.ask_crm("GET /crm/v8/settings/fields", modules, modules)
    found.campaigns["contact/allfields"] += 1
    return _with_token(found, zoho)


def of_push(parts: Parts) -> Estimate:
    """Return what putting everybody on the lists that lack them costs."""
    return estimating.of_push(_waiting_for_lists(parts))


def of_harm(parts: Parts, zoho: Zoho) -> Estimate:
    """Return what looking for harm costs, by the campaigns and the lists that were last read.

    Raises `Refused` where nothing was read yet.
    """
    context = parts.context(zoho)
    with parts.db.read() as tx:
        size = sizes.sizes(tx, context)
    if size is None:
        raise Refused(
            "nothing was read yet, so that nobody knows of any campaign; run consent-ledger reconcile"
        )
    campaigns, wanted = harming.waiting(context)
    largest = max((rows for (_, one), rows in size.members.items() if one == Member.ACTIVE.value), default=0)
    return estimating.of_harm(campaigns=campaigns, wanted=wanted, recipients=largest)


def of_canaries(parts: Parts, zoho: Zoho) -> Estimate:
    """Return what creating the canaries that do not exist yet costs."""
    made = {one.state for one in canaries.everybody(parts.context(zoho))}
    return estimating.of_canaries(
        [state for state in canaries.STATES if state not in made],
        modules=len(parts.policy.zoho.crm.modules),
        module=parts.policy.enforcement.canaries.module,
    )


def of_approved(parts: Parts) -> Estimate:
    """Return what writing everything that was approved costs."""
    with parts.db.read() as tx:
        return estimating.of_permits(sizes.approved(tx))


def require_off_hours(parts: Parts, context: Context) -> None:
    """Raise `Unsafe` where so large a push has to wait for the organisation's off-hours."""
    now = app.now()
    waiting, opens = _waiting_for_lists(parts), context.opens(now)
    if waiting > parts.policy.enforcement.quota.large_push and opens > now:
        raise Unsafe(
            f"{waiting:,} people are a large push; it waits for off-hours, from {opens:%H:%M} UTC on: "
            "run again then, or with --now"
        )


def tell(found: Estimate, zoho: Zoho) -> str:
    """Return an estimate in words: calls, credits, share of the day, what is left, duration."""
    calls = found.calls
    sure = "" if found.exact else " (a guess: nothing was read yet)"
    asked = f"{calls['crm']:,} calls of CRM, {calls['campaigns']:,} of Campaigns"
    lines = [f"estimate{sure}: {asked}, {found.credits:,} credits"]
    if isinstance(zoho.quota, SharedQuota):
        allowance, used = zoho.quota.allowance, zoho.quota.used()
        share = found.credits / allowance
        edition = zoho.quota.licence.edition
        lines.append(
            f"  {share:.2%} of the {allowance:,} credits of a day ({edition}); "
            f"{used.total:,} were used in the last 24 hours, {max(0, allowance - used.total):,} are left"
        )
    lines.append(f"  about {duration(found.seconds)}{_waiting(found)}")
    return "\n".join(lines)


def compare(found: Estimate | None, meter: Meter) -> str:
    """Return what was booked, beside what was estimated."""
    booked = ", ".join(f"{count:,} of {name}" for name, count in sorted(meter.calls.items()))
    told = f"booked: {booked or 'no'} calls, {meter.credits:,} credits"
    if found is None:
        return told
    return f"{told}; estimated {sum(found.calls.values()):,} calls, {found.credits:,} credits"


def as_data(found: Estimate, zoho: Zoho) -> dict[str, object]:
    """Return an estimate as JSON."""
    shared = zoho.quota if isinstance(zoho.quota, SharedQuota) else None
    return {
        "calls": found.calls,
        "crm_credits": found.credits,
        "share_of_day": None if shared is None else round(found.credits / shared.allowance, 6),
        "credits_left": None if shared is None else max(0, shared.allowance - shared.used().total),
        "seconds": round(found.seconds, 1),
        "exact": found.exact,
        "at": app.now().isoformat(),
    }


def duration(seconds: float) -> str:
    """Return a duration as people say it."""
    if seconds < 90:  # noqa: PLR2004  # a minute and a half
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5_400 else f"{seconds / 3600:.1f} h"  # noqa: PLR2004  # 90 min


def _with_token(found: Estimate, zoho: Zoho) -> Estimate:
    """Return it without a call for an access token where any process has one that lasts."""
    found.oauth = int(zoho.oauth.lacks_token)
    return found


def _waiting_for_lists(parts: Parts) -> int:
    with parts.db.read() as tx:
        lists = [entry for entry in parts.policy.zoho.campaigns.lists if entry.view_field]
        return sum(len(pushing.permitted(tx, entry, app.now())) for entry in lists)


def _waiting(found: Estimate) -> str:
    return f", {duration(found.waits_s)} of it waiting for windows of Campaigns" if found.waits_s else ""

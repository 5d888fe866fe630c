"""What a command will cost, and did cost, in words and as JSON."""

from collections.abc import Mapping

import click

from service import app
from service.reconciler.port import Meter
from service.zoho.blocks import Use
from service.zoho.cost import Estimate
from service.zoho.mapping import Zoho
from service.zoho.shared import SharedQuota


def tell(found: Estimate, zoho: Zoho | None) -> str:
    """Return an estimate in words: calls, credits, share of the day, what is left, duration.

    `zoho` is None where no organisation is connected yet.
    """
    sure = "" if found.exact else f" (a guess: {found.guessed})"
    lines = [f"estimate{sure}: {in_words(found.calls, found.credits)}"]
    if zoho is not None and isinstance(zoho.quota, SharedQuota):
        allowance, used = zoho.quota.allowance, zoho.quota.used()
        share = found.credits / allowance
        edition = zoho.quota.licence.edition
        lines.append(
            f"  {share:.2%} of the {allowance:,} credits of a day ({edition}); "
            f"{used.total:,} were used in the last 24 hours, {max(0, allowance - used.total):,} are left"
        )
    lines.append(f"  about {duration(found.seconds)}{_waiting(found)}")
    return "\n".join(lines)


def in_words(calls: Mapping[str, int], credit: int) -> str:
    """Return calls by product, and what they cost together."""
    crm, accounts = calls.get("crm", 0), calls.get("oauth", 0)
    told = f"{_of(crm, 'call')} of CRM, {calls.get('campaigns', 0):,} of Campaigns, {_of(credit, 'credit')}"
    return f"{told}, and {_of(accounts, 'call')} of Zoho Accounts" if accounts else told


def compare(found: Estimate | None, meter: Meter) -> str:
    """Return what was booked, beside what was estimated."""
    told = in_words(meter.calls, meter.credits)
    if found is None:
        return f"booked: {told}"
    expected = in_words(found.calls, found.credits)
    return f"booked: {told}; " + ("as estimated" if told == expected else f"estimated: {expected}")


def by_errand(zoho: Zoho) -> str:
    """Return who used what of the day's credits, in words."""
    use = zoho.quota.used() if isinstance(zoho.quota, SharedQuota) else Use(by={}, foreign=0)
    others = {"others than this service": use.foreign} if use.foreign else {}
    found = sorted((use.by | others).items(), key=lambda one: -one[1])
    told = ", ".join(f"{who or 'unnamed'} {units:,}" for who, units in found)
    return f"credits used in the last 24 hours: {told or 'none'}"


def show_cost(found: Estimate | None, meter: Meter) -> None:
    """Print what was booked beside what was estimated, where it mixes with no document or JSON."""
    click.echo(compare(found, meter), err=True)


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


def _waiting(found: Estimate) -> str:
    return f", {duration(found.waits_s)} of it waiting for windows of Campaigns" if found.waits_s else ""


def _of(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"

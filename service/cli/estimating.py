"""What a command that asks Zoho will cost, told before anything is asked, and beside what it did cost."""

from service import app
from service.app import Parts
from service.errors import Refused, Unsafe
from service.reconciler import canaries, channels, sizes
from service.reconciler import harm as harming
from service.reconciler import push as pushing
from service.reconciler.context import Context
from service.reconciler.harm import Sent
from service.reconciler.port import Member
from service.vault import connection
from service.zoho import errands, listings
from service.zoho import estimate as estimating
from service.zoho.cost import Estimate
from service.zoho.errands import Mailing
from service.zoho.listings import Noted
from service.zoho.mapping import Zoho
from service.zoho.shared import SharedQuota

DAY_S = 86_400


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
    found = _learning(zoho) if last else of_run(parts, zoho)
    return _with_metadata(found, parts, zoho)


def known_audit(parts: Parts, zoho: Zoho, *, last: bool) -> Estimate | None:
    """Return what an audit costs, None where it would be the first reading."""
    found = _learning(zoho) if last else known(parts, zoho)
    return None if found is None else _with_metadata(found, parts, zoho)


def of_mapping(parts: Parts, zoho: Zoho) -> Estimate:
    """Return what reading both products' metadata costs."""
    return _with_metadata(Estimate(), parts, zoho)


def _learning(zoho: Zoho) -> Estimate:
    """Return what asking for the edition costs, nothing where it is known."""
    found = Estimate()
    if not zoho.quota.is_learned:
        found.learn()
    return found


def _with_metadata(found: Estimate, parts: Parts, zoho: Zoho) -> Estimate:
    modules = len(parts.policy.zoho.crm.modules)
    found.ask_crm("GET /crm/v8/settings/fields", modules, modules)
    found.campaigns["contact/allfields"] += 1
    return _with_token(found, zoho)


def of_push(parts: Parts, zoho: Zoho) -> Estimate:
    """Return what putting everybody on the lists that lack them costs, and reading those lists back."""
    waiting = _waiting_for_lists(parts)
    with parts.db.read() as tx:
        active = pushing.active(tx, list(waiting))
    return _with_token(errands.of_push(waiting, active, zoho.quota.ranges.known), zoho)


def of_harm(parts: Parts, zoho: Zoho) -> Estimate:
    """Return what looking for harm costs; raises `Refused` where nothing was read yet."""
    found = known_harm(parts, zoho)
    if found is None:
        raise Refused(
            "nothing was read yet, so that nobody knows of any campaign; run consent-ledger reconcile"
        )
    return found


def known_harm(parts: Parts, zoho: Zoho) -> Estimate | None:
    """Return what looking for harm costs, by what was last read; None if nothing was.

    Exact for campaigns whose recipients were read before, and as far as a new one went to a whole list.
    """
    context = parts.context(zoho)
    with parts.db.read() as tx:
        size = sizes.sizes(tx, context)
    if size is None:
        return None
    noted = (zoho.quota.outcome_calls if isinstance(zoho.quota, SharedQuota) else None) or ()
    known = {one.key: one for one in noted if one.key}
    sent = [Sent(key=key, sent_at=one.sent_at) for key, one in known.items() if one.sent_at is not None]
    largest = max((rows for (_, one), rows in size.members.items() if one == Member.ACTIVE.value), default=0)
    waiting = harming.waiting(context, sent)
    mailings = [
        _mailing(known.get(key), largest if recipients is None else recipients)
        for key, recipients in waiting.items()
    ]
    listing = sum(one.calls["recentcampaigns"] for one in noted) or listings.calls(len(mailings))
    expected = errands.of_harm(listing=listing, mailings=mailings, ranges=zoho.quota.ranges.known)
    if None in waiting.values():
        expected.exact, expected.guessed = (
            False,
            "campaigns that were never read count as sent to a whole list",
        )
    return _with_token(expected, zoho)


def _mailing(noted: Noted | None, recipients: int) -> Mailing:
    if noted is None:
        return Mailing(recipients=recipients)
    return Mailing(keys=noted.keys, asked=noted.calls["getcampaigndetails"], recipients=recipients)


def of_canaries(parts: Parts, zoho: Zoho) -> Estimate:
    """Return what creating the records that the canaries lack costs."""
    with parts.db.read() as tx:
        missing = canaries.lacking(tx, parts.policy)
    lists = len(parts.context(zoho).lists)
    found = errands.of_canaries(missing, modules=len(parts.policy.zoho.crm.modules), lists=lists)
    return _with_token(found, zoho)


def of_approved(parts: Parts, zoho: Zoho) -> Estimate:
    """Return what writing everything that was approved costs."""
    with parts.db.read() as tx:
        approved = sizes.approved(tx, parts.policy)
    return _with_token(errands.of_permits(approved, zoho.quota.ranges.known), zoho)


def of_connecting(parts: Parts, *, replacing: bool, revoking: bool = False) -> Estimate:
    """Return what connecting costs where Zoho names the token's scopes, as newer answers do."""
    if revoking:
        return Estimate(oauth=1)
    with parts.db.read() as tx:
        former = replacing and connection.exists(tx)
    return errands.of_connecting(replacing=former, probing=False)


def of_watching(parts: Parts, *, seconds: int = DAY_S) -> Estimate:
    """Return what watching costs while nothing happens in either product, by what is heard of CRM now."""
    policy, settings = parts.policy, parts.settings
    with parts.db.read() as tx:
        relied = channels.reliable(tx, now=app.now())
    return errands.of_watching(
        seconds=seconds,
        every_s=max(1, policy.enforcement.watch_seconds),
        crm_every_s=settings.sweep_seconds if relied else 0,
        modules=len(policy.zoho.crm.modules),
        subscribed=bool(settings.hooks_url) or settings.public_url.startswith("https://"),
    )


def of_night(parts: Parts, zoho: Zoho) -> Estimate | None:
    """Return what the nightly jobs cost (a run that repairs, harm, the audit); None before any reading."""
    found = known(parts, zoho, applying=True)
    if found is not None:
        found.add(of_harm(parts, zoho))
        found.add(of_mapping(parts, zoho))
    return found


def require_off_hours(parts: Parts, context: Context) -> None:
    """Raise `Unsafe` where so large a push has to wait for the organisation's off-hours."""
    now = app.now()
    waiting, opens = sum(_waiting_for_lists(parts).values()), context.opens(now)
    if waiting > parts.policy.enforcement.quota.large_push and opens > now:
        raise Unsafe(
            f"{waiting:,} people are a large push; it waits for off-hours, from {opens:%H:%M} UTC on: "
            "run again then, or with --now"
        )


def _with_token(found: Estimate, zoho: Zoho) -> Estimate:
    """Return it with a call for an access token only if it needs one that no process has yet."""
    found.oauth = int(zoho.oauth.lacks_token and (found.crm.total() or found.campaigns.total()) > 0)
    return found


def _waiting_for_lists(parts: Parts) -> dict[str, int]:
    """Return how many people would be put on each list that a CRM view feeds."""
    with parts.db.read() as tx:
        lists = [entry for entry in parts.policy.zoho.campaigns.lists if entry.view_field]
        return {entry.name: len(pushing.permitted(tx, entry, app.now())) for entry in lists}

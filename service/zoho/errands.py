"""What commands that are no reading will cost: permits, pushes, harm, canaries, doctor, connect, the watch.

Follows what each command does, call by call; `estimate` does the same for readings and repairs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil

from service.reconciler import natures
from service.reconciler.plan import CRM_READ
from service.reconciler.sizes import Approved
from service.zoho import listings
from service.zoho.cost import Estimate
from service.zoho.notifications import RENEWED_EVERY
from service.zoho.quota import write_credits

TOKEN_S = 3_300
"""How long an access token is used: an hour, less the five minutes that it is renewed early."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailing:
    """One sent campaign of which the recipients are to be read; `keys` counts itself and its children.

    `asked` is the calls that tell its children.
    """

    keys: int = 1
    asked: int = 0
    recipients: int


def of_permits(changes: Approved, ranges: Mapping[str, int]) -> Estimate:
    """Return what letting people go costs.

    Each record is read, written alone (a person may be at it) and read again; each contact is put on the
    lists that know it, and these are read to their end, by the rows that Campaigns gives at once (`ranges`).
    """
    found = Estimate(oauth=1, ranges=ranges)
    for module, count in changes.records.items():
        found.ask_crm(f"PUT /crm/v8/{module}", count, count * write_credits(1))
        reads = 2 * ceil(count / CRM_READ)
        found.ask_crm("POST /crm/v8/coql", reads, reads)
    for joining in changes.lists.values():
        found.campaigns["json/listsubscribe"] += joining.writes
        found.list_all("getlistsubscribers", joining.shown)
    return found


def of_push(waiting: Mapping[str, int], active: Mapping[str, int], ranges: Mapping[str, int]) -> Estimate:
    """Return what putting so many `waiting` people on each list costs, and reading these lists back.

    `active` are who is on each list already, `ranges` the rows that Campaigns gives at once.
    """
    found = Estimate(oauth=1, ranges=ranges)
    for name, count in waiting.items():
        found.campaigns["json/listsubscribe"] += count
        if count:
            found.list_all("getlistsubscribers", active[name] + count)
    return found


def of_harm(*, listing: int, mailings: Iterable[Mailing], ranges: Mapping[str, int]) -> Estimate:
    """Return what looking for harm costs: `listing` calls list what was sent, `mailings` are to be read."""
    found = Estimate(oauth=1, ranges=ranges)
    found.campaigns["recentcampaigns"] += listing
    for one in mailings:
        found.campaigns["getcampaigndetails"] += one.asked
        found.list_all(listings.RECIPIENTS, ceil(one.recipients / one.keys), times=one.keys)
    return found


def of_canaries(missing: Mapping[str, Mapping[str, str]], *, modules: int, lists: int) -> Estimate:
    """Return what creating the `missing` records of canaries costs (by state, name and module).

    Each canary is looked for once in all modules; Campaigns is written where it has no record at all.
    """
    found = Estimate(oauth=int(bool(missing)))
    found.ask_crm("POST /crm/v8/coql", len(missing) * modules, len(missing) * modules)
    for names in missing.values():
        for module in names.values():
            found.ask_crm(f"POST /crm/v8/{module}", 1, write_credits(1))
    first = [state for state, names in missing.items() if state in names]
    found.campaigns += natures.calls(first, lists=lists, making=True)
    return found


def of_doctor(*, modules: int, canaries: int, probing: bool) -> Estimate:
    """Return what doctor costs; `probing`: Zoho does not name the token's scopes, so each is tried."""
    found = Estimate(oauth=1)
    found.ask_crm("GET /crm/v8/org", 3, 3)
    found.ask_crm("GET /crm/v8/__apis", 1, 1)
    found.ask_crm("GET /crm/v8/users", 1, 1)
    found.ask_crm("GET /crm/v8/settings/profiles/{id}", 1, 1)
    found.ask_crm("GET /crm/v8/settings/fields", modules, modules)
    found.ask_crm("POST /crm/v8/coql", canaries, canaries)
    found.campaigns["contact/allfields"] += 1
    found.campaigns["getmailinglists"] += listings.calls(1)
    found.campaigns["getsegmentcontacts"] += 2
    if probing:
        _probe(found)
    return found


def of_connecting(*, replacing: bool, probing: bool) -> Estimate:
    """Return what connecting costs: a code and a token of Zoho Accounts, the organisation's name, the probes.

    `replacing`: the former token is revoked as well.
    """
    found = Estimate(oauth=2 + int(replacing))
    found.ask_crm("GET /crm/v8/org", 1, 1)
    if probing:
        _probe(found)
    return found


def of_watching(
    *, seconds: int, every_s: int, crm_every_s: int, modules: int, subscribed: bool = False
) -> Estimate:
    """Return what watching both products for so long costs while nothing happens there.

    Each look asks Campaigns for the counts of all lists; CRM is asked at the looks that are due. Where it is
    `subscribed` to, CRM's notifications are renewed.
    """
    looks, due = seconds // every_s, seconds // max(every_s, crm_every_s)
    found = Estimate(oauth=ceil(seconds / TOKEN_S), lasts_s=seconds)
    found.campaigns["getmailinglists"] += looks * listings.calls(1)
    found.ask_crm("POST /crm/v8/coql", due * modules, due * modules)
    if subscribed:
        renewals = ceil(seconds / RENEWED_EVERY.total_seconds())
        found.ask_crm("PATCH /crm/v8/actions/watch", renewals, renewals)
    return found


def _probe(found: Estimate) -> None:
    """Add one harmless read for each scope, as `probes` does."""
    for endpoint in (
        "GET /crm/v8/org",
        "GET /crm/v8/settings/fields",
        "POST /crm/v8/coql",
        "GET /crm/v8/{module}",
        "GET /crm/v8/users",
    ):
        found.ask_crm(endpoint, 1, 1)
    found.campaigns["getmailinglists"] += listings.calls(1)
    found.campaigns["recentcampaigns"] += 1

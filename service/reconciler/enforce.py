"""The short way: carry one person's withdrawal to both products, prove it, within seconds.

The decision is read again now, not when the task was written, so that an older withdrawal never
overrides a newer consent. Campaigns, which mails, comes first; CRM follows even if Campaigns failed.
Everything can be repeated: a crash or an error gives the task back, a half that was done stays done, and
what is found done already is recorded as such.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from service.consent import Category, Standing
from service.errors import QuotaExhausted, ZohoError
from service.reconciler import tasks
from service.reconciler.context import Context
from service.reconciler.enforcement import Enforced, require_recorded
from service.reconciler.stopping import Stop, stop_campaigns, stop_crm
from service.reconciler.tasks import Task

LIMIT = 32
"""People carried out in one turn, where they asked for it themselves."""
AT_A_TIME = 4
"""People at a time: each is about ten calls, one after the other. All others come so many in a turn."""

HALVES: Mapping[str, Callable[[Context, Stop], Iterator[Enforced]]] = {
    "campaigns_at": stop_campaigns,
    "crm_at": stop_crm,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """How one turn ended, in people."""

    done: int = 0
    superseded: int = 0
    postponed: int = 0

    @property
    def total(self) -> int:
        """Return how many people had something waiting."""
        return self.done + self.superseded + self.postponed


def carry_out(context: Context, *, worker: str, limit: int = LIMIT, others: Context | None = None) -> Carried:
    """Carry out what is due, people's own words first; several withdrawals of one person are one.

    `others` is what those are carried out with who said nothing themselves: clients that leave a part of
    each window to those who did.
    """
    with context.db.begin() as tx:
        claimed = tasks.claim(tx, worker=worker, now=context.now(), limit=limit, others=AT_A_TIME)
    if not claimed:
        return Carried()

    def one(mine: Sequence[Task]) -> str:
        own = any(item.category in tasks.OWN_WORDS for item in mine)
        return _one(context if own else others or context, mine)

    with ThreadPoolExecutor(max_workers=AT_A_TIME, thread_name_prefix="enforce") as threads:
        ends = list(threads.map(one, claimed.values()))
    return Carried(
        done=ends.count("done"), superseded=ends.count("superseded"), postponed=ends.count("postponed")
    )


def _one(context: Context, mine: Sequence[Task]) -> str:
    """Carry out the tasks of one person; a product's error gives them back with a pause."""
    stop = _decide(context, mine)
    if isinstance(stop, str):
        with context.db.begin() as tx:
            tasks.supersede(tx, mine, stop)
        return "superseded"
    enforced: list[Enforced] = []
    errors: list[ZohoError] = []
    done: dict[str, datetime] = {}
    for half, step in HALVES.items():
        if all(half in item.halves for item in mine):
            continue
        try:
            found = list(step(context, stop))
        except ZohoError as error:
            errors.append(error)
        else:
            enforced += found
            done[half] = max((item.written_at for item in found), default=context.now())
    now = context.now()
    require_recorded(context.intake.record([item.claim(context.policy, now) for item in enforced]))
    context.progress("enforced", len(enforced), len(enforced))
    with context.db.begin() as tx:
        tasks.note(tx, mine, done)
        if errors:
            tasks.postpone(tx, mine, error="; ".join(map(str, errors)), now=now, until=_opens(errors))
        else:
            tasks.finish(tx, mine, proved_at=now)
    return "postponed" if errors else "done"


def _decide(context: Context, mine: Sequence[Task]) -> Stop | str:
    """Return what to stop by what the ledger says now, or why there is nothing to stop."""
    sub = mine[0].sub
    with context.db.read() as tx:
        stops = {s.purpose: s for s in context.intake.standings(tx, sub) if s.must_stop}
        address = context.vault.address_of(tx, sub)
    if address is None:
        return "the person was erased; there is no address left to stop"
    if not stops:
        return "a newer entry permits again; nothing was written"
    lists = context.policy.zoho.campaigns.lists
    return Stop(
        sub=sub,
        address=address,
        key=f"task:{min(item.id for item in mine)}",
        cause=_cause(stops.get(context.governed) or next(iter(stops.values()))),
        lists=tuple(entry.name for entry in lists if entry.purpose in stops),
        in_crm=context.governed in stops,
        bounced=all(item.category == Category.BOUNCE_HARD for item in mine),
    )


def _cause(found: Standing) -> int | None:
    return found.decided_by if found.suppressed is None else found.suppressed_by


def _opens(errors: Sequence[ZohoError]) -> datetime | None:
    """Return when the last of the closed windows opens again, where that is known."""
    known = [e.until for e in errors if isinstance(e, QuotaExhausted) and e.until is not None]
    return max(known, default=None)

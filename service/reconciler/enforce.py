"""The short way: carry one person's withdrawal to both products, prove it, within seconds.

The decision is read again now, not when the task was written, so that an older withdrawal never
overrides a newer consent. Campaigns, which mails, comes first; CRM follows even if Campaigns failed.
Everything can be repeated: a crash or an error gives the task back, and what is found done already
is recorded as such.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from service.consent import Standing, SubjectId
from service.errors import QuotaExhausted, Unreachable, ZohoError
from service.reconciler import mirror, tasks
from service.reconciler.apply import active_lists, refused
from service.reconciler.context import Context
from service.reconciler.enforcement import CAMPAIGNS, CONFIRMED, CRM, Enforced, require_recorded
from service.reconciler.port import CrmChange, CrmRecord, Result
from service.reconciler.tasks import Task

LIMIT = 32
"""People carried out in one turn."""
AT_A_TIME = 4
"""People at a time: each is about ten calls, one after the other."""
ALREADY = "ALREADY"
"""The code of a record that said stop before we came."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stop:
    """One person to stop: address in the clear, the deciding entry, the lists to leave, CRM or not."""

    sub: SubjectId
    address: str
    task: Task
    cause: int | None
    lists: tuple[str, ...]
    in_crm: bool


def carry_out(context: Context, *, worker: str, limit: int = LIMIT) -> Carried:
    """Carry out what is due, the first deadline first; several withdrawals of one person are one."""
    with context.db.begin() as tx:
        claimed = tasks.claim(tx, worker=worker, now=context.now(), limit=limit)
    if not claimed:
        return Carried()
    with ThreadPoolExecutor(max_workers=AT_A_TIME, thread_name_prefix="enforce") as threads:
        ends = list(threads.map(lambda mine: _one(context, mine), claimed.values()))
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
    for step in (_stop_campaigns, _stop_crm):
        try:
            enforced += step(context, stop)
        except ZohoError as error:
            errors.append(error)
    now = context.now()
    require_recorded(context.intake.record([item.claim(context.policy, now) for item in enforced]))
    context.progress("enforced", len(enforced), len(enforced))
    with context.db.begin() as tx:
        if errors:
            tasks.postpone(tx, mine, error="; ".join(map(str, errors)), now=now, until=_opens(errors))
        else:
            stopped_at = max((item.written_at for item in enforced), default=now)
            tasks.finish(tx, mine, stopped_at=stopped_at, proved_at=now)
    return "postponed" if errors else "done"


def _decide(context: Context, mine: Sequence[Task]) -> _Stop | str:
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
    return _Stop(
        sub=sub,
        address=address,
        task=min(mine, key=lambda item: item.id),
        cause=_cause(stops.get(context.governed) or next(iter(stops.values()))),
        lists=tuple(entry.name for entry in lists if entry.purpose in stops),
        in_crm=context.governed in stops,
    )


def _stop_campaigns(context: Context, stop: _Stop) -> Iterator[Enforced]:
    """Refuse on every list of the purposes that stop; Do-Not-Mail knows no purposes and covers them all."""
    if not stop.lists:
        return
    index = context.vault.address_index(stop.address)
    with context.db.read() as tx:
        active = active_lists(tx, [index], stop.lists).get(index, ()) if stop.in_crm else ()
    active_on = active[0] if active else None
    end = refused(context.campaigns.refuse(stop.address, stop.lists, active_on=active_on), active_on)
    if end.state != "written":
        raise ZohoError(f"Campaigns did not take the refusal ({end.code})", code=end.code)
    written_at = context.now()
    context.progress("campaigns refused", 1, 1)
    _require(context.campaigns.is_refused(stop.address))
    with context.db.begin() as tx:
        mirror.note_refused(tx, [index], stop.lists, written_at)
    yield _enforced(stop, CAMPAIGNS, end.code, end.answer_sha256, written_at)


def _stop_crm(context: Context, stop: _Stop) -> Iterator[Enforced]:
    """Opt out every record that carries the address, and read all of them back."""
    if not stop.in_crm:
        return
    found = context.crm.find(stop.address)
    permits = [record for record in found if not record.opted_out]
    results = context.crm.enforce(
        [CrmChange(module=r.module, record_id=r.record_id, opted_out=True) for r in permits]
    )
    written_at = context.now()
    context.progress("crm opted out", len(permits), len(found))
    answers = {(r.module, r.record_id): result for r, result in zip(permits, results, strict=True)}
    for result in results:
        _require(result)
    now_there = context.crm.read([(r.module, r.record_id) for r in found]) if found else ()
    with context.db.begin() as tx:
        mirror.note_opted_out(tx, now_there)
    for record in now_there:
        yield _record_enforced(stop, record, answers.get((record.module, record.record_id)), written_at)


def _record_enforced(stop: _Stop, record: CrmRecord, result: Result | None, written_at: datetime) -> Enforced:
    target = f"{CRM}{record.module}/{record.record_id}"
    if not record.opted_out:
        raise ZohoError(f"{record.module} {record.record_id} was written and still permits", code="DIFFERS")
    if result is None:
        return _enforced(stop, target, ALREADY, b"", written_at)
    return _enforced(stop, target, result.code, result.answer_sha256, written_at)


def _enforced(stop: _Stop, target: str, code: str, answer_sha256: bytes, written_at: datetime) -> Enforced:
    return Enforced(
        key=f"task:{stop.task.id}:{target}",
        target=target,
        code=code,
        answer_sha256=answer_sha256,
        read_back=CONFIRMED,
        cause=stop.cause,
        written_at=written_at,
        subject=stop.sub,
    )


def _require(result: Result) -> None:
    if not result.done:
        kind = Unreachable if result.retry else ZohoError
        raise kind(f"{result.target}: {result.code} {result.reason}".strip(), code=result.code)


def _cause(found: Standing) -> int | None:
    return found.decided_by if found.suppressed is None else found.suppressed_by


def _opens(errors: Sequence[ZohoError]) -> datetime | None:
    """Return when the last of the closed windows opens again, where that is known."""
    known = [e.until for e in errors if isinstance(e, QuotaExhausted) and e.until is not None]
    return max(known, default=None)

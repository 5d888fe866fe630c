"""The two halves of a stop: out of Campaigns, opted out in CRM; of many people at once, each read back.

Each half ends for each person with what is to be recorded of it, or with the `ZohoError` that stands in
the way, and is then tried again whole: writes are absolute, and what is found done already is recorded
as such. CRM is asked and written for all people together; Campaigns knows no such calls, so its people
go side by side and are read back together where that is fewer calls.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from service.consent import SubjectId
from service.errors import QuotaExhausted, Unreachable, ZohoError
from service.reconciler import mirror
from service.reconciler.context import Context
from service.reconciler.enforcement import CONFIRMED, CRM, Enforced
from service.reconciler.port import BOUNCED, CrmChange, CrmRecord, Result
from service.reconciler.tasks import Triggering

ALREADY = "ALREADY"
"""The code of a record that said stop before we came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """One person to stop: address in the clear, the deciding entry, the lists to leave, CRM or not.

    `key` begins the names of the entries about it. `bounced` says that nothing but dead mailboxes asks,
    `refused` that the person's own word does. `tasks` are the withdrawals behind it, `triggered` when a
    workflow was triggered for all of them.
    """

    sub: SubjectId
    address: str
    key: str
    cause: int | None
    lists: tuple[str, ...]
    in_crm: bool
    bounced: bool
    refused: bool = False
    tasks: tuple[int, ...] = ()
    triggered: Triggering | None = None


@dataclass(frozen=True, slots=True)
class Awaited:
    """A half that was written by many at once and is to be seen done; if nobody sees it, try again then."""

    until: datetime


Ended = Sequence[Enforced] | Awaited | ZohoError
"""How one half ended for one person."""
Still = Callable[[Sequence[Stop]], set[SubjectId]]
"""Who is still to be stopped, asked before each write: a newer entry or another worker may be first."""


def stop_in_crm(context: Context, stops: Sequence[Stop], still: Still) -> Mapping[SubjectId, Ended]:
    """Opt out every record that carries one of the addresses, and read all of them back.

    Who is not to be stopped any more is left out of the answer.
    """
    wanted = [stop for stop in stops if stop.in_crm]
    ended: dict[SubjectId, Ended] = {stop.sub: () for stop in stops if not stop.in_crm}
    if not wanted:
        return ended
    try:
        return ended | _stop_in_crm(context, wanted, still)
    except ZohoError as error:
        return ended | {stop.sub: error for stop in wanted}


def _stop_in_crm(context: Context, stops: Sequence[Stop], still: Still) -> dict[SubjectId, Ended]:
    found = context.crm.find_many([stop.address for stop in stops])
    wanted = still(stops)
    stops = [stop for stop in stops if stop.sub in wanted]
    records = _by_target(record for stop in stops for record in found[stop.address])
    permits = [target for target, record in records.items() if not record.opted_out]
    bounced = _by_target(record for stop in stops if stop.bounced for record in found[stop.address])
    results = context.crm.enforce(
        [
            CrmChange(
                module=module,
                record_id=record_id,
                opted_out=True,
                reason=BOUNCED if (module, record_id) in bounced else "",
            )
            for module, record_id in permits
        ]
    )
    written_at = context.now()
    context.progress("crm opted out", len(permits), len(records))
    answers = dict(zip(permits, results, strict=True))
    now_there = _by_target(context.crm.read(list(records)) if records else ())
    with context.db.begin() as tx:
        mirror.note_opted_out(tx, now_there.values())
    ended: dict[SubjectId, Ended] = {}
    for stop in stops:
        targets = [(record.module, record.record_id) for record in found[stop.address]]
        try:
            ended[stop.sub] = [
                _in_crm(stop, target, now_there.get(target), answers.get(target), written_at)
                for target in targets
                if target in now_there or target in answers
            ]
        except ZohoError as error:
            ended[stop.sub] = error
    return ended


def _by_target(records: Iterable[CrmRecord]) -> dict[tuple[str, str], CrmRecord]:
    return {(record.module, record.record_id): record for record in records}


def _in_crm(
    stop: Stop,
    target: tuple[str, str],
    now_there: CrmRecord | None,
    answer: Result | None,
    written_at: datetime,
) -> Enforced:
    """Return the enforcement of one record; one that is gone since keeps nobody from being stopped."""
    if answer is not None:
        require(answer)
    if now_there is not None and not now_there.opted_out:
        raise ZohoError(f"{target[0]} {target[1]} was written and still permits", code="DIFFERS")
    code, sha256 = (ALREADY, b"") if answer is None else (answer.code, answer.answer_sha256)
    return enforced(stop, f"{CRM}{target[0]}/{target[1]}", code, sha256, written_at)


def enforced(stop: Stop, target: str, code: str, answer_sha256: bytes, written_at: datetime) -> Enforced:
    """Return what is recorded of one write of a stop that was read back."""
    return Enforced(
        key=f"{stop.key}:{target}",
        target=target,
        code=code,
        answer_sha256=answer_sha256,
        read_back=CONFIRMED,
        cause=stop.cause,
        written_at=written_at,
        subject=stop.sub,
    )


def require(result: Result) -> None:
    """Raise what keeps a write from being done, with the time when a used-up window opens."""
    if result.done:
        return
    if result.until is not None:
        raise QuotaExhausted(result.reason, code=result.code, until=result.until)
    kind = Unreachable if result.retry else ZohoError
    raise kind(f"{result.target}: {result.code} {result.reason}".strip(), code=result.code)

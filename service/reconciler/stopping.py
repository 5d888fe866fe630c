"""The two halves of one person's stop: out of Campaigns, opted out in CRM; each written and read back.

Each half either ends with what is to be recorded of it, or raises a `ZohoError` and is tried again
whole: writes are absolute, and what is found done already is recorded as such.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from service.consent import SubjectId
from service.errors import QuotaExhausted, Unreachable, ZohoError
from service.reconciler import mirror
from service.reconciler.apply import active_lists, refused
from service.reconciler.context import Context
from service.reconciler.enforcement import CAMPAIGNS, CONFIRMED, CRM, Enforced
from service.reconciler.people import familiar
from service.reconciler.port import NOBODY, CrmChange, CrmRecord, Result

ALREADY = "ALREADY"
"""The code of a record that said stop before we came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """One person to stop: address in the clear, the deciding entry, the lists to leave, CRM or not.

    `key` begins the names of the entries about it. `bounced` says that nothing but dead mailboxes asks.
    """

    sub: SubjectId
    address: str
    key: str
    cause: int | None
    lists: tuple[str, ...]
    in_crm: bool
    bounced: bool


def stop_campaigns(context: Context, stop: Stop) -> Iterator[Enforced]:
    """Refuse on every list of the purposes that stop; Do-Not-Mail knows no purposes and covers them all.

    Somebody whom the mirror does not know costs one call, where Campaigns does not know them either; a
    dead mailbox that no list had as active when Campaigns was last read costs none.
    """
    if not stop.lists:
        return
    index = context.vault.address_index(stop.address)
    with context.db.read() as tx:
        known, complete = familiar(tx, index)
        active = active_lists(tx, [index], stop.lists).get(index, ())
    if complete and stop.bounced and not active:
        return
    if not known and (enforced := _keep_out(context, stop)) is not None:
        yield enforced
        return
    active_on = active[0] if active and stop.in_crm else None
    results = context.campaigns.refuse(stop.address, stop.lists, active_on=active_on)
    end = refused(results, active_on)
    if end.state != "written":
        raise _failed(results, end.code)
    written_at = context.now()
    context.progress("campaigns refused", 1, 1)
    _require(context.campaigns.is_refused(stop.address))
    with context.db.begin() as tx:
        mirror.note_refused(tx, [index], stop.lists, written_at)
    yield _enforced(stop, CAMPAIGNS, end.code, end.answer_sha256, written_at)


def _keep_out(context: Context, stop: Stop) -> Enforced | None:
    """Enter somebody into Do-Not-Mail; None where Campaigns knows them, and there is more to do."""
    (result,) = context.campaigns.refuse(stop.address, (), active_on=None)
    if not result.done:
        raise _failed([result], result.code)
    if result.code != NOBODY:
        return None
    return _enforced(stop, CAMPAIGNS, result.code, result.answer_sha256, context.now())


def stop_crm(context: Context, stop: Stop) -> Iterator[Enforced]:
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


def _record_enforced(stop: Stop, record: CrmRecord, result: Result | None, written_at: datetime) -> Enforced:
    target = f"{CRM}{record.module}/{record.record_id}"
    if not record.opted_out:
        raise ZohoError(f"{record.module} {record.record_id} was written and still permits", code="DIFFERS")
    if result is None:
        return _enforced(stop, target, ALREADY, b"", written_at)
    return _enforced(stop, target, result.code, result.answer_sha256, written_at)


def _enforced(stop: Stop, target: str, code: str, answer_sha256: bytes, written_at: datetime) -> Enforced:
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


def _require(result: Result) -> None:
    if result.done:
        return
    if result.until is not None:
        raise QuotaExhausted(result.reason, code=result.code, until=result.until)
    kind = Unreachable if result.retry else ZohoError
    raise kind(f"{result.target}: {result.code} {result.reason}".strip(), code=result.code)


def _failed(results: Sequence[Result], code: str) -> ZohoError:
    """Return what stands in the way; where a window is used up, with the time when it opens."""
    message = f"Campaigns did not take the refusal ({code})"
    known = [result.until for result in results if result.until is not None]
    return QuotaExhausted(message, code=code, until=max(known)) if known else ZohoError(message, code=code)

"""Writing the opt-out checkbox: in batches, per-record results, and what a lost answer means.

Implements facts `zoho-crm` section 2.5. Only the mapped field is written, by id, with `trigger: []`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from service.errors import QuotaExhausted, Unreachable, ZohoDenied, ZohoError
from service.reconciler.port import CrmChange, Result
from service.zoho import crm_answers
from service.zoho.bulk_write import MOST_ROWS, BulkWriter
from service.zoho.oauth import OWN_WINDOW
from service.zoho.quota import write_credits
from service.zoho.records import iso
from service.zoho.transport import Call, Transport
from service.zoho.wire import NO_ANSWER

BATCH = 100
"""Records of one write, the most that CRM takes."""
PAID_ONCE = 10
"""Records of one credit."""
NAMED_BY = {"Contacts": "Last_Name", "Leads": "Last_Name"}
"""The field that a record cannot do without; modules of the organisation's own have `Name`."""


def enforce(
    transport: Transport, opt_out: str, changes: Sequence[CrmChange], *, reason_field: str | None = None
) -> Sequence[Result]:
    """Return one result per change, in order; `opt_out` is the field that says stop.

    `reason_field` takes the reasons of those that have one. What is left of the day goes to as many as it
    pays for.
    """

    def write(batch: Sequence[CrmChange]) -> Sequence[Result]:
        return _write(transport, opt_out, batch, reason_field)

    def write_what_is_paid(batch: Sequence[CrmChange]) -> Sequence[Result]:
        try:
            return write(batch)
        except QuotaExhausted as error:
            if error.code != OWN_WINDOW or len(batch) <= PAID_ONCE:
                raise
        return _each(batch, _batches(batch, PAID_ONCE), write)

    return _each(changes, _batches(changes), write_what_is_paid)


def enforce_in_bulk(
    transport: Transport, opt_out: str, changes: Sequence[CrmChange], *, zgid: str
) -> Sequence[Result]:
    """Return one result per change, in order; all are stops, written by one job for 25,000 of a module.

    What bulk write does not take is written as usual.
    """
    writer = BulkWriter(transport, opt_out)

    def stop(batch: Sequence[CrmChange]) -> Sequence[Result]:
        try:
            return writer.stop(zgid, batch)
        except (QuotaExhausted, Unreachable):
            raise
        except ZohoError:
            return enforce(transport, opt_out, batch)

    return _each(changes, _batches(changes, MOST_ROWS), stop)


def _each(
    changes: Sequence[CrmChange],
    batches: Iterable[Sequence[int]],
    write: Callable[[Sequence[CrmChange]], Sequence[Result]],
) -> Sequence[Result]:
    """Write batch by batch; an error that is not the first thing that happens ends up in results."""
    results: dict[int, Result] = {}
    for places in batches:
        batch = [changes[place] for place in places]
        try:
            written = write(batch)
        except ZohoError as error:
            if not results and isinstance(error, ZohoDenied | QuotaExhausted):
                raise
            written = [_undone(change, error) for change in batch]
        results |= dict(zip(places, written, strict=True))
    return [results[place] for place in range(len(changes))]


def add(
    transport: Transport, module: str, values: Mapping[str, str | bool], *, name: str
) -> tuple[str, Result]:
    """Add one record, which needs a name, and return its id (empty where it failed) and the result."""
    endpoint = f"POST /crm/v8/{module}"
    call = Call(
        method="POST",
        path=f"/crm/v8/{module}",
        endpoint=endpoint,
        headers={"Content-Type": "application/json"},
        body=msgspec.json.encode({"data": [{NAMED_BY.get(module, "Name"): name, **values}], "trigger": []}),
        credits=write_credits(1),
        repeatable=False,
    )
    answer = transport.send(call)
    (item,) = crm_answers.items(answer, endpoint, 1)
    details = item.get("details")
    record_id = str(details.get("id", "")) if isinstance(details, dict) else ""
    change = CrmChange(module=module, record_id=record_id, opted_out=False)
    result = _result(change, item, answer.sha256)
    return (record_id if result.done else ""), result


def _write(
    transport: Transport, opt_out: str, batch: Sequence[CrmChange], reason_field: str | None
) -> Sequence[Result]:
    module, since = batch[0].module, batch[0].unmodified_since or _newest(batch)
    endpoint = f"PUT /crm/v8/{module}"
    data = [
        {"id": change.record_id, opt_out: change.opted_out}
        | ({reason_field: change.reason} if reason_field and change.reason else {})
        for change in batch
    ]
    headers = {"Content-Type": "application/json"}
    call = Call(
        method="PUT",
        path=f"/crm/v8/{module}",
        endpoint=endpoint,
        headers=headers if since is None else headers | {"If-Unmodified-Since": iso(since)},
        body=msgspec.json.encode({"data": data, "trigger": []}),
        credits=write_credits(len(batch)),
        # Saying "stop" twice is as good as once. A repeated "go" could lift an opt-out that came in
        # between, and a repeated conditional write would meet its own first half; who gives `read_as_of`
        # looks again at what was modified meanwhile.
        repeatable=batch[0].unmodified_since is None and all(change.opted_out for change in batch),
    )
    answer = transport.send(call)
    items = crm_answers.items(answer, endpoint, len(batch))
    return [_result(change, item, answer.sha256) for change, item in zip(batch, items, strict=True)]


def _newest(batch: Sequence[CrmChange]) -> datetime | None:
    """Return when the last of a batch's records had been written as they were read, None if not told."""
    return max((change.read_as_of for change in batch if change.read_as_of), default=None)


def _batches(changes: Sequence[CrmChange], size: int = BATCH) -> Iterator[Sequence[int]]:
    """Yield the places of the changes that go into one call each: one module, stops apart from goes.

    Those with `read_as_of` share one condition, which would be none if one of the others were among them.
    """
    groups: dict[tuple[str, bool, bool], list[int]] = {}
    for place, change in enumerate(changes):
        if change.unmodified_since is not None:
            yield [place]
        else:
            alike = change.module, change.opted_out, change.read_as_of is not None
            groups.setdefault(alike, []).append(place)
    for places in groups.values():
        for start in range(0, len(places), size):
            yield places[start : start + size]


def _result(change: CrmChange, item: Mapping[str, Any], answer_sha256: bytes) -> Result:
    code = str(item.get("code", ""))
    done = item.get("status") == "success" and code == "SUCCESS"
    return Result(
        target=f"{change.module}/{change.record_id}",
        done=done,
        code=code,
        answer_sha256=answer_sha256,
        retry=not done and code in crm_answers.TRANSIENT,
        reason="" if done else crm_answers.reason(item),
    )


def _undone(change: CrmChange, error: ZohoError) -> Result:
    """Return the result of a change whose call failed as a whole."""
    return Result(
        target=f"{change.module}/{change.record_id}",
        done=False,
        code=error.code,
        answer_sha256=NO_ANSWER,
        retry=isinstance(error, Unreachable | QuotaExhausted) or error.code in crm_answers.TRANSIENT,
        reason=str(error),
        until=error.until if isinstance(error, QuotaExhausted) else None,
    )

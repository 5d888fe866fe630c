"""A history written down: as JSON for programs and bundles, as text for a terminal.

Pure. What comes from outside (user agents, page addresses) is printed without control characters, so
that evidence cannot move the reader's cursor.
"""

import base64
from collections.abc import Iterator, Mapping
from datetime import datetime

from service.consent import Standing
from service.consent.links import Link
from service.ledger.bracket import Anchor
from service.ledger.canonical import Json
from service.ledger.entry import format_time
from service.reports.history.as_of import AsOf
from service.reports.history.proven import History, Record

_MARKS = {"event": "", "opened": "[opened] ", "enforcement": "[enforced] ", "access": "[looked up] "}
_SAID_ABOVE = frozenset({"category", "purpose", "provenance", "grade", "email"})
"""Fields of the payload that a line of the timeline already tells."""


def to_json(history: History) -> dict[str, Json]:
    """Return the history in a fixed key order: times as text, hashes in hex, signed bytes in base64."""
    return {
        "address": history.address,
        "subject": None if history.subject is None else history.subject.hex(),
        "asked_at": format_time(history.asked_at),
        "as_of": _time(history.as_of),
        "standing_now": [_standing(one) for one in history.now],
        "standing_then": None if history.then is None else [_standing(one) for one in history.then],
        "learnt_later": [one.index for one in history.records if one.learnt_after(history.as_of)],
        "as_of_confirmed": None if history.confirmed is None else _confirmed(history.confirmed),
        "records": [
            {**_record(record), **_link(history.links.get(record.index))} for record in history.records
        ],
        "log": {
            "origin": history.origin,
            "size": history.size,
            "key": history.log_key,
            "checkpoint": history.checkpoint.decode(),
        },
        "verified": history.verified,
    }


def as_text(history: History) -> str:
    """Return the history for a terminal: the standing first, then the timeline, then what proves it."""
    return "\n".join(_lines(history)) + "\n"


def _standing(one: Standing) -> dict[str, Json]:
    return {
        "purpose": one.purpose,
        "state": one.state.value,
        "may_mail": one.may_mail,
        "reasons": list(one.reasons),
        "decided_by": one.decided_by,
        "decided_at": _time(one.decided_at),
        "valid_until": _time(one.valid_until),
        "suppressed": one.suppressed,
        "suppressed_by": one.suppressed_by,
        "rule": one.rule,
        "warnings": list(one.warnings),
    }


def _confirmed(found: AsOf) -> dict[str, Json]:
    return {
        "words": found.words(),
        "before": _anchor(found.bracket.before),
        "after": _anchor(found.bracket.after),
        "surely": None if found.surely is None else [_standing(one) for one in found.surely],
        "undecided": list(found.undecided),
        "open": list(found.open),
    }


def _anchor(anchor: Anchor | None) -> Json:
    if anchor is None:
        return None
    return {"size": anchor.size, "at": format_time(anchor.at), "who": anchor.who}


def _record(record: Record) -> dict[str, Json]:
    return {
        "index": record.index,
        "category": record.category.value,
        "mark": record.mark,
        "purpose": record.purpose,
        "occurred_at": format_time(record.occurred_at),
        "recorded_at": format_time(record.recorded_at),
        "source": record.source,
        "provenance": record.provenance,
        "grade": record.grade,
        "valid_until": _time(record.valid_until),
        "evidence": None if record.evidence is None else dict(record.evidence),
        "erased": record.erased,
        "entry": _base64(record.entry),
        "leaf_hash": record.leaf_hash.hex(),
        "proof": [_base64(node) for node in record.proof],
    }


def _link(link: Link | None) -> dict[str, Json]:
    """Return what an entry followed when it was recorded: never a status, so that it never changes."""
    if link is None:
        return {}
    return {
        "event_type": link.event_type,
        "event_state": link.event_state,
        "supersedes": list(link.supersedes),
        "terminates": list(link.terminates),
        "corrects": link.corrects,
    }


def _lines(history: History) -> Iterator[str]:
    yield f"History of {_plain(history.address)}"
    yield f"asked at {format_time(history.asked_at)}"
    yield ""
    if history.subject is None:
        yield "The ledger holds nothing about this address."
    yield from _standing_lines("Now", history.now)
    if history.then is not None and history.as_of is not None:
        yield from _standing_lines(f"As of {format_time(history.as_of)}, as we knew it then", history.then)
        yield from _learnt_lines(history)
    if history.confirmed is not None:
        yield f"Confirmed: {history.confirmed.words()}"
        yield ""
    if history.records:
        yield f"Timeline ({len(history.records)} entries, oldest first, times in UTC)"
        for record in history.records:
            yield from _record_lines(record)
    yield f"Proof: each entry was checked against the signed head of {history.origin} ({history.size})."
    yield f"Log key: {history.log_key}"


def _standing_lines(when: str, standings: tuple[Standing, ...]) -> Iterator[str]:
    yield when
    for one in standings:
        yield f"  {one.purpose}: {_answer(one)} ({one.state.value})"
        for reason in one.reasons:
            yield f"    because {_plain(reason)}"
        for warning in one.warnings:
            yield f"    note: {_plain(warning)}"
        if one.decided_by is not None:
            yield f"    decided by entry {one.decided_by}"
    yield ""


def _learnt_lines(history: History) -> Iterator[str]:
    later = [record for record in history.records if record.learnt_after(history.as_of)]
    if not later:
        return
    yield "Learnt later, so it does not count above:"
    for record in later:
        times = f"occurred {format_time(record.occurred_at)}, recorded {format_time(record.recorded_at)}"
        yield f"  {record.category.value}, entry {record.index}: {times}"
    yield ""


def _answer(one: Standing) -> str:
    if one.may_mail:
        return "MAY BE MAILED"
    return "MUST NOT BE MAILED" if one.must_stop else "NO PERMISSION TO MAIL"


def _record_lines(record: Record) -> Iterator[str]:
    when = f"{record.occurred_at:%Y-%m-%d %H:%M:%S}"
    purpose = record.purpose or ("" if record.mark == "opened" else "every purpose")
    yield f"  {when}  {_MARKS.get(record.mark, '')}{record.category.value}  {_plain(purpose)}".rstrip()
    facts = [f"entry {record.index}", f"recorded {format_time(record.recorded_at)}"]
    facts += [f"source {_plain(record.source)}"]
    facts += [record.provenance] if record.provenance else []
    facts += [f"grade {record.grade}"] if record.grade else []
    yield f"      {', '.join(facts)}"
    if record.valid_until is not None:
        yield f"      valid until {format_time(record.valid_until)}"
    yield from _evidence_lines(record.evidence or {})
    yield ""


def _evidence_lines(evidence: Mapping[str, Json]) -> Iterator[str]:
    for name in sorted(evidence.keys() - _SAID_ABOVE):
        yield f"      {name}: {_plain(str(evidence[name]))}"


def _plain(text: str) -> str:
    """Return the text on one line, with anything that is not printable written as an escape."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else format_time(moment)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()

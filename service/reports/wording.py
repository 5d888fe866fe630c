"""The sentences of the nightly mail: verdict, numbers and times as a lawyer reads them at breakfast.

Pure. Every sentence that claims something ("no deadline missed") is derived from the figures here.
"""

from datetime import timedelta

from service.ledger.attestors import Attestor, Kind, Level
from service.reconciler.openers import Openers
from service.reports.drift import DriftReport, KindLine, NextDeadline, Span, Verdict

_NAMED = 5
"""Causes of one kind that are named in the mail; the attached table has them all."""

HEADLINES = {
    Verdict.IN_ORDER: "Everything is in order",
    Verdict.REPAIRED: "Drift was found and repaired",
    Verdict.ACTION: "Somebody must act",
    Verdict.BLIND: "We could not look",
}


def subject_line(report: DriftReport) -> str:
    """Return the subject: the night, what was found, what became of it, and what the law says to that."""
    alarm = "LEDGER DAMAGED, " if _damaged(report) else ""
    return f"Consent drift {report.night}: {alarm}{_gist(report)} - {_deadline_words(report)}"


def summary(report: DriftReport) -> list[str]:
    """Return the night in three or four sentences."""
    sentences = [_damage(report)] if _damaged(report) else []
    sentences += [report.last_run.trouble] if report.last_run.trouble else []
    people = report.people
    if people.found == 0:
        sentences.append("Nobody was found whom Zoho would still have mailed although the ledger says stop.")
    else:
        sentences.append(f"{_stops(report)} had not reached Zoho: {_became(report)}.")
        sentences.append(_consequence(report))
    sentences.append(_deadline_sentence(report))
    return sentences


def stored(report: DriftReport) -> str:
    """Return which stored rows were looked at again, and what was found."""
    look = report.stored
    if look is None:
        return "Stored rows were not looked at again yet."
    what = f"entries {look.start:,} to {look.stop:,} of {look.size:,} and a like share of all else"
    if (look.start, look.stop) == (0, look.size):
        what = f"all {look.size:,} entries and all that stands beside them"
    when = f"{look.finished_at:%d %B at %H:%M} UTC"
    if not look.damaged:
        return f"Stored rows were looked at again on {when} ({what}): all are as they were written."
    return f"Stored rows were looked at again on {when} ({what}): {_places(look.damaged)} damaged."


def outside(report: DriftReport) -> str:
    """Return how it stands with the witnesses and time-stamping authorities outside; worst first."""
    if not report.attestors:
        return "No witness and no time-stamping authority attests the ledger from outside."
    late = sorted(
        (one for one in report.attestors if one.level is not Level.FINE), key=lambda one: -one.level
    )
    if late:
        return " ".join(map(_silence, late))
    newest = max((one.succeeded_at for one in report.attestors if one.succeeded_at), default=None)
    when = f", last on {newest:%d %B at %H:%M} UTC" if newest else "; their first word is awaited"
    return f"On time outside: {count(len(report.attestors), 'attestor', 'attestors')}{when}."


def causes(line: KindLine) -> str:
    """Return what brought a kind of drift about, the most people first; empty where nothing is told."""
    named, others = line.causes[:_NAMED], sum(people for _, people in line.causes[_NAMED:])
    told = [f"{cause} ({people:,})" for cause, people in named] + ([f"others ({others:,})"] if others else [])
    return f"Cause: {'; '.join(told)}." if told else ""


def unlooked(report: DriftReport) -> str:
    """Return of whom it is not known whether they were mailed, and why; empty where everybody is known."""
    if not report.harm_unlooked:
        return ""
    at = report.harm.looked_at
    when = "never" if at is None else f"last on {at:%d %B at %H:%M} UTC, before that"
    return (
        f"Not known for {count(report.harm_unlooked, 'person', 'people')} of those found by the last run: "
        f"what Campaigns sent was looked at {when}. Run consent-ledger harm."
    )


def opened_again(found: Openers) -> str:
    """Return how many were opened again in all, and of how many only the record's last writer is known."""
    told = f"In all {count(found.people, 'person', 'people')}"
    if found.others:
        told += f", {found.others:,} of them by others than those"
    if not found.by_record:
        return f"{told}."
    return (
        f"{told}. CRM's timeline was not asked about {found.by_record:,}: the name is who had written the "
        "record last, and whether by hand or by an import is not known."
    )


def count(number: int, one: str, many: str) -> str:
    """Return a number with its noun."""
    return f"{number:,} {one if number == 1 else many}"


def duration(span: timedelta) -> str:
    """Return a length of time in its two largest units, whole; below a minute in seconds."""
    seconds = abs(span).total_seconds()
    days, hours, minutes = int(seconds // 86_400), int(seconds // 3_600) % 24, int(seconds // 60) % 60
    if days:
        return count(days, "day", "days") + (f" {hours} h" if hours and days < 10 else "")  # noqa: PLR2004  # of weeks hours tell nothing
    if hours:
        return f"{hours} h" + (f" {minutes} min" if minutes else "")
    if minutes:
        return f"{minutes} min"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"  # noqa: PLR2004  # tenths matter below ten seconds only


def left(deadline: NextDeadline) -> str:
    """Return how long a deadline leaves, or for how long it has passed."""
    return f"{duration(deadline.left)} {'left' if deadline.left >= timedelta(0) else 'overdue'}"


def law(deadline: NextDeadline) -> str:
    """Return the law of a deadline with its citation."""
    return f"{deadline.law}, {deadline.citation}" if deadline.citation else deadline.law


def span(figures: Span | None) -> tuple[str, str, str]:
    """Return the median, the 95th percentile and the slowest in words."""
    if figures is None:
        return "-", "-", "-"
    return duration(figures.p50), duration(figures.p95), duration(figures.slowest)


def _silence(one: Attestor) -> str:
    """Return what is wrong with an attestor, since when, and why as far as it is known."""
    what = "witness" if one.kind is Kind.WITNESS else "time-stamping authority"
    level = "RED: for more than a day" if one.level is Level.RED else "Amber: for more than ten minutes"
    last = f"{one.succeeded_at:%d %B at %H:%M} UTC" if one.succeeded_at else "never"
    why = f" Why: {one.trouble}." if one.trouble else ""
    return f"{level}, the {what} {one.name} has not attested the ledger; its last word: {last}.{why}"


def _damaged(report: DriftReport) -> bool:
    return report.stored is not None and report.stored.damaged > 0


def _damage(report: DriftReport) -> str:
    assert report.stored is not None
    first, *_ = report.stored.damage
    return (
        f"The ledger is damaged in {count(report.stored.damaged, 'place', 'places')}; the first is {first}."
    )


def _places(number: int) -> str:
    return "one place is" if number == 1 else f"{number:,} places are"


def _gist(report: DriftReport) -> str:
    if report.verdict is Verdict.BLIND:
        return f"COULD NOT LOOK, last run {report.last_run.state}"
    if report.people.found == 0:
        return "ACTION NEEDED" if report.verdict is Verdict.ACTION else "nothing found"
    return f"{_stops(report)} had not reached Zoho, {_became(report)}"


def _stops(report: DriftReport) -> str:
    people, others = report.people, report.people.found - report.people.opt_outs
    told = [count(people.opt_outs, "opt-out", "opt-outs")] if people.opt_outs else []
    told += [count(others, "other stop", "other stops")] if others and people.opt_outs else []
    return " and ".join(told or [count(others, "stop", "stops")])


def _became(report: DriftReport) -> str:
    people = report.people
    if people.open == 0 and people.settled == 0:
        return "all repaired" if people.found > 1 else "repaired"
    parts = (
        (people.open, "STILL OPEN"),
        (people.repaired, "repaired"),
        (people.settled, "settled by themselves"),
    )
    return ", ".join(f"{number:,} {what}" for number, what in parts if number)


def _consequence(report: DriftReport) -> str:
    if still := report.people.open:
        return f"{count(still, 'person', 'people')} can still be mailed; the others may have been until then."
    return "Until then these people may have been mailed wrongly."


def _missed(report: DriftReport) -> str:
    return (
        f"deadline missed for {count(report.people.late, 'person', 'people')}" if report.people.late else ""
    )


def _deadline_words(report: DriftReport) -> str:
    if missed := _missed(report):
        return missed
    if report.verdict is Verdict.BLIND:
        return "no figures for tonight"
    if report.deadline is not None:
        return f"{left(report.deadline)} under {report.deadline.law}"
    return "no deadline missed"


def _under(report: DriftReport) -> str:
    """Return the missed rules in words, law first, what mailbox providers demand after it."""
    parts = []
    for is_law, words in ((True, "by law"), (False, "by the rules of mailbox providers, which are no law")):
        named = [(name, people) for name, people, law in report.missed if law is is_law]
        if named:
            told = ", ".join(f"{name} {people:,}" for name, people in named)
            parts.append(f"{words} {sum(people for _, people in named):,} ({told})")
    return "; ".join(parts)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _deadline_sentence(report: DriftReport) -> str:
    told = f"{_capital(_missed(report))}: {_under(report)}." if report.people.late else ""
    if report.deadline is None:
        if report.overdue is None:
            return told or "No deadline was missed, and none is running."
        return f"{told} Every deadline of what is still open has passed."
    until = f"{report.deadline.at:%d %B %Y at %H:%M} UTC ({left(report.deadline)})"
    return f"{told} The next deadline is {until} under {law(report.deadline)}.".strip()

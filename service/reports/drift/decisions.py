"""What a person must decide or do after a night; pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from service.reports.drift.kinds import describe
from service.reports.drift.reading import Found, Withdrawal

STOP = "stop"
"""The action of rows about people whom a product would still have mailed although it must not."""

_FAILED = "These people can still be mailed. Opt them out by hand, or have the error resolved today."
_UNWRITTEN = "These people can still be mailed. Have the plan applied (consent-ledger reconcile --apply)."
_GIVEN_UP = "The service could not carry these to both products. Opt them out by hand today."
_OVERDUE = "Still not carried out in both products although the law's time is over."
_PERMIT = "CRM says opted out, a newer consent says yes. Nothing is widened until people approve it (/plans)."
_LEFT_OUT = (
    "A breaker left them out of the run; why is told below. Find out today: nothing is repaired there."
)
_CONTESTED = (
    "Written twice, undone twice, and not fought a third time. These people can still be mailed: talk to "
    "whoever undoes it, named below, and opt them out by hand."
)
_DAMAGED = (
    "Rows of the ledger are not as they were written; people's wishes are still carried out. Have "
    "consent-ledger scrub name the places today, and restore a backup on which it finds nothing."
)
_SWIFT = (
    "A mail scanner may have followed their links; they are stopped all the same. Have the links of these "
    "mails ask before they act (one-click by POST), and let whoever still wants mail consent again."
)
_NO_CONSENT = "Zoho permits them, the ledger knows no consent. Decide whether to ask them, or to stop."


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Something that a person must decide or do; `urgent` where a refusal is not yet carried out."""

    title: str
    count: int
    advice: str
    urgent: bool


def decisions(
    rows: Sequence[Found],
    withdrawals: Sequence[Withdrawal],
    without_consent: int,
    now: datetime,
    *,
    damaged: int = 0,
    left_out: int = 0,
    swift: int = 0,
) -> tuple[Decision, ...]:
    """Return what waits for a person, the urgent first; people count once in each line."""
    waiting = [row for row in rows if row.is_open]
    failed = {row.person for row in waiting if row.action == STOP and row.state == "failed"}
    contested = {row.person for row in waiting if row.action == STOP and row.state == "contested"} - failed
    unwritten = {row.person for row in waiting if row.action == STOP} - failed - contested
    permits = {row.person for row in waiting if row.action == "permit"}
    given_up = sum(one.state == "failed" for one in withdrawals)
    overdue = sum(one.state == "open" and one.is_late(now) for one in withdrawals)
    lines = (
        _urgent("Damaged places in the ledger", damaged, _DAMAGED),
        _urgent("Products that a run could not believe", left_out, _LEFT_OUT),
        _urgent("Stops that Zoho did not accept", len(failed), _FAILED),
        _urgent("Stops that somebody undoes again and again", len(contested), _CONTESTED),
        _urgent("Stops found, but not yet written", len(unwritten), _UNWRITTEN),
        _urgent("Withdrawals given up after errors", given_up, _GIVEN_UP),
        _urgent("Withdrawals past their deadline", overdue, _OVERDUE),
        Decision(title="Re-permissions to approve", count=len(permits), advice=_PERMIT, urgent=False),
        Decision(
            title="Mailable without a known consent", count=without_consent, advice=_NO_CONSENT, urgent=False
        ),
        Decision(title="Withdrawals within seconds of a sending", count=swift, advice=_SWIFT, urgent=False),
        *_reported(waiting),
    )
    return tuple(line for line in lines if line.count)


def _urgent(title: str, count: int, advice: str) -> Decision:
    return Decision(title=title, count=count, advice=advice, urgent=True)


def _reported(waiting: Iterable[Found]) -> list[Decision]:
    counts = Counter(row.kind for row in waiting if row.action == "report")
    return [
        Decision(title=describe(kind).title, count=count, advice=describe(kind).meaning, urgent=False)
        for kind, count in counts.most_common()
    ]

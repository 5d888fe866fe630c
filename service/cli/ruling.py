"""Print what another set of rules would change: counts, reasons, and the first of each kind."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from rich.console import Console

from service.ledger.entry import format_time
from service.reports.ruling import Difference, Moved, Turned
from service.vault.pseudonym import by_subject

Names = Mapping[bytes, str]
NOBODY: Names = MappingProxyType({})


def turning(found: Difference, *, mailable: bool) -> list[Turned]:
    """Return who would become mailable, or no longer be."""
    return [one for one in found.turned if one.mailable is mailable]


def tell(out: Console, found: Difference, limit: int, names: Names = NOBODY) -> None:
    """Print a difference: how many first and why, then the first of each kind by pseudonym, or by name."""
    out.print(
        f"{found.old[:16]} -> {found.new[:16]}, over {found.people:,} people at {format_time(found.at)}"
    )
    kinds = ((True, "would become mailable"), (False, "would no longer be mailable"))
    for mailable, words in kinds:
        out.print(f"{len(turning(found, mailable=mailable)):>9,}  {words}")
        for (kind, why), count in found.reasons.most_common():
            if kind is mailable:
                out.print(f"{count:>13,}  {why}")
    out.print(f"{len(found.moved):>9,}  of {found.withdrawals:,} withdrawals would have another deadline")
    out.print(f"{len(found.newly_late):>9,}  of them would be late")
    for mailable, words in kinds:
        _list(out, words, [_turned(one, names) for one in turning(found, mailable=mailable)], limit)
    _list(out, "would be late", [_moved(one, names) for one in found.newly_late], limit)


def _list(out: Console, words: str, lines: Sequence[str], limit: int) -> None:
    if not lines or limit < 1:
        return
    out.print(f"\n{words}:")
    for line in lines[:limit]:
        out.print(f"  {line}")
    if len(lines) > limit:
        out.print(f"  and {len(lines) - limit:,} more; --json prints everybody")


def _turned(one: Turned, names: Names) -> str:
    return f"{_name(one.subject, names)} {one.purpose}: {one.before} -> {one.after}"


def _moved(one: Moved, names: Names) -> str:
    ends = f"{format_time(one.before)} -> {format_time(one.after)} ({one.rule})"
    return f"{_name(one.subject, names)} entry {one.index}: {ends}"


def _name(sub: bytes, names: Names) -> str:
    pseudonym = by_subject(sub)
    return f"{pseudonym} {names[sub]}" if sub in names else pseudonym


def as_data(found: Difference) -> dict[str, object]:
    """Return a difference as JSON: counts, then everybody by pseudonym."""
    return {
        "old": found.old,
        "new": found.new,
        "at": format_time(found.at),
        "people": found.people,
        "become_mailable": sum(one.mailable for one in found.turned),
        "become_unmailable": sum(not one.mailable for one in found.turned),
        "reasons": [
            {"mailable": mailable, "why": why, "people": count}
            for (mailable, why), count in found.reasons.most_common()
        ],
        "withdrawals": found.withdrawals,
        "deadlines_moved": len(found.moved),
        "newly_late": len(found.newly_late),
        "turned": [
            {
                "subject": one.subject.hex(),
                "purpose": one.purpose,
                "mailable": one.mailable,
                "before": one.before,
                "after": one.after,
                "rule": one.rule,
                "why": one.why,
            }
            for one in found.turned
        ],
        "moved": [
            {
                "subject": one.subject.hex(),
                "entry": one.index,
                "before": format_time(one.before),
                "after": format_time(one.after),
                "rule": one.rule,
                "late": one.late,
                "was_late": one.was_late,
            }
            for one in found.moved
        ],
    }

"""Judge an auditor's bundle with the log's public key alone: good, bad, or incomplete.

Pure: no database, no network, no clock. What contradicts makes the bundle bad, even if something is
missing as well; what is only missing makes it incomplete. `inspection.py` holds the steps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from service.errors import Tampered
from service.ledger.finding import Finding
from service.ledger.inspection import Inspection
from service.ledger.note import Verifier

_NOT_SHOWN = (
    "not shown: completeness (that no entry about this address was left out), and that the directory "
    "leads from the address to these entries, which only the holder of the directory key can compute."
)
_SUMMARY = "history.json is the operator's summary: signed, but not itself proven."


class State(StrEnum):
    """What a bundle is worth."""

    GOOD = "good"
    BAD = "bad"
    INCOMPLETE = "incomplete"


EXIT_CODES = {State.GOOD: 0, State.BAD: 1, State.INCOMPLETE: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The judgement, the first thing that is wrong with its place, and what was checked until then.

    `checked` counts, in words for people. `finding` says whether nothing was left out, None where the
    bundle does not claim it, or is not good. `origin` and `size` are those of the verified checkpoint,
    None if it was not reached.
    """

    state: State
    reason: str
    origin: str | None
    size: int | None
    checked: Mapping[str, int]
    finding: Finding | None = None

    @property
    def complete(self) -> bool:
        """Whether this is shown to be everything about the address, as of the checkpoint."""
        return self.finding is not None and self.finding.complete

    @property
    def exit_code(self) -> int:
        """What a program exits with: 0 good, 1 bad, 2 incomplete."""
        return EXIT_CODES[self.state]

    def report(self) -> str:
        """Return the verdict for people, several lines, the state first."""
        aside = " (completeness not shown)" if self.state is State.GOOD and not self.complete else ""
        lines = [f"{self.state}{aside}: {self.reason}"]
        if self.origin is not None:
            lines.append(f"log: {self.origin}, {self.size} entries at the checkpoint")
        lines += [f"checked: {count} {what}" for what, count in self.checked.items()]
        completeness = _NOT_SHOWN if self.finding is None else self.finding.words()
        return "\n".join([*lines, completeness, _SUMMARY, ""])


def verify_bundle(data: bytes, log_vkey: str | Sequence[str], directory_key: bytes | None = None) -> Verdict:
    """Return the verdict on the bytes of a bundle file.

    `log_vkey` is the log's public key, or several of one log whose key changed, got on another way than
    with the bundle; keys to which they handed over are followed. Raises `Malformed` for what is no key.
    `directory_key` is what an auditor under contract holds: with it, the verdict says whether the address
    leads to these entries and to no others. Whatever the bytes are, the answer is a verdict.
    """
    vkeys = [log_vkey] if isinstance(log_vkey, str) else list(log_vkey)
    inspection = Inspection([Verifier.from_vkey(vkey) for vkey in vkeys], directory_key)
    state, reason = State.GOOD, "every signature, proof and opening holds"
    try:
        inspection.run(data)
    except Tampered as error:  # elsewhere never caught; here the judgement is the answer that was asked for
        state, reason = State.BAD, str(error)
    else:
        if inspection.missing:
            state, reason = State.INCOMPLETE, f"{inspection.missing[0]} is missing; what is here holds"
    head = inspection.checkpoint
    return Verdict(
        state=state,
        reason=reason,
        origin=head.origin if head else None,
        size=head.size if head else None,
        checked=dict(inspection.checked),
        finding=inspection.finding if state is State.GOOD else None,
    )

"""What a bundle stands on: the checkpoint it is made over, and what others said about it and its moment.

Reads only. The newest published checkpoint that holds every entry of the bundle is best, since witnesses
and time-stamping authorities attest published ones; the signed head of the last batch is always there.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection

from service.intake import Intake
from service.ledger import anchors, merkle
from service.ledger.anchors import TimeStamp
from service.ledger.bracket import Anchor, Bracket
from service.ledger.members import bracket_name, encode_path, stamp_name
from service.ledger.note import Verifies
from service.ledger.proof import open_checkpoint, sign_checkpoint
from service.ledger.publication import latest
from service.ledger.replay.attested import signed_by

_CANDIDATES: Final = 5  # newest cosigned sizes: the best attested of them is taken, at most a minute old

_UNFIT = re.compile(r"[^a-zA-Z0-9.-]")  # for a member's name


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """A checkpoint of `size` as a note, and further members of the bundle by their names."""

    note: bytes
    size: int
    beside: dict[str, bytes] = field(default_factory=dict)


def find_ground(
    intake: Intake, tx: Connection, head: bytes, *, reach: int, bracket: Bracket | None = None
) -> Ground:
    """Return the best checkpoint of `reach` entries or more, up to the verified `head`.

    With a `bracket` also the two checkpoints around its moment, each with its line or time stamp and the
    proof that the first is part of the second.
    """
    ends = {} if bracket is None else {"before": bracket.before, "after": bracket.after}
    around = {role: end for role, end in ends.items() if end is not None}
    reach = max([reach, *(end.size for end in around.values())])
    note, size = _published(tx, reach, intake.keys.log.verifier) or _head(intake, head)
    stamps = [stamp for stamp in anchors.time_stamps(tx, above=reach - 1) if stamp.size == size]
    beside = _stamped(stamps)
    for role, end in around.items():
        beside |= _bracketed(intake, tx, role, end, size)
    return Ground(note=note, size=size, beside=beside)


def _published(tx: Connection, reach: int, key: Verifies) -> tuple[bytes, int] | None:
    """Return the published checkpoint with the most witnesses among the newest, then the newest of all."""
    newest = latest(tx)
    sizes = anchors.cosigned_sizes(tx, above=reach - 1)[:_CANDIDATES]
    lines = anchors.cosigned(tx, sizes, newest=True)
    ranked = sorted(sizes, key=lambda size: (len(lines[size]), size), reverse=True)
    found = [(anchors.published_note(tx, size), size) for size in ranked]
    found += [] if newest is None or newest.size < reach else [(newest.note, newest.size)]
    for note, size in found:
        if note is not None and signed_by(note, [key]):
            return anchors.dressed(tx, size, note), size
    return None


def _head(intake: Intake, head: bytes) -> tuple[bytes, int]:
    """Return the head with a line by today's key: the last one before a key was handed over has none."""
    found = open_checkpoint(head, intake.keys.log_verifiers)
    if signed_by(head, [intake.keys.log.verifier]):
        return head, found.size
    return sign_checkpoint(found, intake.keys.heads), found.size


def _bracketed(intake: Intake, tx: Connection, role: str, anchor: Anchor, size: int) -> dict[str, bytes]:
    """Return the members that show one end of a bracket: checkpoint, consistency proof, line or stamp."""
    note = anchors.published_note(tx, anchor.size)
    if note is None:
        return {}
    lines = anchors.lines_at(tx, anchor.size, anchor.at)
    stamps = [one for one in anchors.time_stamps(tx, above=anchor.size - 1) if _is(one, anchor)]
    path = merkle.consistency_proof(anchor.size, size, intake.store.reader(tx))
    return {
        bracket_name(role, "checkpoint"): note + b"".join(lines),
        bracket_name(role, "consistency"): encode_path(path),
        **_stamped(stamps),
    }


def _is(stamp: TimeStamp, anchor: Anchor) -> bool:
    return (stamp.size, stamp.at) == (anchor.size, anchor.at)


def _stamped(stamps: Sequence[TimeStamp]) -> dict[str, bytes]:
    return dict(member for stamp in stamps for member in _members(stamp))


def _members(stamp: TimeStamp) -> Iterator[tuple[str, bytes]]:
    stem = f"{stamp.size}-{stamp.at:%Y%m%dT%H%M%SZ}-{_UNFIT.sub('-', stamp.authority)}"
    for ending, data in (("checkpoint", stamp.note), ("tsr", stamp.reply), ("pem", stamp.chain)):
        yield stamp_name(stem, ending), data

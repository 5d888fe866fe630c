"""Where a log ended that goes on in a successor: at its last entry, or where a restored backup stops.

The second is for a newest database that is lost for good. What stands in the backup is carried over, and the
successor's first entry says which checkpoint of the old log nobody can prove any more.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass

from service.errors import Unsafe
from service.intake import Intake
from service.ledger.canonical import Json
from service.ledger.fence import Fence
from service.ledger.proof import open_checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The last signed checkpoint that the old database holds; what is known of the log beyond it, if lost."""

    before: bytes
    lost: Mapping[str, Json] | None = None


def final_note(old: Intake) -> bytes:
    """Return the final checkpoint of a frozen log; `Unsafe` for one that still takes entries."""
    with old.db.read() as tx:
        if not old.store.frozen(tx):
            raise Unsafe(
                "freeze the log first: a successor begins where it ended. A log that is read-only because "
                "its newest database was lost is continued with --lost"
            )
        return old.store.head(tx)


def lost_end(old: Intake, fence: Fence) -> Ending:
    """Return where a read-only log ends; the log itself gets no entry.

    Names the largest tree that others know and that contradicts the database: who knows it, its size and
    root, and the signed checkpoint where the fence holds it. Raises `Unsafe` where nothing contradicts it.
    """
    seen = old.store.guard.against
    if seen is None:
        raise Unsafe("nothing that is known of this log outside is missing here; freeze it first instead")
    with old.db.read() as tx:
        before = old.store.head(tx)
    known, checkpoint = fence.read(), None
    if known is not None and (known.size, known.root) == (seen.size, seen.root):
        checkpoint = _base64(fence.path.read_bytes())
    lost = {
        "checkpoint": checkpoint,
        "restored": open_checkpoint(before, old.keys.log_verifiers).size,
        "root": None if seen.root is None else _base64(seen.root),
        "size": seen.size,
        "who": seen.who,
    }
    return Ending(before=before, lost={name: value for name, value in lost.items() if value is not None})


def require_ended(old: Intake) -> None:
    """Raise `Unsafe` for a log that takes entries, which a successor would miss."""
    if old.trouble is None:
        final_note(old)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()

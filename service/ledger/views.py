"""Tell whether two views of one log agree (c2sp.org/tlog-checkpoint: no fork is ever signed).

Pure. For whoever holds a checkpoint or a receipt from earlier, or from somebody else, and can read the
log's stored hashes: two heads of one size with different roots are a split view, however each is signed.
"""

from enum import StrEnum

from service.ledger import merkle
from service.ledger.merkle import Read
from service.ledger.proof import Checkpoint


class View(StrEnum):
    """How a checkpoint stands to the log; the value is what a person reads."""

    SAME = "the log continues it"
    FORK = "the log holds other entries up to that size"
    AHEAD = "the log is shorter than it"
    FOREIGN = "it is of another log"


def compare(seen: Checkpoint, log: Checkpoint, read: Read) -> View:
    """Return how a (verified) checkpoint stands to the log whose newest one is `log`.

    `read` reads that log's stored hashes; `Tampered` if they are missing.
    """
    if seen.origin != log.origin:
        return View.FOREIGN
    if seen.size > log.size:
        return View.AHEAD
    if seen.size == log.size:
        return View.SAME if seen.root == log.root else View.FORK
    return View.SAME if merkle.root(seen.size, read) == seen.root else View.FORK

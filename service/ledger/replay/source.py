"""Where the files of a published log come from: a folder, a web server, anything that has paths."""

from collections.abc import Callable, Iterator
from typing import Final, Protocol

from service.ledger.entry import MAX_ENTRY_BYTES
from service.ledger.replay.piece import Found, Piece
from service.ledger.tiles import WIDTH

MAX_FILE_BYTES: Final = WIDTH * (MAX_ENTRY_BYTES + 2)
"""The longest file that a log can have: a full tile of the longest entries."""


class Source(Protocol):
    """The files of one log by their path, like `tile/0/x001/067`."""

    @property
    def promised(self) -> tuple[str, ...]:
        """The files that stand beside the log here and must not be missing, such as `policy.txt`."""

    def read(self, path: str) -> bytes | None:
        """Return a file's bytes, None where there is none; never more than `MAX_FILE_BYTES` and one."""

    def paths(self, below: str) -> Iterator[str]:
        """Yield the paths of all files below a folder, sorted; nothing where files cannot be listed."""


Submit = Callable[[Piece], Callable[[], Found]]
"""Begin to check a piece, on whatever core is free; what it returns waits for the result."""

Progress = Callable[[int, int], None]
"""Told after each step how many entries were checked, and how many there are."""

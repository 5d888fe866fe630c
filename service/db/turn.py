"""Whose turn it is to write a SQLite file: processes queue on a lock beside it.

SQLite lets one process write and has the others look again after ever longer pauses, up to a tenth of a
second, in which the next batch could have been written. Nothing depends on this lock but who waits how
long: SQLite's own still decides, so whoever cannot have it goes on without.
"""

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from typing import Final

PATIENCE_S: Final = 30.0
"""As long as SQLite's own; somebody stopped in the middle must not hold up everybody for ever."""
AGAIN_S: Final = 0.001


class Turn:
    """The lock of one SQLite file, `<file>-turn`; None of it for a database in memory."""

    def __init__(self, path: str | None) -> None:
        self._inside = threading.RLock()  # the file's lock tells processes apart, not threads
        self._handle: int | None = None
        if path and path != ":memory:":
            with contextlib.suppress(OSError):
                self._handle = os.open(f"{path}-turn", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for our turn, and end it with the block."""
        if self._handle is None or not self._inside.acquire(timeout=PATIENCE_S):
            yield
            return
        try:
            self._wait(self._handle)
            yield
        finally:
            fcntl.flock(self._handle, fcntl.LOCK_UN)
            self._inside.release()

    def close(self) -> None:
        """Let go of the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _wait(self, handle: int) -> None:
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            try:
                return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(AGAIN_S)
        return None

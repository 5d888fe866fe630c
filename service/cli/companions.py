"""Several processes that answer at one address: this one, and companions that it starts, watches and ends.

Each has its own connection to the database and its own sequencer; the lock on the log's head decides
whose batch comes next. A companion ends when the pipe that it was given closes, so none outlives us.
"""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import structlog

LOOK_S: Final = 0.1
"""How often we look whether a companion still lives, and whether we leave."""
AGAIN_S: Final = 1.0
"""How long we wait before a companion that ended by itself is started again."""

log = structlog.get_logger()


@contextmanager
def companions(count: int, *options: str) -> Iterator[None]:
    """Keep this many more processes of `consent-ledger serve` running until the block ends."""
    command = [sys.executable, "-m", "service", "serve", "--companion", *options]
    leaving = threading.Event()
    keepers = [
        threading.Thread(target=_keep, args=(command, leaving), name="companion") for _ in range(count)
    ]
    for keeper in keepers:
        keeper.start()
    try:
        yield
    finally:
        leaving.set()
        for keeper in keepers:
            keeper.join()


def leave_with_parent() -> None:
    """End this process in good order once the one that started it is gone or leaves."""
    threading.Thread(target=_wait_for_end, name="parent", daemon=True).start()


def _keep(command: Sequence[str], leaving: threading.Event) -> None:
    while not leaving.is_set():
        with subprocess.Popen(command, stdin=subprocess.PIPE) as process:  # noqa: S603  # our own program
            while process.poll() is None and not leaving.wait(LOOK_S):
                pass
        if not leaving.is_set():
            log.error("companion.ended", code=process.returncode)
            leaving.wait(AGAIN_S)


def _wait_for_end() -> None:
    sys.stdin.buffer.read()
    signal.raise_signal(signal.SIGTERM)

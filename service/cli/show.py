"""How commands speak: progress on a terminal, plain lines elsewhere, logs on standard error."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

import structlog
from rich.console import Console
from rich.status import Status

Progress = Callable[[str, int, int], None]


def console(*, quiet: bool = False) -> Console:
    """Return where people read: standard output, or nowhere while a program reads it."""
    return Console(quiet=quiet, highlight=False, soft_wrap=not sys.stdout.isatty())


@contextmanager
def steps(out: Console, *, quiet: bool = False, stream: TextIO = sys.stderr) -> Iterator[Progress]:
    """Yield a progress callback: a moving line on a terminal, one line per step elsewhere."""
    if quiet:
        yield lambda _step, _done, _total: None
    elif out.is_terminal:
        with out.status("starting") as status:
            yield lambda step, done, total: _move(status, step, done, total)
    else:
        seen: set[str] = set()
        yield lambda step, done, total: _line(stream, seen, step, done or total)


def _move(status: Status, step: str, done: int, total: int) -> None:
    count = f" {done:,}" if done else ""
    status.update(f"{step}{count}{f' of {total:,}' if total > done else ''}")


def _line(stream: TextIO, seen: set[str], step: str, count: int) -> None:
    if step not in seen:
        seen.add(step)
        stream.write(f"{step} {count:,}\n" if count else f"{step}\n")


def log_from(level: str) -> None:
    """Send our log as lines of JSON, and those of libraries, to standard error.

    No line carries an address, a token or a body; libraries that log requests are held back to
    warnings, because their lines carry URLs.
    """
    number = logging.getLevelNamesMapping()[level]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,  # lines are few, and whoever captures them must see all
    )
    logging.basicConfig(
        stream=sys.stderr, level=max(number, logging.WARNING), format="%(levelname)s %(name)s: %(message)s"
    )

"""Check pieces of a log on every core of the machine."""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Final

from service.ledger.replay.judge import at_once
from service.ledger.replay.piece import Found, Piece, check
from service.ledger.replay.source import Submit

SMALL: Final = 16
"""Pieces (4,096 entries, half a second) that this process checks itself: starting others takes as long."""


@contextmanager
def cores(count: int | None = None) -> Iterator[Submit]:
    """Yield what checks pieces on `count` processes (default: one per core); small logs on this one.

    Processes are begun anew, not forked: a progress bar runs in a thread here.
    """
    workers = count or os.cpu_count() or 1
    if workers == 1:
        yield at_once
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=workers, mp_context=context) as pool:

        def submit(piece: Piece) -> Callable[[], Found]:
            return at_once(piece) if piece.index < SMALL else pool.submit(check, piece).result

        yield submit

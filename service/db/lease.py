"""Leases in rows: who does something for others keeps a row theirs by renewing it, and loses it by dying."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy.exc import DBAPIError

log = structlog.get_logger(__name__)


@contextmanager
def kept(renew: Callable[[], object], *, every_s: float, event: str, **told: str) -> Iterator[None]:
    """Renew a lease from another thread for as long as the context lasts.

    A renewal that the database refuses is logged as `event`, with what is `told`, and tried again the next
    time: a lease outlasts a few of them.
    """
    ended = threading.Event()

    def keep() -> None:
        while not ended.wait(every_s):
            try:
                renew()
            except DBAPIError as error:
                log.warning(event, kind=type(error).__name__, **told)

    thread = threading.Thread(target=keep, name="lease")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()

"""Waking the worker the moment something waits for it, instead of at its next look.

A bell is rung by whoever commits a task or a hint in this process; on PostgreSQL the database itself rings
it for those of all other processes. A bell that is missed costs no more than the pause until the next look.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psycopg
import structlog
from psycopg import sql

from service.db import Database

log = structlog.get_logger(__name__)

HEAR_S = 1.0
"""How long one wait for the database's word lasts, so that the listener can end."""
AGAIN_S = 5.0
"""How long after a lost connection the next one is tried; until then the worker looks by itself."""


class Bell:
    """Rings once for any number of pulls; who waits hears it, and who comes later hears it too."""

    def __init__(self) -> None:
        self._rung = threading.Event()

    def ring(self) -> None:
        """Wake whoever waits, or will wait next."""
        self._rung.set()

    def wait(self, seconds: float) -> bool:
        """Return whether the bell rang, now or since the last wait, within so long."""
        heard = self._rung.wait(seconds)
        self._rung.clear()
        return heard


@contextmanager
def listening(db: Database, bells: Mapping[str, Bell], *, again_s: float = AGAIN_S) -> Iterator[None]:
    """Ring the bell of a table whenever anybody commits a row to it, while the context lasts.

    SQLite tells nobody anything: there this does nothing.
    """
    if db.dialect != "postgresql":
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_listen, args=(db, bells, ended, again_s), name="listen")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _listen(db: Database, bells: Mapping[str, Bell], ended: threading.Event, again_s: float) -> None:
    url = db.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    while not ended.is_set():
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                _hear(connection, bells, ended)
        except psycopg.Error as error:
            log.warning("listen.failed", kind=type(error).__name__)
            ended.wait(again_s)


def _hear(
    connection: "psycopg.Connection[tuple[object, ...]]", bells: Mapping[str, Bell], ended: threading.Event
) -> None:
    for table, bell in bells.items():
        connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(f"consent_{table}")))
        bell.ring()  # something may have come while nobody listened
    while not ended.is_set():
        for told in connection.notifies(timeout=HEAR_S, stop_after=1):
            bells[told.channel.removeprefix("consent_")].ring()

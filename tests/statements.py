"""SQL that was compiled for one test's database serves the next: a third of a short test's time.

A service has one engine and compiles each statement once; tests have an engine each.
"""

from sqlalchemy import Connection, Dialect, Engine, event
from sqlalchemy.util import LRUCache

ROOM = 2_000
"""Statements kept, of some 20 KiB each."""

_dialects: dict[object, Dialect] = {}
_compiled: LRUCache = LRUCache(ROOM)


def share() -> None:
    """Let all engines of this process share what they compile, by kind and version of the server."""
    event.listen(Engine, "engine_connect", _share)


def _share(connection: Connection) -> None:
    """Compiled SQL is found by its dialect, so databases of one kind have one; set up by its first engine."""
    own = connection.dialect
    connection.dialect = _dialects.setdefault((own.name, own.driver, own.server_version_info), own)
    connection.execution_options(compiled_cache=_compiled)

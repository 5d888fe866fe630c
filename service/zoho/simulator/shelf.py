"""Small documents that the simulator keeps beside its tables: channels, jobs, preferences, settings.

They live in the same SQLite file as everything else, so that a restart keeps them.
"""

from collections.abc import Mapping
from sqlite3 import Connection
from typing import Any

import msgspec

Json = dict[str, Any]


def put(db: Connection, kind: str, key: str, body: Mapping[str, object]) -> None:
    """Write a document, whether or not there was one; its place in the order stays."""
    db.execute(
        "INSERT INTO documents (kind, key, body) VALUES (?, ?, ?)"
        " ON CONFLICT (kind, key) DO UPDATE SET body = excluded.body",
        (kind, key, msgspec.json.encode(body)),
    )


def get(db: Connection, kind: str, key: str) -> Json | None:
    """Return a document, None if there is none."""
    row = db.execute("SELECT body FROM documents WHERE kind = ? AND key = ?", (kind, key)).fetchone()
    return None if row is None else msgspec.json.decode(row[0], type=Json)


def drop(db: Connection, kind: str, key: str) -> bool:
    """Forget a document; return whether there was one."""
    return db.execute("DELETE FROM documents WHERE kind = ? AND key = ?", (kind, key)).rowcount > 0


def every(db: Connection, kind: str) -> list[tuple[str, Json]]:
    """Return key and body of all documents of a kind, oldest first."""
    rows = db.execute("SELECT key, body FROM documents WHERE kind = ? ORDER BY id", (kind,))
    return [(key, msgspec.json.decode(body, type=Json)) for key, body in rows.fetchall()]

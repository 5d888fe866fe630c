"""The simulator's memory: SQLite tables of both products, in memory unless a file is named."""

import sqlite3
from pathlib import Path

from service.zoho.simulator.crm.fields import MODULES, SQL_TYPES

CAMPAIGNS_TABLES = """
CREATE TABLE contacts (
    id INTEGER PRIMARY KEY,
    email TEXT NOT NULL UNIQUE COLLATE NOCASE,
    first_name TEXT, last_name TEXT, company TEXT, phone TEXT, country TEXT,
    permission TEXT,
    dnm TEXT,
    dnm_at INTEGER,
    hard_bounced INTEGER NOT NULL DEFAULT 0,
    soft_bounces INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
);
CREATE INDEX contacts_permission ON contacts (permission, id);
CREATE TABLE lists (
    id INTEGER PRIMARY KEY, listkey TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
    signup_form INTEGER NOT NULL, created_at INTEGER NOT NULL
);
CREATE TABLE members (
    list_id INTEGER NOT NULL, contact_id INTEGER NOT NULL, status TEXT NOT NULL, added_at INTEGER NOT NULL,
    PRIMARY KEY (list_id, contact_id)
) WITHOUT ROWID;
CREATE INDEX members_status ON members (list_id, status, contact_id, added_at);
CREATE INDEX members_contact ON members (contact_id);
CREATE TABLE topic_optouts (
    contact_id INTEGER NOT NULL, topic_id TEXT NOT NULL, PRIMARY KEY (contact_id, topic_id)
) WITHOUT ROWID;
CREATE TABLE campaigns (
    id INTEGER PRIMARY KEY, campaign_key TEXT NOT NULL UNIQUE, name TEXT NOT NULL, subject TEXT NOT NULL,
    sent_at INTEGER NOT NULL, kind TEXT NOT NULL, parent_id INTEGER, position INTEGER NOT NULL
);
CREATE TABLE outcomes (
    campaign_id INTEGER NOT NULL, action TEXT NOT NULL, contact_id INTEGER NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (campaign_id, action, contact_id)
) WITHOUT ROWID;
"""

CRM_TABLES = """
CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, email TEXT NOT NULL);
CREATE TABLE timeline (
    id INTEGER PRIMARY KEY, module TEXT NOT NULL, record_id INTEGER NOT NULL, audited_at INTEGER NOT NULL,
    action TEXT NOT NULL, source TEXT NOT NULL, done_by INTEGER NOT NULL, history TEXT NOT NULL
);
CREATE INDEX timeline_record ON timeline (record_id, audited_at);
CREATE TABLE deleted (
    id INTEGER PRIMARY KEY, module TEXT NOT NULL, type TEXT NOT NULL, display_name TEXT,
    deleted_at INTEGER NOT NULL, deleted_by INTEGER, created_by INTEGER
);
CREATE TABLE automations (
    id INTEGER PRIMARY KEY, module TEXT NOT NULL, record_id INTEGER NOT NULL, kind TEXT NOT NULL,
    at INTEGER NOT NULL
);
CREATE TABLE tags (
    module TEXT NOT NULL, record_id INTEGER NOT NULL, name TEXT NOT NULL,
    PRIMARY KEY (record_id, name, module)
) WITHOUT ROWID;
CREATE TABLE notes (
    id INTEGER PRIMARY KEY, module TEXT NOT NULL, record_id INTEGER NOT NULL, title TEXT,
    content TEXT NOT NULL, created_at INTEGER NOT NULL, created_by INTEGER NOT NULL
);
CREATE TABLE mails (
    id INTEGER PRIMARY KEY, module TEXT NOT NULL, record_id INTEGER NOT NULL, address TEXT NOT NULL,
    subject TEXT NOT NULL, sent_at INTEGER NOT NULL, bounced_at INTEGER, category TEXT, reason TEXT
);
CREATE INDEX mails_record ON mails (record_id, sent_at);
CREATE TABLE blocked (
    module TEXT NOT NULL, record_id INTEGER NOT NULL, field TEXT NOT NULL,
    PRIMARY KEY (record_id, field, module)
) WITHOUT ROWID;
"""

SHELF_TABLES = """
CREATE TABLE documents (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL, UNIQUE (kind, key)
);
CREATE TABLE files (id TEXT PRIMARY KEY, name TEXT NOT NULL, body BLOB NOT NULL);
"""

TRUTH_TABLE = """
CREATE TABLE truth (key TEXT NOT NULL, email TEXT NOT NULL, PRIMARY KEY (key, email)) WITHOUT ROWID;
"""


def connect(path: str = ":memory:") -> sqlite3.Connection:
    """Return a connection to the organisation in `path`, an empty one if the file is new.

    Every statement is its own transaction unless begun.
    """
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = OFF")
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'truth'").fetchone() is None:
        db.executescript(CAMPAIGNS_TABLES + CRM_TABLES + SHELF_TABLES + TRUTH_TABLE + _record_tables())
    return db


def wipe(path: str) -> None:
    """Remove a world's file, if it has one."""
    if path != ":memory:":
        for suffix in ("", "-wal", "-shm"):
            Path(path + suffix).unlink(missing_ok=True)


def _record_tables() -> str:
    statements = []
    for module, fields in MODULES.items():
        columns = ", ".join(f"{f.api_name} {SQL_TYPES[f.kind]}" for f in fields.values() if f.stored)
        statements.append(f"CREATE TABLE crm_{module} ({columns});")
        statements.append(f"CREATE TABLE converted_{module} ({columns});")
        statements.append(f"CREATE TABLE stale_{module} ({columns}, hidden INTEGER, fresh_at INTEGER);")
        statements += [
            f"CREATE INDEX crm_{module}_{name} ON crm_{module} ({name});"
            for name in ("Email", "Secondary_Email", "Modified_Time", "Created_Time")
        ]
    return "\n".join(statements)

"""Tables of the one database, and the two ways into it: `begin` to write, `read` to look.

The edge opens a transaction; nothing below it commits. Ledger tables (`leaf`, `node`, `dedupe`)
refuse UPDATE, DELETE and TRUNCATE in the database itself (migration 0001). What can be erased
stands in tables of its own, without foreign keys from the ledger. Everything that is derived can
be rebuilt from entries, payloads and a fresh read of the products.
"""

from service.db.access import account, api_key, session
from service.db.audits import audit
from service.db.columns import EPOCH, KEYED, Int, Moment, Small, metadata, to_milliseconds
from service.db.connection import zoho_connection, zoho_token
from service.db.consent import happening, policy_set, standing, task
from service.db.engine import Begin, Database, engine_from_url
from service.db.forgetting import directory_next, erasure, key_change, suppression
from service.db.harm import harm, harm_look, harm_window, mailing_scan
from service.db.hints import channel, hint
from service.db.index import index_node, index_row, index_state
from service.db.ledger import (
    LEDGER_TABLES,
    checkpoint,
    cosignature,
    dedupe,
    leaf,
    log_state,
    node,
    time_stamp,
)
from service.db.looks import look
from service.db.mirrors import contact, crm_address, crm_record, member, outcome
from service.db.plans import approval, breaker, canary, plan
from service.db.quota import quota_account, quota_block
from service.db.rows import CHUNK, batches, chunks, insert_all, insert_rows, rows_between, rows_in
from service.db.runs import attestor, change, drift, mailing, run, tick
from service.db.schema import MIGRATIONS, begun, exists, migrate, require_current
from service.db.triggering import triggering
from service.db.vault import payload, subject, subject_key

__all__ = [
    "CHUNK",
    "EPOCH",
    "KEYED",
    "LEDGER_TABLES",
    "MIGRATIONS",
    "Begin",
    "Database",
    "Int",
    "Moment",
    "Small",
    "account",
    "api_key",
    "approval",
    "attestor",
    "audit",
    "batches",
    "begun",
    "breaker",
    "canary",
    "change",
    "channel",
    "checkpoint",
    "chunks",
    "contact",
    "cosignature",
    "crm_address",
    "crm_record",
    "dedupe",
    "directory_next",
    "drift",
    "engine_from_url",
    "erasure",
    "exists",
    "happening",
    "harm",
    "harm_look",
    "harm_window",
    "hint",
    "index_node",
    "index_row",
    "index_state",
    "insert_all",
    "insert_rows",
    "key_change",
    "leaf",
    "log_state",
    "look",
    "mailing",
    "mailing_scan",
    "member",
    "metadata",
    "migrate",
    "node",
    "outcome",
    "payload",
    "plan",
    "policy_set",
    "quota_account",
    "quota_block",
    "require_current",
    "rows_between",
    "rows_in",
    "run",
    "session",
    "standing",
    "subject",
    "subject_key",
    "suppression",
    "task",
    "tick",
    "time_stamp",
    "to_milliseconds",
    "triggering",
    "zoho_connection",
    "zoho_token",
]

"""Tables of the one database, and the two ways into it: `begin` to write, `read` to look.

The edge opens a transaction; nothing below it commits. Ledger tables (`leaf`, `node`, `dedupe`)
refuse UPDATE, DELETE and TRUNCATE in the database itself (migration 0001). What can be erased
stands in tables of its own, without foreign keys from the ledger. Everything under "derived" can
be rebuilt from entries, payloads and a fresh read of the products.
"""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg import Connection as PsycopgConnection
from psycopg.errors import Diagnostic
from sqlalchemy import (
    URL,
    BigInteger,
    Column,
    Connection,
    Dialect,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Named,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    TypedColumns,
    TypeDecorator,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from service.errors import Misconfigured

Begin = Callable[[], AbstractContextManager[Connection]]
"""How the edge starts a transaction: `Database.begin` or `Database.read`."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CHUNK = 500  # values asked for in one statement; SQLite takes 32,766 parameters, planners prefer fewer

_DAY_MS = 86_400_000
_UNREPLICATED = "unreplicated"
_WIDEST = 64  # rows of one statement on SQLite; a power of two
T = TypeVar("T")
MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"

Int = BigInteger().with_variant(Integer, "sqlite")
Small = SmallInteger().with_variant(Integer, "sqlite")
"""Integers that SQLite's STRICT tables accept too."""


def to_milliseconds(moment: datetime | None) -> int | None:
    """Return a time as it is stored; what is finer than a millisecond is cut."""
    if moment is None:
        return None
    since = moment - EPOCH
    return since.days * _DAY_MS + since.seconds * 1000 + since.microseconds // 1000


class Moment(TypeDecorator[datetime]):
    """An aware UTC time, stored as whole milliseconds since 1970 so that both stores agree on it."""

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:  # noqa: ANN401  # SQLAlchemy's own signature
        """Return the integer type of this store."""
        return dialect.type_descriptor(Integer() if dialect.name == "sqlite" else BigInteger())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002  # theirs
        """Return the milliseconds of a time; what is finer is cut."""
        return to_milliseconds(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  # theirs
        """Return the time of these milliseconds."""
        return None if value is None else EPOCH + timedelta(milliseconds=value)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# --- the ledger: append-only ------------------------------------------------------------------


class LogStateColumns(TypedColumns):
    """One row per log: how long it is, its right edge, its signed head. Locked by every append."""

    log_id: Named[int] = Column(Small, primary_key=True, autoincrement=False)
    origin: Named[str] = Column(Text, nullable=False, unique=True)
    size: Named[int] = Column(Int, nullable=False)
    edge: Named[bytes] = Column(LargeBinary, nullable=False)
    head: Named[bytes] = Column(LargeBinary, nullable=False)
    generation: Named[int] = Column(Int, nullable=False, server_default="0")
    """How often the keys changed; a process whose keys are of another generation reads them again."""
    erasures: Named[int] = Column(Int, nullable=False, server_default="0")
    """How many persons were erased; what was prepared before the last of them is prepared again."""
    frozen: Named[int] = Column(Small, nullable=False, server_default="0")
    """1 once the log has its last entry."""


class LeafColumns(TypedColumns):
    """Entries as they were signed; on PostgreSQL a CHECK hashes each again (tlog.md 3.6)."""

    log_id: Named[int] = Column(Small)
    idx: Named[int] = Column(Int)
    hash: Named[bytes] = Column(LargeBinary, nullable=False)
    entry: Named[bytes] = Column(LargeBinary, nullable=False)


class NodeColumns(TypedColumns):
    """Roots of full subtrees of 256**level leaves, level 1 and above; level 0 is `leaf.hash`."""

    log_id: Named[int] = Column(Small)
    level: Named[int] = Column(Small)
    idx: Named[int] = Column(Int)
    hash: Named[bytes] = Column(LargeBinary, nullable=False)


class DedupeColumns(TypedColumns):
    """One row per idempotency key ever used; `key` is keyed, `request` tells a retry from a reuse."""

    log_id: Named[int] = Column(Small)
    key: Named[bytes] = Column(LargeBinary)
    request: Named[bytes] = Column(LargeBinary, nullable=False)
    idx: Named[int] = Column(Int, nullable=False)
    size: Named[int] = Column(Int, nullable=False)
    """The tree size of the receipt, so that a retry gets the same receipt again."""
    digest: Named[bytes] = Column(LargeBinary, nullable=False)
    """`store.dedupe_digest` of the rest, because no other row tells what a damaged one held."""


class CheckpointColumns(TypedColumns):
    """Checkpoints as they were published, all signature lines included; the last one is what is served."""

    log_id: Named[int] = Column(Small)
    number: Named[int] = Column(Int)
    """0, 1, 2 ... without gaps; an idle log publishes the same size again."""
    size: Named[int] = Column(Int, nullable=False)
    root: Named[bytes] = Column(LargeBinary, nullable=False)
    note: Named[bytes] = Column(LargeBinary, nullable=False)
    published_at: Named[datetime] = Column(Moment, nullable=False)


class CosignatureColumns(TypedColumns):
    """Witnesses' lines under published checkpoints, each checked before it came here."""

    log_id: Named[int] = Column(Small)
    size: Named[int] = Column(Int)
    witness: Named[str] = Column(Text)
    """`witness.identity` of the key."""
    at: Named[datetime] = Column(Moment)
    """The time that the witness states."""
    line: Named[bytes] = Column(LargeBinary, nullable=False)


class TimeStampColumns(TypedColumns):
    """RFC 3161 replies over published checkpoints, each checked before it came here."""

    log_id: Named[int] = Column(Small)
    authority: Named[str] = Column(Text)
    at: Named[datetime] = Column(Moment)
    """The time that the token states."""
    size: Named[int] = Column(Int)
    note: Named[bytes] = Column(LargeBinary, nullable=False)
    """The bytes that were stamped."""
    reply: Named[bytes] = Column(LargeBinary, nullable=False)
    chain: Named[bytes] = Column(LargeBinary, nullable=False)
    """The authority's certificates, PEM, as they were believed on that day."""


log_state = Table("log_state", metadata, LogStateColumns, sqlite_strict=True)
_KEYED: dict[str, Any] = {"sqlite_strict": True, "sqlite_with_rowid": False}
"""Without SQLite's hidden rowid, by which INSERT OR REPLACE could reach a row past the guard of its key."""
leaf = Table("leaf", metadata, LeafColumns, PrimaryKeyConstraint("log_id", "idx"), **_KEYED)
node = Table("node", metadata, NodeColumns, PrimaryKeyConstraint("log_id", "level", "idx"), **_KEYED)
dedupe = Table("dedupe", metadata, DedupeColumns, PrimaryKeyConstraint("log_id", "key"), **_KEYED)

checkpoint = Table(
    "checkpoint",
    metadata,
    CheckpointColumns,
    PrimaryKeyConstraint("log_id", "number"),
    Index("ix_checkpoint_log_id_size", "log_id", "size"),
    **_KEYED,
)

cosignature = Table(
    "cosignature",
    metadata,
    CosignatureColumns,
    PrimaryKeyConstraint("log_id", "size", "witness", "at"),
    **_KEYED,
)
time_stamp = Table(
    "time_stamp",
    metadata,
    TimeStampColumns,
    PrimaryKeyConstraint("log_id", "authority", "at", "size"),
    Index("ix_time_stamp_log_id_size", "log_id", "size"),
    **_KEYED,
)

LEDGER_TABLES = ("leaf", "node", "dedupe", "checkpoint", "cosignature", "time_stamp")
_CHANGES = (sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE)
_RAZING = (
    sqlite3.SQLITE_DROP_TABLE,
    sqlite3.SQLITE_DROP_TRIGGER,
    sqlite3.SQLITE_CREATE_TRIGGER,
    sqlite3.SQLITE_ALTER_TABLE,
    sqlite3.SQLITE_ATTACH,
)
_PRAGMAS = (
    "writable_schema",
    "recursive_triggers",
    "secure_delete",
    "ignore_check_constraints",
    "synchronous",
    "journal_mode",
)

# --- the vault: erasable ----------------------------------------------------------------------


class SubjectColumns(TypedColumns):
    """The directory: keyed hash of an address to a person (tlog.md 3.4). `address` is sealed."""

    sub: Named[bytes] = Column(LargeBinary, primary_key=True)
    address_index: Named[bytes] = Column(LargeBinary, nullable=False, unique=True)
    dk: Named[bytes] = Column(LargeBinary, nullable=False, unique=True)
    r: Named[bytes] = Column(LargeBinary, nullable=False)
    version: Named[int] = Column(Small, nullable=False)
    opened_idx: Named[int] = Column(Int, nullable=False)
    address: Named[bytes] = Column(LargeBinary, nullable=False)


class SubjectKeyColumns(TypedColumns):
    """Per-person keys, wrapped by the key-encryption key that lives outside the database."""

    sub: Named[bytes] = Column(LargeBinary, primary_key=True)
    kek_id: Named[str] = Column(Text, nullable=False)
    wrapped: Named[bytes] = Column(LargeBinary, nullable=False)


class PayloadColumns(TypedColumns):
    """Sealed evidence of one entry: nonce and AES-256-GCM ciphertext, bound to the leaf hash."""

    log_id: Named[int] = Column(Small)
    idx: Named[int] = Column(Int)
    sub: Named[bytes] = Column(LargeBinary, nullable=False, index=True)
    sealed: Named[bytes] = Column(LargeBinary, nullable=False)


subject = Table("subject", metadata, SubjectColumns)
subject_key = Table("subject_key", metadata, SubjectKeyColumns)
payload = Table("payload", metadata, PayloadColumns, PrimaryKeyConstraint("log_id", "idx"))

# --- forgetting, and changes of keys ------------------------------------------------------------


class SuppressionColumns(TypedColumns):
    """Who was erased and is to be kept out, as a keyed hash of the address; names no person and no entry.

    `versions` says how often the address stands in the directory under the key in use, `next_versions`
    the same for the directory key that a re-key under way will bring.
    """

    address_index: Named[bytes] = Column(LargeBinary, primary_key=True)
    reason: Named[str] = Column(Text, nullable=False)
    since: Named[datetime] = Column(Moment, nullable=False)
    versions: Named[int] = Column(Small, nullable=False)
    next_versions: Named[int] = Column(Small, nullable=False)


class ErasureColumns(TypedColumns):
    """Erasures that were carried out, by the entry that says so; holds nothing that the log does not."""

    log_id: Named[int] = Column(Small)
    idx: Named[int] = Column(Int)
    sub: Named[bytes] = Column(LargeBinary, nullable=False, index=True)
    reason: Named[str] = Column(Text, nullable=False)
    erased_at: Named[datetime] = Column(Moment, nullable=False)
    certificate: Named[bytes] = Column(LargeBinary, nullable=False)


class KeyChangeColumns(TypedColumns):
    """Where in the log changes of keys stand; `kind` is log, ingest, kek, directory or log_pq."""

    log_id: Named[int] = Column(Small)
    idx: Named[int] = Column(Int)
    kind: Named[str] = Column(Text, nullable=False)
    generation: Named[int] = Column(Int, nullable=False)


class DirectoryNextColumns(TypedColumns):
    """Directory rows under the key that a re-key under way will bring; empty at other times."""

    sub: Named[bytes] = Column(LargeBinary, primary_key=True)
    dk: Named[bytes] = Column(LargeBinary, nullable=False)
    r: Named[bytes] = Column(LargeBinary, nullable=False)
    opened_idx: Named[int] = Column(Int, nullable=False)


suppression = Table("suppression", metadata, SuppressionColumns)
erasure = Table("erasure", metadata, ErasureColumns, PrimaryKeyConstraint("log_id", "idx"))
key_change = Table("key_change", metadata, KeyChangeColumns, PrimaryKeyConstraint("log_id", "idx"))
directory_next = Table("directory_next", metadata, DirectoryNextColumns)

# --- derived: what the entries add up to ------------------------------------------------------


class EventColumns(TypedColumns):
    """The projection of an entry that the fold and the diff need; holds no address."""

    log_id: Named[int] = Column(Small)
    idx: Named[int] = Column(Int)
    sub: Named[bytes] = Column(LargeBinary, nullable=False)
    category: Named[str] = Column(Text, nullable=False)
    purpose: Named[str | None] = Column(Text)
    occurred_at: Named[datetime] = Column(Moment, nullable=False)
    recorded_at: Named[datetime] = Column(Moment, nullable=False)
    source: Named[str] = Column(Text, nullable=False)
    provenance: Named[str] = Column(Text, nullable=False)
    grade: Named[str] = Column(Text, nullable=False)
    valid_until: Named[datetime | None] = Column(Moment)
    fact: Named[str | None] = Column(Text)
    """What an implied consent rests on; NULL for every other event."""
    fact_at: Named[datetime | None] = Column(Moment)
    conditions: Named[str | None] = Column(Text)
    """Names of conditions that were met, comma separated."""
    country: Named[str | None] = Column(Text)
    """A code that the source told, never its free text."""
    hint: Named[str | None] = Column(Text)
    """The country-code domain of the address ("de"), where it has one."""


class StandingColumns(TypedColumns):
    """What each person's events add up to per purpose, as of the last event; `valid_until` still runs."""

    sub: Named[bytes] = Column(LargeBinary)
    purpose: Named[str] = Column(Text)
    state: Named[str] = Column(Text, nullable=False)
    reason: Named[str] = Column(Text, nullable=False)
    suppressed: Named[str | None] = Column(Text)
    must_stop: Named[int] = Column(Small, nullable=False)
    decided_by: Named[int | None] = Column(Int)
    decided_at: Named[datetime | None] = Column(Moment)
    suppressed_by: Named[int | None] = Column(Int)
    valid_until: Named[datetime | None] = Column(Moment)
    rule: Named[str | None] = Column(Text)
    """The id of the rule that decided, where one did."""
    policy: Named[bytes | None] = Column(LargeBinary)
    """The digest of the policy set under which this was folded."""


class PolicySetColumns(TypedColumns):
    """Policy sets that were adopted, whole, so that a digest in a decision can be looked up."""

    idx: Named[int] = Column(Int, primary_key=True, autoincrement=False)
    """The `policy.adopted` entry that says so."""
    digest: Named[bytes] = Column(LargeBinary, nullable=False, index=True)
    adopted_at: Named[datetime] = Column(Moment, nullable=False)
    adopted_by: Named[str] = Column(Text, nullable=False)
    files: Named[str] = Column(Text, nullable=False)
    """JSON: each file's name and text."""


class TaskColumns(TypedColumns):
    """One withdrawal to carry to both products; written in the transaction that recorded it."""

    id: Named[int] = Column(Int, primary_key=True, autoincrement=True)
    sub: Named[bytes] = Column(LargeBinary, nullable=False)
    cause_idx: Named[int] = Column(Int, nullable=False)
    received_at: Named[datetime] = Column(Moment, nullable=False)
    due_at: Named[datetime] = Column(Moment, nullable=False)
    due_rule: Named[str] = Column(Text, nullable=False)
    state: Named[str] = Column(Text, nullable=False)
    """open, done, failed (given up by hand) or superseded."""
    attempts: Named[int] = Column(Int, nullable=False)
    not_before: Named[datetime] = Column(Moment, nullable=False)
    claimed_by: Named[str | None] = Column(Text)
    claimed_until: Named[datetime | None] = Column(Moment)
    stopped_at: Named[datetime | None] = Column(Moment)
    """When both products had accepted the write."""
    proved_at: Named[datetime | None] = Column(Moment)
    """When both had been read back."""
    campaigns_at: Named[datetime | None] = Column(Moment)
    crm_at: Named[datetime | None] = Column(Moment)
    """When each product had accepted the write and shown it; None while that half waits."""
    last_error: Named[str | None] = Column(Text)


happening = Table(
    "event",
    metadata,
    EventColumns,
    PrimaryKeyConstraint("log_id", "idx"),
    Index("ix_event_sub_idx", "sub", "idx"),
)
standing = Table("standing", metadata, StandingColumns, PrimaryKeyConstraint("sub", "purpose"))
policy_set = Table("policy_set", metadata, PolicySetColumns)
task = Table("task", metadata, TaskColumns, Index("ix_task_open", "state", "not_before"))

# --- derived: the sorted lists of the index (tlog.md 3.9 c), from entries alone ----------------------


class IndexStateColumns(TypedColumns):
    """How far the lists have come: `edge` of the entries taken in, and the epoch that states them.

    `listed` is the size that the nodes are of; `epoch_idx` the `index.epoch` entry that says so, once
    it is in the log.
    """

    log_id: Named[int] = Column(Small, primary_key=True, autoincrement=False)
    edge: Named[bytes] = Column(LargeBinary, nullable=False)
    total: Named[bytes] = Column(LargeBinary, nullable=False)
    """The sum of the rows' hashes, by which a changed or lost row is noticed."""
    listed: Named[int | None] = Column(Int)
    epoch_idx: Named[int | None] = Column(Int)


class IndexRowColumns(TypedColumns):
    """Rows of both lists; `kind` 1 is subjects, 2 the directory. `edge` grows a subject's own small tree."""

    kind: Named[int] = Column(Small)
    key: Named[bytes] = Column(LargeBinary)
    row: Named[bytes] = Column(LargeBinary, nullable=False)
    edge: Named[bytes | None] = Column(LargeBinary)


class IndexNodeColumns(TypedColumns):
    """Roots of full subtrees of the lists, as `node` is of the log; `last_key` ends 256 rows (level 1)."""

    kind: Named[int] = Column(Small)
    level: Named[int] = Column(Small)
    idx: Named[int] = Column(Int)
    hash: Named[bytes] = Column(LargeBinary, nullable=False)
    last_key: Named[bytes | None] = Column(LargeBinary)


index_state = Table("index_state", metadata, IndexStateColumns)
index_row = Table("index_row", metadata, IndexRowColumns, PrimaryKeyConstraint("kind", "key"))
index_node = Table("index_node", metadata, IndexNodeColumns, PrimaryKeyConstraint("kind", "level", "idx"))

# --- derived: mirrors of the two products -----------------------------------------------------


class CrmRecordColumns(TypedColumns):
    """CRM records as last read; `seen_run` is the run that saw them last."""

    module: Named[str] = Column(Text)
    record_id: Named[str] = Column(Text)
    opted_out: Named[int] = Column(Small, nullable=False)
    modified_at: Named[datetime] = Column(Moment, nullable=False)
    unsubscribed_mode: Named[str | None] = Column(Text)
    unsubscribed_at: Named[datetime | None] = Column(Moment)
    jurisdiction: Named[str] = Column(Text, nullable=False)
    views: Named[str] = Column(Text, nullable=False)
    """Names of lists, each followed by a comma."""
    seen_run: Named[int] = Column(Int, nullable=False)


class CrmAddressColumns(TypedColumns):
    """Keyed hashes of a record's addresses; `address` is sealed under the mirror key."""

    module: Named[str] = Column(Text)
    record_id: Named[str] = Column(Text)
    address_index: Named[bytes] = Column(LargeBinary)
    address: Named[bytes] = Column(LargeBinary, nullable=False)


class ContactColumns(TypedColumns):
    """Campaigns contacts as last read; `address` is sealed under the mirror key, for writing back."""

    address_index: Named[bytes] = Column(LargeBinary, primary_key=True)
    address: Named[bytes] = Column(LargeBinary, nullable=False)
    permission: Named[str | None] = Column(Text)
    """granted, refused, or None where neither segment has them."""
    since: Named[datetime] = Column(Moment, nullable=False)
    """When `permission` was first seen as it is: Campaigns itself does not tell."""
    was: Named[str | None] = Column(Text)
    """What it was before, where we saw it change."""
    seen_run: Named[int] = Column(Int, nullable=False)


class MemberColumns(TypedColumns):
    """Campaigns list memberships as last read (status: active, unsub, bounce); `since`, `was` as above."""

    list_name: Named[str] = Column(Text)
    address_index: Named[bytes] = Column(LargeBinary)
    status: Named[str] = Column(Text, nullable=False)
    since: Named[datetime] = Column(Moment, nullable=False)
    was: Named[str | None] = Column(Text)
    seen_run: Named[int] = Column(Int, nullable=False)


class OutcomeColumns(TypedColumns):
    """Opt-outs, complaints and bounces that Campaigns reported; each is ingested once."""

    campaign_key: Named[str] = Column(Text)
    address_index: Named[bytes] = Column(LargeBinary)
    kind: Named[str] = Column(Text)
    happened_at: Named[datetime | None] = Column(Moment)
    sent_at: Named[datetime | None] = Column(Moment)
    observed_at: Named[datetime] = Column(Moment, nullable=False)
    address: Named[bytes] = Column(LargeBinary, nullable=False)
    recorded_idx: Named[int | None] = Column(Int)
    """The entry that recorded it; None while it is news."""


crm_record = Table("crm_record", metadata, CrmRecordColumns, PrimaryKeyConstraint("module", "record_id"))
crm_address = Table(
    "crm_address",
    metadata,
    CrmAddressColumns,
    PrimaryKeyConstraint("module", "record_id", "address_index"),
    Index("ix_crm_address_address_index", "address_index"),
)
contact = Table("contact", metadata, ContactColumns)
member = Table(
    "member",
    metadata,
    MemberColumns,
    PrimaryKeyConstraint("list_name", "address_index"),
    Index("ix_member_address_index", "address_index"),
)
outcome = Table(
    "outcome",
    metadata,
    OutcomeColumns,
    PrimaryKeyConstraint("campaign_key", "address_index", "kind"),
    Index("ix_outcome_address_index", "address_index"),
)

# --- runs, reports, jobs ----------------------------------------------------------------------


class RunColumns(TypedColumns):
    """One reconciliation; `summary` is JSON without addresses."""

    id: Named[int] = Column(Int, primary_key=True, autoincrement=True)
    kind: Named[str] = Column(Text, nullable=False)
    state: Named[str] = Column(Text, nullable=False)
    """observing, planned, applying, done, or refused (with the reason in `summary`)."""
    started_at: Named[datetime] = Column(Moment, nullable=False)
    finished_at: Named[datetime | None] = Column(Moment)
    summary: Named[str] = Column(Text, nullable=False)


class DriftColumns(TypedColumns):
    """What one run found between a product and the ledger, one row per person and kind."""

    run_id: Named[int] = Column(Int)
    kind: Named[str] = Column(Text)
    address_index: Named[bytes] = Column(LargeBinary)
    sub: Named[bytes | None] = Column(LargeBinary)
    jurisdiction: Named[str] = Column(Text, nullable=False)
    since: Named[datetime] = Column(Moment, nullable=False)
    due_at: Named[datetime | None] = Column(Moment)
    due_rule: Named[str | None] = Column(Text)
    action: Named[str] = Column(Text, nullable=False)
    """stop, record, report, or permit (never applied without approval)."""
    state: Named[str] = Column(Text, nullable=False)
    """found, repaired, failed, or open."""


class ChangeColumns(TypedColumns):
    """One write of a plan that is being applied, so that a crash loses neither the write nor its proof."""

    run_id: Named[int] = Column(Int)
    target: Named[str] = Column(Text)
    """`crm:<module>/<record id>` or `campaigns`."""
    address_index: Named[bytes] = Column(LargeBinary)
    sub: Named[bytes | None] = Column(LargeBinary)
    kind: Named[str] = Column(Text, nullable=False)
    cause_idx: Named[int | None] = Column(Int)
    due_at: Named[datetime | None] = Column(Moment)
    due_rule: Named[str | None] = Column(Text)
    state: Named[str] = Column(Text, nullable=False)
    """planned, written (accepted, not yet read back), proved, failed, or superseded."""
    code: Named[str | None] = Column(Text)
    answer_sha256: Named[bytes | None] = Column(LargeBinary)
    written_at: Named[datetime | None] = Column(Moment)


class MailingColumns(TypedColumns):
    """One nightly mail per night, whoever sends it: the primary key is the lock."""

    night: Named[str] = Column(Text, primary_key=True)
    message_id: Named[str] = Column(Text, nullable=False, unique=True)
    state: Named[str] = Column(Text, nullable=False)
    """claimed or sent."""
    claimed_at: Named[datetime] = Column(Moment, nullable=False)
    sent_at: Named[datetime | None] = Column(Moment)
    place: Named[str | None] = Column(Text)


class TickColumns(TypedColumns):
    """A job's turn, taken by one of many nodes at a time."""

    job: Named[str] = Column(Text)
    turn: Named[str] = Column(Text)
    state: Named[str] = Column(Text, nullable=False, server_default="taken")
    """taken, done, or failed for good."""
    taken_at: Named[datetime] = Column(Moment, nullable=False)
    taken_by: Named[str] = Column(Text, nullable=False)
    lease_until: Named[datetime] = Column(Moment, nullable=False, server_default="0")
    """Who took it renews this; once it has passed, another may take over."""
    ended_at: Named[datetime | None] = Column(Moment)
    reason: Named[str | None] = Column(Text)
    """Why it failed."""


class AttestorColumns(TypedColumns):
    """Each witness and time-stamping authority that the settings name, and how it went with it lately."""

    log_id: Named[int] = Column(Small)
    kind: Named[str] = Column(Text)
    """witness or authority."""
    name: Named[str] = Column(Text)
    enrolled_at: Named[datetime] = Column(Moment, nullable=False)
    size: Named[int] = Column(Int, nullable=False)
    """The largest checkpoint that it attested."""
    succeeded_at: Named[datetime | None] = Column(Moment)
    asked_at: Named[datetime | None] = Column(Moment)
    trouble: Named[str | None] = Column(Text)
    """Why the last attempt failed; None after a success."""
    seen_size: Named[int] = Column(Int, nullable=False)
    """The largest tree of this log that a witness says it knows."""
    seen_root: Named[bytes | None] = Column(LargeBinary)
    """The root of that tree, where the witness showed our own signature on it."""


attestor = Table("attestor", metadata, AttestorColumns, PrimaryKeyConstraint("log_id", "kind", "name"))
run = Table("run", metadata, RunColumns)
drift = Table("drift", metadata, DriftColumns, PrimaryKeyConstraint("run_id", "kind", "address_index"))
change = Table(
    "change",
    metadata,
    ChangeColumns,
    PrimaryKeyConstraint("run_id", "target", "address_index"),
    Index("ix_change_state", "state"),
)
mailing = Table("mailing", metadata, MailingColumns)
tick = Table("tick", metadata, TickColumns, PrimaryKeyConstraint("job", "turn"))

# --- who may use the service ------------------------------------------------------------------


class ApiKeyColumns(TypedColumns):
    """Keys for programs; only the SHA-256 of a high-entropy secret is kept. `scopes` comma separated."""

    id: Named[str] = Column(Text, primary_key=True)
    name: Named[str] = Column(Text, nullable=False)
    secret_sha256: Named[bytes] = Column(LargeBinary, nullable=False, unique=True)
    scopes: Named[str] = Column(Text, nullable=False)
    created_at: Named[datetime] = Column(Moment, nullable=False)
    revoked_at: Named[datetime | None] = Column(Moment)


class AccountColumns(TypedColumns):
    """People who log in; passwords are argon2id hashes."""

    name: Named[str] = Column(Text, primary_key=True)
    password: Named[str] = Column(Text, nullable=False)
    role: Named[str] = Column(Text, nullable=False)
    created_at: Named[datetime] = Column(Moment, nullable=False)
    failures: Named[int] = Column(Small, nullable=False)
    locked_until: Named[datetime | None] = Column(Moment)


class SessionColumns(TypedColumns):
    """Logged-in browsers; only the SHA-256 of the cookie is kept."""

    id_sha256: Named[bytes] = Column(LargeBinary, primary_key=True)
    account: Named[str] = Column(Text, nullable=False)
    form_token: Named[str] = Column(Text, nullable=False)
    expires_at: Named[datetime] = Column(Moment, nullable=False)


api_key = Table("api_key", metadata, ApiKeyColumns)
account = Table("account", metadata, AccountColumns)
session = Table("session", metadata, SessionColumns)


class Database:
    """One engine and the two ways into it.

    `begin` is a write transaction (SQLite: BEGIN IMMEDIATE, so that a writer waits instead of
    failing half way); `read` sees one consistent state and never writes.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = engine_from_url(url)
        self._writes = self.engine.execution_options(sqlite_begin="BEGIN IMMEDIATE")
        self._reads: Engine = self.engine
        if self.dialect == "sqlite":
            event.listen(self.engine, "connect", _guard_sqlite)
        else:
            self._reads = self.engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )

    @property
    def dialect(self) -> str:
        """Return "sqlite" or "postgresql"."""
        return self.engine.dialect.name

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Open a transaction to write in; commits at the end, rolls back on any error.

        Raises `OperationalError` after a COMMIT whose wait for the standby was cancelled: the server
        calls that a success, yet the rows may be lost with this node (reliability.md, fact 4).
        """
        with self._writes.connect() as tx:
            with tx.begin():
                yield tx
            if tx.info.pop(_UNREPLICATED, False):
                raise OperationalError(
                    "COMMIT", None, ConnectionError("the wait for replication was cancelled")
                )

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction to look at one consistent state."""
        with self._reads.connect() as tx, tx.begin():
            yield tx

    def scrub(self) -> None:
        """Take what was deleted out of SQLite's write-ahead log; its pages were overwritten when it was.

        PostgreSQL keeps dead rows until VACUUM (autovacuum, or by hand); there this does nothing.
        """
        if self.dialect == "sqlite":
            connection = self.engine.raw_connection()
            try:
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                connection.close()

    def close(self) -> None:
        """Give all connections back to the operating system."""
        self.engine.dispose()


def engine_from_url(url: str) -> Engine:
    """Return an engine with the durability this service promises (reliability.md, fact 5).

    SQLite: WAL, synchronous=FULL, recursive triggers on (so that INSERT OR REPLACE meets the
    delete trigger). PostgreSQL: psycopg, with a cancelled synchronous wait raised as unknown.
    """
    where = _parse_url(url)
    if where.get_backend_name() == "sqlite":
        return _sqlite(url, where.database)
    if where.get_backend_name() != "postgresql":
        raise Misconfigured("CONSENT_DATABASE_URL must begin with sqlite: or postgresql+psycopg:")
    engine = create_engine(
        where.set(drivername="postgresql+psycopg"), pool_size=10, max_overflow=20, pool_pre_ping=True
    )
    event.listen(engine, "connect", _heed_notices)
    return engine


def _parse_url(url: str) -> URL:
    try:
        return make_url(url)
    except ArgumentError:
        raise Misconfigured(
            "CONSENT_DATABASE_URL is no database URL; it looks like sqlite:///folder/ledger.db "
            "or postgresql+psycopg://user@host/database"
        ) from None


def insert_rows(tx: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that name the same columns in the same order; for the few tables written in bulk.

    On PostgreSQL each column travels as one array, which takes a fifth of the time of a row each. On
    SQLite many rows are one statement, so that other threads run while it works, and are not in its way.
    """
    if not rows:
        return
    columns = [table.c[name] for name in rows[0]]
    values = [
        list(map(to_milliseconds, found)) if isinstance(column.type, Moment) else found
        for column, found in zip(columns, zip(*(row.values() for row in rows), strict=True), strict=True)
    ]
    names = ", ".join(column.name for column in columns)
    into = f"INSERT INTO {table.name} ({names})"
    if tx.dialect.name == "sqlite":
        _insert_sqlite(tx, into, list(zip(*values, strict=True)))
    else:
        arrays = ", ".join(f"%b::{column.type.compile(tx.dialect)}[]" for column in columns)
        into = f"{into} SELECT * FROM unnest({arrays})"  # noqa: S608  # our own names
        tx.exec_driver_sql(into, tuple(map(list, values)))


def rows_in(
    tx: Connection,
    columns: Sequence[Column[Any]],
    key: Column[bytes],
    values: Sequence[bytes],
    where: str = "",
) -> Iterator[tuple[Any, ...]]:
    """Yield these columns of every row whose `key` is among `values`; for the few look-ups of every append.

    `where` is a condition of our own words. Only bytes, texts and integers come back as they should.
    """
    names = ", ".join(column.name for column in columns)
    text = f"SELECT {names} FROM {key.table.name} WHERE {where and where + ' AND '}{key.name}"  # noqa: S608  # ours
    if tx.dialect.name != "sqlite":
        if values:
            yield from map(tuple, tx.exec_driver_sql(f"{text} = ANY(%b::bytea[])", (list(values),)))
        return
    for part in chunks(values):
        width = 1 << (len(part) - 1).bit_length()  # few widths, so that each text is compiled once
        asked = (*part, *[part[-1]] * (width - len(part)))
        yield from map(tuple, tx.exec_driver_sql(f"{text} IN ({', '.join('?' * width)})", asked))


def _insert_sqlite(tx: Connection, into: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert the rows in statements of 64, 32 ... 1 of them, so that each text is compiled once."""
    marks = f"({', '.join('?' * len(rows[0]))})"
    start, size = 0, _WIDEST
    while start < len(rows):
        while size > len(rows) - start:
            size //= 2
        part = rows[start : start + size]
        tx.exec_driver_sql(f"{into} VALUES {', '.join([marks] * size)}", tuple(chain.from_iterable(part)))
        start += size


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield the items in parts that are small enough for one statement each."""
    return (items[start : start + CHUNK] for start in range(0, len(items), CHUNK))


def migrate(url: str) -> None:
    """Bring the database to the newest schema; safe to run twice."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = url
    with _alone(url):
        command.upgrade(config, "head")


@contextmanager
def _alone(url: str) -> Iterator[None]:
    """Keep other processes of this machine from migrating the same SQLite file at the same time.

    Two services that start together on a new folder would else meet in the middle of it.
    """
    path = _parse_url(url).database
    if not url.startswith("sqlite") or not path or path == ":memory:":
        yield
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = os.open(Path(path).parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def exists(url: str) -> bool:
    """Return whether this is a SQLite file that holds something already."""
    path = Path(_parse_url(url).database or "")
    return url.startswith("sqlite") and path.is_file() and path.stat().st_size > 0


def require_current(database: "Database") -> None:
    """Raise `Misconfigured` unless the database has the newest schema."""
    newest = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    with database.read() as tx:
        found = MigrationContext.configure(tx).get_current_revision()
    if found != newest:
        raise Misconfigured(
            f"the database has schema {found}, this version needs {newest}; "
            "run `consent-ledger migrate` as its owner"
        )


def _heed_notices(connection: PsycopgConnection[Any], record: ConnectionPoolEntry) -> None:
    """Remember on the pool's record when the server says that a COMMIT did not wait for its standby."""

    def heed(notice: Diagnostic) -> None:
        if "canceling wait for synchronous replication" in (notice.message_primary or ""):
            record.info[_UNREPLICATED] = True

    connection.add_notice_handler(heed)


def _sqlite(url: str, path: str | None) -> Engine:
    if path and path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not Path(path).exists():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    engine = create_engine(url, connect_args={"timeout": 30, "isolation_level": None})
    event.listen(engine, "connect", _tune_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _tune_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "fullfsync=ON",
        "foreign_keys=ON",
        "recursive_triggers=ON",
        "secure_delete=ON",
        "busy_timeout=30000",
        "trusted_schema=OFF",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _guard_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    """Let this connection neither change the ledger's rows nor take down its walls (reliability.md, S09).

    Against slips and injected statements of our own process; the triggers hold against others.
    """

    def judge(action: int, first: str | None, second: str | None, _db: str | None, _by: str | None) -> int:
        changes = action in _CHANGES and first in (*LEDGER_TABLES, "sqlite_master")
        loosens = action == sqlite3.SQLITE_PRAGMA and second is not None and first in _PRAGMAS
        return sqlite3.SQLITE_DENY if changes or loosens or action in _RAZING else sqlite3.SQLITE_OK

    connection.set_authorizer(judge)


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))

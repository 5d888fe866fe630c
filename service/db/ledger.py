"""Tables of the ledger: append-only, guarded by the database itself (migration 0001)."""

from datetime import datetime

from sqlalchemy import (
    Column,
    Index,
    LargeBinary,
    Named,
    PrimaryKeyConstraint,
    Table,
    Text,
    TypedColumns,
)

from service.db.columns import KEYED, Int, Moment, Small, metadata


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
leaf = Table("leaf", metadata, LeafColumns, PrimaryKeyConstraint("log_id", "idx"), **KEYED)
node = Table("node", metadata, NodeColumns, PrimaryKeyConstraint("log_id", "level", "idx"), **KEYED)
dedupe = Table("dedupe", metadata, DedupeColumns, PrimaryKeyConstraint("log_id", "key"), **KEYED)

checkpoint = Table(
    "checkpoint",
    metadata,
    CheckpointColumns,
    PrimaryKeyConstraint("log_id", "number"),
    Index("ix_checkpoint_log_id_size", "log_id", "size"),
    **KEYED,
)

cosignature = Table(
    "cosignature",
    metadata,
    CosignatureColumns,
    PrimaryKeyConstraint("log_id", "size", "witness", "at"),
    **KEYED,
)
time_stamp = Table(
    "time_stamp",
    metadata,
    TimeStampColumns,
    PrimaryKeyConstraint("log_id", "authority", "at", "size"),
    Index("ix_time_stamp_log_id_size", "log_id", "size"),
    **KEYED,
)

LEDGER_TABLES = ("leaf", "node", "dedupe", "checkpoint", "cosignature", "time_stamp")

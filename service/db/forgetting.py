"""Tables of forgetting, and of changes of keys."""

from datetime import datetime

from sqlalchemy import (
    Column,
    LargeBinary,
    Named,
    PrimaryKeyConstraint,
    Table,
    Text,
    TypedColumns,
)

from service.db.columns import Int, Moment, Small, metadata


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

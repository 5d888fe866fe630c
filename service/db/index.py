"""Tables of the sorted lists of the index (tlog.md 3.9 c); from entries alone."""

from sqlalchemy import Column, LargeBinary, Named, PrimaryKeyConstraint, Table, TypedColumns

from service.db.columns import Int, Small, metadata


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

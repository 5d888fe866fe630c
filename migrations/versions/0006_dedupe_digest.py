"""A digest in each row of `dedupe`, so that a damaged one is noticed; the rows that there are get theirs."""

from hashlib import sha256

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SMALL = sa.SmallInteger().with_variant(sa.Integer(), "sqlite")
DIGEST = "substr(sha256(key || request || int8send(idx) || int8send(size)), 1, 8)"


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        _rebuild_sqlite()
    else:
        _add_postgresql()


def _add_postgresql() -> None:
    """Fill the new column with the wall open; the migration is one transaction, so nobody gets in between."""
    op.add_column("dedupe", sa.Column("digest", sa.LargeBinary()))
    op.execute("ALTER TABLE dedupe DISABLE TRIGGER dedupe_no_change")
    op.execute(f"UPDATE dedupe SET digest = {DIGEST}")  # noqa: S608  # our own words
    op.execute("ALTER TABLE dedupe ENABLE ALWAYS TRIGGER dedupe_no_change")
    op.alter_column("dedupe", "digest", nullable=False)
    op.execute(f"ALTER TABLE dedupe ADD CONSTRAINT ck_dedupe_digest CHECK (digest = {DIGEST})")


def _rebuild_sqlite() -> None:
    """Copy the table, which cannot be given a column without a default; its triggers are made again."""
    connection = op.get_bind().connection.driver_connection
    connection.create_function("dedupe_digest", 4, _digest, deterministic=True)
    walls = "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'dedupe'"
    triggers = op.get_bind().exec_driver_sql(walls).scalars().all()
    op.create_table(
        "dedupe_next",
        sa.Column("log_id", SMALL, nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("idx", INT, nullable=False),
        sa.Column("size", INT, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("log_id", "key", name=op.f("pk_dedupe")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO dedupe_next (log_id, key, request, idx, size, digest) "
        "SELECT log_id, key, request, idx, size, dedupe_digest(key, request, idx, size) FROM dedupe"
    )
    op.drop_table("dedupe")
    op.rename_table("dedupe_next", "dedupe")
    for trigger in triggers:
        op.execute(trigger)


def _digest(key: bytes, request: bytes, index: int, size: int) -> bytes:
    return sha256(key + request + index.to_bytes(8, "big") + size.to_bytes(8, "big")).digest()[:8]

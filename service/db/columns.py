"""What all tables are made of: the metadata, the types that both stores agree on."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Dialect,
    Integer,
    MetaData,
    SmallInteger,
    TypeDecorator,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_MS = 86_400_000

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

KEYED: dict[str, Any] = {"sqlite_strict": True, "sqlite_with_rowid": False}
"""Without SQLite's hidden rowid, by which INSERT OR REPLACE could reach a row past the guard of its key."""

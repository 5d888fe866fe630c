"""Table of the nightly looks at what is stored: how far the round has come, and what was found."""

from datetime import datetime

from sqlalchemy import Column, LargeBinary, Named, Table, Text, TypedColumns

from service.db.columns import Int, Moment, metadata


class LookColumns(TypedColumns):
    """One night's look at a share of all rows; `stop` and `high` are empty where it came to the end."""

    night: Named[str] = Column(Text, primary_key=True)
    began: Named[str] = Column(Text, nullable=False)
    """The night on which this round over everything began."""
    start: Named[int] = Column(Int, nullable=False)
    stop: Named[int | None] = Column(Int)
    """The entries from `start` up to `stop` were looked at."""
    size: Named[int] = Column(Int, nullable=False)
    """How many entries the log had."""
    high: Named[bytes | None] = Column(LargeBinary)
    """Rows with keys below this one were looked at in this round."""
    started_at: Named[datetime] = Column(Moment, nullable=False)
    finished_at: Named[datetime] = Column(Moment, nullable=False)
    damaged: Named[int] = Column(Int, nullable=False)
    """How many places were not as they were written."""
    damage: Named[str] = Column(Text, nullable=False)
    """The first of them, a line each; entries by index, persons by their random number."""


look = Table("look", metadata, LookColumns)

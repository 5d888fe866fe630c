"""Table of the withdrawals that a workflow of Campaigns was triggered for, until they are seen done."""

from datetime import datetime

from sqlalchemy import Column, LargeBinary, Named, Table, Text, TypedColumns

from service.db.columns import Int, Moment, metadata


class TriggeringColumns(TypedColumns):
    """When the workflow was last triggered for a task (`task.id`), and what Campaigns answered."""

    task_id: Named[int] = Column(Int, primary_key=True, autoincrement=False)
    at: Named[datetime] = Column(Moment, nullable=False)
    code: Named[str | None] = Column(Text)
    """Campaigns' code; None where no answer came, so that nobody knows whether it was triggered."""
    answer_sha256: Named[bytes | None] = Column(LargeBinary)
    """SHA-256 of the whole answer, kept as evidence."""


triggering = Table("triggering", metadata, TriggeringColumns)

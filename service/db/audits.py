"""The sync audits that were made, so that each can be compared with the one before."""

from datetime import datetime

from sqlalchemy import Column, Index, Named, Table, Text, TypedColumns

from service.db.columns import Int, Moment, metadata


class AuditColumns(TypedColumns):
    """One sync audit: counts and advice as JSON, without addresses."""

    id: Named[int] = Column(Int, primary_key=True, autoincrement=True)
    at: Named[datetime] = Column(Moment, nullable=False)
    run_id: Named[int] = Column(Int, nullable=False)
    """The run whose reading was judged."""
    verdict: Named[str] = Column(Text, nullable=False)
    points: Named[str] = Column(Text, nullable=False)


audit = Table("audit", metadata, AuditColumns, Index("ix_audit_at", "at"))

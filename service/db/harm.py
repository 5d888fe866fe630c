"""Tables of harm: who was in fact mailed while they were not permitted.

Keyed hashes only; erased with the person's mirrors.
"""

from datetime import datetime

from sqlalchemy import Column, LargeBinary, Named, PrimaryKeyConstraint, Table, Text, TypedColumns

from service.db.columns import Int, Moment, metadata


class HarmWindowColumns(TypedColumns):
    """The time in which a person said stop, or was a dead mailbox, and a product would have mailed them."""

    address_index: Named[bytes] = Column(LargeBinary)
    since: Named[datetime] = Column(Moment)
    until: Named[datetime | None] = Column(Moment)
    """When both products had stopped; None while one has not."""
    kind: Named[str] = Column(Text, nullable=False)
    noticed_at: Named[datetime] = Column(Moment, nullable=False)
    """When the window was first seen."""


class MailingScanColumns(TypedColumns):
    """A campaign whose recipients were read; read again once a window is noticed that covers it."""

    campaign_key: Named[str] = Column(Text, primary_key=True)
    sent_at: Named[datetime] = Column(Moment, nullable=False)
    scanned_at: Named[datetime] = Column(Moment, nullable=False)
    recipients: Named[int] = Column(Int, nullable=False)


class HarmColumns(TypedColumns):
    """One mail that one person got within their window."""

    address_index: Named[bytes] = Column(LargeBinary)
    campaign_key: Named[str] = Column(Text)
    sent_at: Named[datetime] = Column(Moment, nullable=False)


class HarmLookColumns(TypedColumns):
    """One look at what was sent that came to its end: every campaign in a window known then was read."""

    began_at: Named[datetime] = Column(Moment, primary_key=True)
    campaigns: Named[int] = Column(Int, nullable=False)
    """How many had to be read."""


harm_window = Table(
    "harm_window", metadata, HarmWindowColumns, PrimaryKeyConstraint("address_index", "since")
)
mailing_scan = Table("mailing_scan", metadata, MailingScanColumns)
harm_look = Table("harm_look", metadata, HarmLookColumns)
harm = Table("harm", metadata, HarmColumns, PrimaryKeyConstraint("address_index", "campaign_key"))

"""Tables of what the organisation may still ask of Zoho, shared by all nodes: blocks taken, lock-outs, facts.

A node takes a block of calls or credits before it sends any of them, and gives the rest back. What a
node that died had taken stays counted: rather too much than too little.
"""

from datetime import datetime

from sqlalchemy import Column, Index, Named, Table, Text, TypedColumns

from service.db.columns import Int, Moment, Small, metadata


class QuotaBlockColumns(TypedColumns):
    """Units that one node may use, or has used, of one account."""

    id: Named[int] = Column(Int, primary_key=True, autoincrement=True)
    account: Named[str] = Column(Text, nullable=False)
    """`crm` (credits), `campaigns:<endpoint>` and `oauth:<endpoint>` (calls), `crm.slots` (at a time)."""
    node: Named[str] = Column(Text, nullable=False)
    who: Named[str] = Column(Text, nullable=False)
    """What they are for: withdrawals, watch, nightly, reconcile ..."""
    units: Named[int] = Column(Int, nullable=False)
    taken_at: Named[datetime] = Column(Moment, nullable=False)
    spent_at: Named[datetime] = Column(Moment, nullable=False)
    """While it is open: the latest moment at which it may be used. Then: when it was last used."""
    is_open: Named[int] = Column(Small, nullable=False)


class QuotaAccountColumns(TypedColumns):
    """One account: the row that a taker locks, and what the vendor said about it."""

    name: Named[str] = Column(Text, primary_key=True)
    locked_until: Named[datetime | None] = Column(Moment)
    foreign_units: Named[int] = Column(Int, nullable=False, server_default="0")
    """What others than this service used, by the vendor's own count."""
    foreign_at: Named[datetime | None] = Column(Moment)
    facts: Named[str | None] = Column(Text)
    """JSON: edition, users, allowance, concurrency, time zone, prices."""
    learned_at: Named[datetime | None] = Column(Moment)


quota_block = Table(
    "quota_block", metadata, QuotaBlockColumns, Index("ix_quota_block_account", "account", "spent_at")
)
quota_account = Table("quota_account", metadata, QuotaAccountColumns)

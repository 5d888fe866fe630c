"""Tables of plans, of who approved them, of breakers that tripped, and of canary contacts."""

from datetime import datetime

from sqlalchemy import Column, LargeBinary, Named, PrimaryKeyConstraint, Table, Text, TypedColumns

from service.db.columns import Int, Moment, metadata


class PlanColumns(TypedColumns):
    """The plan of one run; its changes are the rows of `change` with the same `run_id`."""

    run_id: Named[int] = Column(Int, primary_key=True, autoincrement=False)
    digest: Named[bytes] = Column(LargeBinary, nullable=False)
    """SHA-256 over canonical JSON of the changes and the policy's digest: what an approval names."""
    policy: Named[bytes] = Column(LargeBinary, nullable=False)
    state: Named[str] = Column(Text, nullable=False)
    """listed (nothing to approve), open, approved, applying, done, refused, or stale."""
    approvals: Named[int] = Column(Int, nullable=False)
    """How many different people must approve the permissive changes; 0 where there are none."""
    calls: Named[int] = Column(Int, nullable=False)
    credits: Named[int] = Column(Int, nullable=False)
    made_at: Named[datetime] = Column(Moment, nullable=False)
    ended_at: Named[datetime | None] = Column(Moment)
    reason: Named[str | None] = Column(Text)
    """Why it was refused, or what moved."""


class ApprovalColumns(TypedColumns):
    """Who decided about a plan; the database refuses to change or delete a row."""

    run_id: Named[int] = Column(Int)
    account: Named[str] = Column(Text)
    digest: Named[bytes] = Column(LargeBinary, nullable=False)
    decision: Named[str] = Column(Text, nullable=False)
    """approve or refuse."""
    reason: Named[str] = Column(Text, nullable=False)
    via: Named[str] = Column(Text, nullable=False)
    """page, api or terminal."""
    decided_at: Named[datetime] = Column(Moment, nullable=False)


class BreakerColumns(TypedColumns):
    """A breaker that tripped in a run, for one product."""

    run_id: Named[int] = Column(Int)
    target: Named[str] = Column(Text)
    """crm or campaigns."""
    name: Named[str] = Column(Text)
    stops: Named[str] = Column(Text, nullable=False)
    """all (the product is left out of the run), or permissions (only stops are written to it)."""
    reason: Named[str] = Column(Text, nullable=False)
    tripped_at: Named[datetime] = Column(Moment, nullable=False)


class CanaryColumns(TypedColumns):
    """A contact of our own in a known state, in both products; nobody behind it is a person."""

    state: Named[str] = Column(Text, primary_key=True)
    """One of `reconciler.natures`."""
    address_index: Named[bytes] = Column(LargeBinary, nullable=False, index=True)
    address: Named[bytes] = Column(LargeBinary, nullable=False)
    module: Named[str] = Column(Text, nullable=False)
    record_id: Named[str] = Column(Text, nullable=False)
    mapping: Named[bytes] = Column(LargeBinary, nullable=False)
    """Under which mapping it was last read as it should be; another one is read before it is written."""
    made_at: Named[datetime] = Column(Moment, nullable=False)
    driven_at: Named[datetime | None] = Column(Moment)
    seen_at: Named[datetime | None] = Column(Moment)
    """When both products last showed it as it should be."""
    trouble: Named[str | None] = Column(Text)


plan = Table("plan", metadata, PlanColumns)
approval = Table("approval", metadata, ApprovalColumns, PrimaryKeyConstraint("run_id", "account"))
breaker = Table("breaker", metadata, BreakerColumns, PrimaryKeyConstraint("run_id", "target", "name"))
canary = Table("canary", metadata, CanaryColumns)

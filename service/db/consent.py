"""Tables that the entries add up to: events, standings, rules in force, withdrawals to carry out."""

from datetime import datetime

from sqlalchemy import (
    Column,
    Index,
    LargeBinary,
    Named,
    PrimaryKeyConstraint,
    Table,
    Text,
    TypedColumns,
)

from service.db.columns import Int, Moment, Small, metadata


class EventColumns(TypedColumns):
    """The projection of an entry that the fold and the diff need; holds no address."""

    log_id: Named[int] = Column(Small)
    idx: Named[int] = Column(Int)
    sub: Named[bytes] = Column(LargeBinary, nullable=False)
    category: Named[str] = Column(Text, nullable=False)
    purpose: Named[str | None] = Column(Text)
    occurred_at: Named[datetime] = Column(Moment, nullable=False)
    recorded_at: Named[datetime] = Column(Moment, nullable=False)
    source: Named[str] = Column(Text, nullable=False)
    provenance: Named[str] = Column(Text, nullable=False)
    grade: Named[str] = Column(Text, nullable=False)
    valid_until: Named[datetime | None] = Column(Moment)
    fact: Named[str | None] = Column(Text)
    """What an implied consent rests on; NULL for every other event."""
    fact_at: Named[datetime | None] = Column(Moment)
    conditions: Named[str | None] = Column(Text)
    """Names of conditions that were met, comma separated."""
    country: Named[str | None] = Column(Text)
    """A code that the source told, never its free text."""
    hint: Named[str | None] = Column(Text)
    """The country-code domain of the address ("de"), where it has one."""
    corrects: Named[int | None] = Column(Int)
    """The entry about the same person that does not count any more; NULL for all but corrections."""
    brought: Named[str | None] = Column(Text)
    """Names of the evidence that came with a consent, comma separated, empty for none; no values.

    NULL where no rule looks at it, and for a consent that was recorded before this was kept."""


class StandingColumns(TypedColumns):
    """What each person's events add up to per purpose, as of the last event; `valid_until` still runs."""

    sub: Named[bytes] = Column(LargeBinary)
    purpose: Named[str] = Column(Text)
    state: Named[str] = Column(Text, nullable=False)
    reason: Named[str] = Column(Text, nullable=False)
    suppressed: Named[str | None] = Column(Text)
    must_stop: Named[int] = Column(Small, nullable=False)
    decided_by: Named[int | None] = Column(Int)
    decided_at: Named[datetime | None] = Column(Moment)
    suppressed_by: Named[int | None] = Column(Int)
    valid_until: Named[datetime | None] = Column(Moment)
    rule: Named[str | None] = Column(Text)
    """The id of the rule that decided, where one did."""
    policy: Named[bytes | None] = Column(LargeBinary)
    """The digest of the policy set under which this was folded."""


class PolicySetColumns(TypedColumns):
    """Policy sets that were adopted, whole, so that a digest in a decision can be looked up."""

    idx: Named[int] = Column(Int, primary_key=True, autoincrement=False)
    """The `policy.adopted` entry that says so."""
    digest: Named[bytes] = Column(LargeBinary, nullable=False, index=True)
    adopted_at: Named[datetime] = Column(Moment, nullable=False)
    adopted_by: Named[str] = Column(Text, nullable=False)
    files: Named[str] = Column(Text, nullable=False)
    """JSON: each file's name and text."""


class TaskColumns(TypedColumns):
    """One withdrawal to carry to both products; written in the transaction that recorded it."""

    id: Named[int] = Column(Int, primary_key=True, autoincrement=True)
    sub: Named[bytes] = Column(LargeBinary, nullable=False)
    cause_idx: Named[int] = Column(Int, nullable=False)
    received_at: Named[datetime] = Column(Moment, nullable=False)
    due_at: Named[datetime] = Column(Moment, nullable=False)
    due_rule: Named[str] = Column(Text, nullable=False)
    state: Named[str] = Column(Text, nullable=False)
    """open, done, failed (given up by hand) or superseded."""
    attempts: Named[int] = Column(Int, nullable=False)
    not_before: Named[datetime] = Column(Moment, nullable=False)
    claimed_by: Named[str | None] = Column(Text)
    claimed_until: Named[datetime | None] = Column(Moment)
    stopped_at: Named[datetime | None] = Column(Moment)
    """When both products had accepted the write."""
    proved_at: Named[datetime | None] = Column(Moment)
    """When both had been read back."""
    campaigns_at: Named[datetime | None] = Column(Moment)
    crm_at: Named[datetime | None] = Column(Moment)
    """When each product had accepted the write and shown it; None while that half waits."""
    last_error: Named[str | None] = Column(Text)


happening = Table(
    "event",
    metadata,
    EventColumns,
    PrimaryKeyConstraint("log_id", "idx"),
    Index("ix_event_sub_idx", "sub", "idx"),
)
standing = Table("standing", metadata, StandingColumns, PrimaryKeyConstraint("sub", "purpose"))
policy_set = Table("policy_set", metadata, PolicySetColumns)
task = Table(
    "task",
    metadata,
    TaskColumns,
    Index("ix_task_open", "state", "not_before"),
    Index("ix_task_due", "state", "due_at", "id"),
)

"""Tables of runs, of what they found and changed, of mails and turns."""

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


class RunColumns(TypedColumns):
    """One reconciliation; `summary` is JSON without addresses."""

    id: Named[int] = Column(Int, primary_key=True, autoincrement=True)
    kind: Named[str] = Column(Text, nullable=False)
    state: Named[str] = Column(Text, nullable=False)
    """observing, planned, applying, done, or refused (with the reason in `summary`)."""
    started_at: Named[datetime] = Column(Moment, nullable=False)
    finished_at: Named[datetime | None] = Column(Moment)
    summary: Named[str] = Column(Text, nullable=False)


class DriftColumns(TypedColumns):
    """What one run found between a product and the ledger, one row per person and kind."""

    run_id: Named[int] = Column(Int)
    kind: Named[str] = Column(Text)
    address_index: Named[bytes] = Column(LargeBinary)
    sub: Named[bytes | None] = Column(LargeBinary)
    jurisdiction: Named[str] = Column(Text, nullable=False)
    since: Named[datetime] = Column(Moment, nullable=False)
    due_at: Named[datetime | None] = Column(Moment)
    due_rule: Named[str | None] = Column(Text)
    action: Named[str] = Column(Text, nullable=False)
    """stop, record, report, or permit (never applied without approval)."""
    state: Named[str] = Column(Text, nullable=False)
    """found, repaired, failed, or open."""


class ChangeColumns(TypedColumns):
    """One write of a plan that is being applied, so that a crash loses neither the write nor its proof."""

    run_id: Named[int] = Column(Int)
    target: Named[str] = Column(Text)
    """`crm:<module>/<record id>` or `campaigns`."""
    address_index: Named[bytes] = Column(LargeBinary)
    sub: Named[bytes | None] = Column(LargeBinary)
    kind: Named[str] = Column(Text, nullable=False)
    cause_idx: Named[int | None] = Column(Int)
    due_at: Named[datetime | None] = Column(Moment)
    due_rule: Named[str | None] = Column(Text)
    state: Named[str] = Column(Text, nullable=False)
    """planned, written (accepted, not yet read back), proved, failed, or superseded."""
    code: Named[str | None] = Column(Text)
    answer_sha256: Named[bytes | None] = Column(LargeBinary)
    written_at: Named[datetime | None] = Column(Moment)


class MailingColumns(TypedColumns):
    """One nightly mail per night, whoever sends it: the primary key is the lock."""

    night: Named[str] = Column(Text, primary_key=True)
    message_id: Named[str] = Column(Text, nullable=False, unique=True)
    state: Named[str] = Column(Text, nullable=False)
    """claimed or sent."""
    claimed_at: Named[datetime] = Column(Moment, nullable=False)
    sent_at: Named[datetime | None] = Column(Moment)
    place: Named[str | None] = Column(Text)


class TickColumns(TypedColumns):
    """A job's turn, taken by one of many nodes at a time."""

    job: Named[str] = Column(Text)
    turn: Named[str] = Column(Text)
    state: Named[str] = Column(Text, nullable=False, server_default="taken")
    """taken, done, or failed for good."""
    taken_at: Named[datetime] = Column(Moment, nullable=False)
    taken_by: Named[str] = Column(Text, nullable=False)
    lease_until: Named[datetime] = Column(Moment, nullable=False, server_default="0")
    """Who took it renews this; once it has passed, another may take over."""
    ended_at: Named[datetime | None] = Column(Moment)
    reason: Named[str | None] = Column(Text)
    """Why it failed."""


class AttestorColumns(TypedColumns):
    """Each witness and time-stamping authority that the settings name, and how it went with it lately."""

    log_id: Named[int] = Column(Small)
    kind: Named[str] = Column(Text)
    """witness or authority."""
    name: Named[str] = Column(Text)
    enrolled_at: Named[datetime] = Column(Moment, nullable=False)
    size: Named[int] = Column(Int, nullable=False)
    """The largest checkpoint that it attested."""
    succeeded_at: Named[datetime | None] = Column(Moment)
    asked_at: Named[datetime | None] = Column(Moment)
    trouble: Named[str | None] = Column(Text)
    """Why the last attempt failed; None after a success."""
    seen_size: Named[int] = Column(Int, nullable=False)
    """The largest tree of this log that a witness says it knows."""
    seen_root: Named[bytes | None] = Column(LargeBinary)
    """The root of that tree, where the witness showed our own signature on it."""


attestor = Table("attestor", metadata, AttestorColumns, PrimaryKeyConstraint("log_id", "kind", "name"))
run = Table("run", metadata, RunColumns)
drift = Table("drift", metadata, DriftColumns, PrimaryKeyConstraint("run_id", "kind", "address_index"))
change = Table(
    "change",
    metadata,
    ChangeColumns,
    PrimaryKeyConstraint("run_id", "target", "address_index"),
    Index("ix_change_state", "state"),
)
mailing = Table("mailing", metadata, MailingColumns)
tick = Table("tick", metadata, TickColumns, PrimaryKeyConstraint("job", "turn"))

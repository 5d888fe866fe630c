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
    cause: Named[str | None] = Column(Text)
    """What brought it about, as far as the products tell (`attribution.Cause`)."""
    actor: Named[str | None] = Column(Text)
    """Who, as CRM names its users."""
    told_by: Named[str | None] = Column(Text)
    """Of somebody opened again in CRM: record (its last writer alone) or timeline."""
    reopened: Named[int] = Column(Small, nullable=False, server_default="0")
    """1 where a record that was opted out was opened again by somebody else than us."""
    state: Named[str] = Column(Text, nullable=False)
    """found, repaired, failed, contested (somebody undoes it again and again), or open."""


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
    """proposed (waits for an approval, or was shown by a dry run), planned, written (accepted, not yet
    read back), proved, failed, superseded, contested (undone twice by somebody), or refused."""
    code: Named[str | None] = Column(Text)
    answer_sha256: Named[bytes | None] = Column(LargeBinary)
    written_at: Named[datetime | None] = Column(Moment)
    direction: Named[str] = Column(Text, nullable=False, server_default="stop")
    """stop or permit."""
    field: Named[str] = Column(Text, nullable=False, server_default="")
    old: Named[str] = Column(Text, nullable=False, server_default="")
    new: Named[str] = Column(Text, nullable=False, server_default="")
    reason: Named[str] = Column(Text, nullable=False, server_default="")
    basis: Named[str] = Column(Text, nullable=False, server_default="")
    """What the mirror showed when this was planned; a permissive change is stale once it shows another."""
    attempts: Named[int] = Column(Int, nullable=False, server_default="0")
    next_at: Named[datetime | None] = Column(Moment)
    """When a change that did not succeed is tried again, at the latest."""
    error: Named[str | None] = Column(Text)
    """Why the last attempt failed, or the change was superseded."""
    undone_by: Named[str | None] = Column(Text)
    """Who undid the same change before, as CRM names them."""


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
    Index("ix_change_target_address_index", "target", "address_index"),
)
mailing = Table("mailing", metadata, MailingColumns)
tick = Table("tick", metadata, TickColumns, PrimaryKeyConstraint("job", "turn"))

"""Mirrors of the two products as last read."""

from datetime import datetime
from typing import Any

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


class CrmRecordColumns(TypedColumns):
    """CRM records as last read; `seen_run` is the run that saw them last."""

    module: Named[str] = Column(Text)
    record_id: Named[str] = Column(Text)
    opted_out: Named[int] = Column(Small, nullable=False)
    modified_at: Named[datetime] = Column(Moment, nullable=False)
    unsubscribed_mode: Named[str | None] = Column(Text)
    unsubscribed_at: Named[datetime | None] = Column(Moment)
    jurisdiction: Named[str] = Column(Text, nullable=False)
    views: Named[str] = Column(Text, nullable=False)
    """Names of lists, each followed by a comma."""
    seen_run: Named[int] = Column(Int, nullable=False)
    modified_by: Named[str | None] = Column(Text)
    """Who wrote the record last, as CRM names them."""
    changed_run: Named[int | None] = Column(Int)
    """The run that saw `opted_out` change through somebody else; None once we wrote it ourselves."""
    changed_by: Named[str | None] = Column(Text)
    """Who changed it then: the record's last writer, or whom the timeline named."""
    changed_how: Named[str | None] = Column(Text)
    """By what, where the timeline told it (`attribution.Cause`)."""
    created_at: Named[datetime | None] = Column(Moment)
    """When CRM made the record."""
    unknown: Named[int] = Column(Small, nullable=False, server_default="0")
    """1 where the opt-out field held a value that means neither."""


class CrmAddressColumns(TypedColumns):
    """Keyed hashes of a record's addresses; `address` is sealed under the mirror key."""

    module: Named[str] = Column(Text)
    record_id: Named[str] = Column(Text)
    address_index: Named[bytes] = Column(LargeBinary)
    address: Named[bytes] = Column(LargeBinary, nullable=False)


class ContactColumns(TypedColumns):
    """Campaigns contacts as last read; `address` is sealed under the mirror key, for writing back."""

    address_index: Named[bytes] = Column(LargeBinary, primary_key=True)
    address: Named[bytes] = Column(LargeBinary, nullable=False)
    permission: Named[str | None] = Column(Text)
    """granted, refused, or None where neither segment has them."""
    since: Named[datetime] = Column(Moment, nullable=False)
    """When `permission` was first seen as it is: Campaigns itself does not tell."""
    was: Named[str | None] = Column(Text)
    """What it was before, where we saw it change."""
    seen_run: Named[int] = Column(Int, nullable=False)


class MemberColumns(TypedColumns):
    """Campaigns list memberships as last read (status: active, unsub, bounce); `since`, `was` as above."""

    list_name: Named[str] = Column(Text)
    address_index: Named[bytes] = Column(LargeBinary)
    status: Named[str] = Column(Text, nullable=False)
    since: Named[datetime] = Column(Moment, nullable=False)
    was: Named[str | None] = Column(Text)
    seen_run: Named[int] = Column(Int, nullable=False)


class OutcomeColumns(TypedColumns):
    """Opt-outs, complaints and bounces that Campaigns reported; each is ingested once."""

    campaign_key: Named[str] = Column(Text)
    address_index: Named[bytes] = Column(LargeBinary)
    kind: Named[str] = Column(Text)
    happened_at: Named[datetime | None] = Column(Moment)
    sent_at: Named[datetime | None] = Column(Moment)
    observed_at: Named[datetime] = Column(Moment, nullable=False)
    address: Named[bytes] = Column(LargeBinary, nullable=False)
    recorded_idx: Named[int | None] = Column(Int)
    """The entry that recorded it; None while it is news."""


_BY_KEY: dict[str, Any] = {"sqlite_with_rowid": False}
"""On SQLite rows stand in the order of their keys, so that one look-up finds them instead of two."""

crm_record = Table(
    "crm_record", metadata, CrmRecordColumns, PrimaryKeyConstraint("module", "record_id"), **_BY_KEY
)
crm_address = Table(
    "crm_address",
    metadata,
    CrmAddressColumns,
    PrimaryKeyConstraint("module", "record_id", "address_index"),
    Index("ix_crm_address_address_index", "address_index"),
    **_BY_KEY,
)
contact = Table("contact", metadata, ContactColumns, **_BY_KEY)
member = Table(
    "member",
    metadata,
    MemberColumns,
    PrimaryKeyConstraint("list_name", "address_index"),
    Index("ix_member_address_index", "address_index"),
    **_BY_KEY,
)
outcome = Table(
    "outcome",
    metadata,
    OutcomeColumns,
    PrimaryKeyConstraint("campaign_key", "address_index", "kind"),
    Index("ix_outcome_address_index", "address_index"),
)

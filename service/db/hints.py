"""Tables of what Zoho calls us about: channels that we asked for, hints that wait to be looked into."""

from datetime import datetime

from sqlalchemy import Column, Index, LargeBinary, Named, Table, Text, TypedColumns

from service.db.columns import Int, Moment, metadata


class ChannelColumns(TypedColumns):
    """One notification channel of CRM; its token is kept as a hash, for it is only ever compared."""

    channel_id: Named[str] = Column(Text, primary_key=True)
    notify_url: Named[str] = Column(Text, nullable=False)
    events: Named[str] = Column(Text, nullable=False)
    """What it tells of, comma separated."""
    watched_sha256: Named[bytes | None] = Column(LargeBinary)
    """Of the modules and fields that it was asked to watch; None where nobody noted them."""
    token_sha256: Named[bytes] = Column(LargeBinary, nullable=False)
    former_sha256: Named[bytes | None] = Column(LargeBinary)
    """Of the token before this one: what was on its way when it changed is still taken."""
    made_at: Named[datetime] = Column(Moment, nullable=False)
    renewed_at: Named[datetime] = Column(Moment, nullable=False)
    expires_at: Named[datetime] = Column(Moment, nullable=False)
    heard_at: Named[datetime | None] = Column(Moment)
    """When it last told us anything."""
    missed_at: Named[datetime | None] = Column(Moment)
    """When a look last found what it should have told and had not."""
    trouble: Named[str | None] = Column(Text)
    """Why it could not be asked for or renewed; None after a success."""


class HintColumns(TypedColumns):
    """Somebody says that something happened: a record or an address to be read again, and nothing more."""

    id: Named[int] = Column(Int, primary_key=True, autoincrement=True)
    digest: Named[bytes] = Column(LargeBinary, nullable=False, unique=True)
    """Keyed hash of what tells one delivery from another, so that a replay adds nothing."""
    kind: Named[str] = Column(Text, nullable=False)
    """notification, workflow, unsubscribed, bounce or spam."""
    module: Named[str | None] = Column(Text)
    record_id: Named[str | None] = Column(Text)
    address_index: Named[bytes | None] = Column(LargeBinary)
    """Of whom Campaigns tells, as keyed hash; None once the hint has ended."""
    received_at: Named[datetime] = Column(Moment, nullable=False)
    state: Named[str] = Column(Text, nullable=False)
    """open, done, or unconfirmed (the product did not show what was said, however often it was asked)."""
    attempts: Named[int] = Column(Int, nullable=False)
    not_before: Named[datetime] = Column(Moment, nullable=False)
    claimed_by: Named[str | None] = Column(Text)
    claimed_until: Named[datetime | None] = Column(Moment)
    ended_at: Named[datetime | None] = Column(Moment)


channel = Table("channel", metadata, ChannelColumns)
hint = Table("hint", metadata, HintColumns, Index("ix_hint_open", "state", "not_before"))

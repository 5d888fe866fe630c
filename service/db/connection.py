"""Tables of the connection to Zoho: which organisation, by which secrets; the access token."""

from datetime import datetime

from sqlalchemy import Column, LargeBinary, Named, Table, Text, TypedColumns

from service.db.columns import Moment, Small, metadata


class ZohoConnectionColumns(TypedColumns):
    """At most one row, `id` 1; `sealed` holds client secret and refresh token (`vault.connection`)."""

    id: Named[int] = Column(Small, primary_key=True, autoincrement=False)
    accounts_url: Named[str] = Column(Text, nullable=False)
    crm_url: Named[str] = Column(Text, nullable=False)
    campaigns_url: Named[str] = Column(Text, nullable=False)
    client_id: Named[str] = Column(Text, nullable=False)
    organisation: Named[str] = Column(Text, nullable=False)
    zgid: Named[str] = Column(Text, nullable=False)
    scopes: Named[str] = Column(Text, nullable=False)
    """Space separated, as the product granted them; empty where its answer did not say."""
    connected_at: Named[datetime] = Column(Moment, nullable=False)
    sealed: Named[bytes] = Column(LargeBinary, nullable=False)


zoho_connection = Table("zoho_connection", metadata, ZohoConnectionColumns)


class ZohoTokenColumns(TypedColumns):
    """The access token that all processes share, of one refresh token; `sealed` as in the connection."""

    fingerprint: Named[bytes] = Column(LargeBinary, primary_key=True)
    """Keyed hash of accounts host, client and refresh token."""
    sealed: Named[bytes | None] = Column(LargeBinary)
    """None until the first one was fetched."""
    renew_at: Named[datetime | None] = Column(Moment)
    claimed_by: Named[str | None] = Column(Text)
    """The process that fetches another just now, and until when it is waited for."""
    claimed_until: Named[datetime | None] = Column(Moment)


zoho_token = Table("zoho_token", metadata, ZohoTokenColumns)

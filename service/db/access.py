"""Tables of who may use the service."""

from datetime import datetime

from sqlalchemy import (
    Column,
    LargeBinary,
    Named,
    Table,
    Text,
    TypedColumns,
)

from service.db.columns import Moment, Small, metadata


class ApiKeyColumns(TypedColumns):
    """Keys for programs; only the SHA-256 of a high-entropy secret is kept. `scopes` comma separated."""

    id: Named[str] = Column(Text, primary_key=True)
    name: Named[str] = Column(Text, nullable=False)
    secret_sha256: Named[bytes] = Column(LargeBinary, nullable=False, unique=True)
    scopes: Named[str] = Column(Text, nullable=False)
    created_at: Named[datetime] = Column(Moment, nullable=False)
    revoked_at: Named[datetime | None] = Column(Moment)


class AccountColumns(TypedColumns):
    """People who log in; passwords are argon2id hashes."""

    name: Named[str] = Column(Text, primary_key=True)
    password: Named[str] = Column(Text, nullable=False)
    role: Named[str] = Column(Text, nullable=False)
    created_at: Named[datetime] = Column(Moment, nullable=False)
    failures: Named[int] = Column(Small, nullable=False)
    locked_until: Named[datetime | None] = Column(Moment)


class SessionColumns(TypedColumns):
    """Logged-in browsers; only the SHA-256 of the cookie is kept."""

    id_sha256: Named[bytes] = Column(LargeBinary, primary_key=True)
    account: Named[str] = Column(Text, nullable=False)
    form_token: Named[str] = Column(Text, nullable=False)
    expires_at: Named[datetime] = Column(Moment, nullable=False)


api_key = Table("api_key", metadata, ApiKeyColumns)
account = Table("account", metadata, AccountColumns)
session = Table("session", metadata, SessionColumns)

"""Composition root: settings become parts, parts become the web application.

The only module below the command line that knows everything.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from litestar import Litestar

from service import db as database
from service import policy as policies
from service.db import Database
from service.errors import Misconfigured
from service.intake import Intake
from service.mail import FolderOutbox, Outbox, SmtpOutbox
from service.policy import PolicySet
from service.settings import Settings
from service.vault.keys import Keys, open_keys
from service.web.auth import KeyRing
from service.web.edge import Edge
from service.web.site import create_site
from service.zoho.mapping import Zoho, connect
from service.zoho.pace import Pace


def now() -> datetime:
    """Return the time, aware and in UTC; the only clock of a running service."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything a running process is made of."""

    settings: Settings
    policy: PolicySet
    keys: Keys
    db: Database
    intake: Intake

    def zoho(self, pace: Pace | None = None) -> Zoho:
        """Return clients of the Zoho organisation; `Misconfigured` where none is connected."""
        return connect(self.settings, self.policy, pace=pace)

    @property
    def connected(self) -> bool:
        """Return whether the settings name a Zoho organisation."""
        return bool(self.settings.zoho_client_id)

    def outbox(self) -> Outbox:
        """Return where mail goes: an SMTP server, or a folder of .eml files."""
        if self.settings.smtp_url is None:
            return FolderOutbox(self.settings.state_dir / "outbox")
        return SmtpOutbox(self.settings.smtp_url.get_secret_value())

    def site(self) -> Litestar:
        """Return the web application: forms, API, pages, health."""
        edge = Edge(
            public_url=self.settings.public_url,
            policy=self.policy,
            db=self.db,
            intake=self.intake,
            keyring=KeyRing(self.db, now),
            now=now,
        )
        return create_site(edge)


@contextmanager
def running(settings: Settings) -> Iterator[Parts]:
    """Open everything, take claims, and close it all again at the end.

    The embedded default creates and migrates its own database; PostgreSQL is migrated by
    `consent-ledger migrate`, as the owner of the tables. Raises `Misconfigured` for whatever
    the service refuses to start with.
    """
    policy = policies.load(settings.policies_dir)
    keys = open_keys(settings)
    if settings.embedded:
        database.migrate(settings.database_url)
    db = Database(settings.database_url)
    try:
        database.require_current(db)
        with Intake(db, keys, policy, origin=settings.origin, now=now) as intake:
            yield Parts(settings=settings, policy=policy, keys=keys, db=db, intake=intake)
    finally:
        db.close()

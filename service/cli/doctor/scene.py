"""What the checks look at, each part opened once and only when asked for. Nothing is created or changed."""

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sqlalchemy.exc import OperationalError

from service import db as database
from service import policy as policies
from service.cli.doctor.finding import Blocked, Once
from service.db import Database
from service.errors import Misconfigured, Unavailable, ZohoDenied, ZohoError
from service.ledger.store import Store
from service.policy import PolicySet
from service.settings import Settings
from service.vault import connection
from service.vault.connection import Connection
from service.vault.keys import Keys, KeySource
from service.zoho import mapping, oauth, probes
from service.zoho.crm_answers import DENIED, EXPIRED, Row
from service.zoho.mapping import Zoho
from service.zoho.pace import TOKENS_LEFT, Pace
from service.zoho.shared import SharedQuota

Clock = Callable[[], datetime]


class Scene:
    """The settings and everything that they lead to."""

    def __init__(self, settings: Settings, now: Clock) -> None:
        self.settings = settings
        self.now = now
        self.policy: Once[PolicySet] = Once("policies", lambda: policies.load(settings.policies_dir))
        self.db: Once[Database] = Once("database", self._open_database)
        self.keys: Once[Keys] = Once("keys", self._open_keys)
        self.clients: Once[Zoho] = Once("credentials", self._open_clients)
        self.zoho: Once[Zoho] = Once("credentials", self._open_zoho)
        self.user: Once[Row] = Once("permissions", lambda: probes.current_user(self.zoho.need()))

    @property
    def source(self) -> KeySource:
        """Return where keys come from."""
        return KeySource(self.settings)

    @property
    def is_migrated(self) -> bool:
        """Return whether the database opens and has the newest schema."""
        try:
            database.require_current(self.db.need())
        except (Blocked, Misconfigured):
            return False
        return True

    def stored(self) -> Connection | None:
        """Return the connection that was made by `consent-ledger connect`, if it can be read."""
        if not self.is_migrated:
            return None
        with self.db.need().read() as tx:
            return connection.read(tx, self.keys.need()) if connection.exists(tx) else None

    def generation(self) -> int:
        """Return how often the ledger says that keys changed; 0 before there is a ledger."""
        if not self.is_migrated:
            return 0
        store = Store(self.settings.origin)
        with self.db.need().read() as tx:
            return store.ledger_generation(tx) if store.exists(tx) else 0

    def close(self) -> None:
        """Close what was opened."""
        if self.clients.made is not None:
            self.clients.made.close()
        if self.db.made is not None:
            self.db.made.close()

    def _open_database(self) -> Database:
        url = self.settings.database_url
        if self.settings.embedded and not database.exists(url):
            raise Misconfigured("there is no database file yet; run `consent-ledger serve` once")
        found = Database(url)
        try:
            with found.read():
                return found
        except OperationalError:
            found.close()
            raise Unavailable(
                "the database does not answer; check CONSENT_DATABASE_URL and that its server is running"
            ) from None

    def _open_keys(self) -> Keys:
        for path in (self.settings.kek_path, self.settings.keys_path):
            _require(path)
        return self.source.at(self.generation())

    def _open_zoho(self) -> Zoho:
        """Return the clients with a token; one kept from before is tried, since it may be revoked."""
        found = self.clients.open()
        is_kept = found.oauth.kept is not None
        found.oauth.token()
        if is_kept:
            _try(found)
        return found

    def _open_clients(self) -> Zoho:
        """Return the clients; nothing is sent yet."""
        chosen = connection.applied(self.settings, self.stored())
        policy = self.policy.need()
        own = policy.enforcement.quota.credits_per_day or None
        pace = Pace(spare=policy.enforcement.quota.withdrawal_reserve, spare_tokens=TOKENS_LEFT, who="doctor")
        if self.is_migrated:
            quota = SharedQuota(self.db.need(), own_allowance=own)
            keeper = mapping.shared_token(self.db.need(), self.keys.need(), chosen)
            return mapping.connect(chosen, policy, pace=pace, quota=quota, keeper=keeper)
        return mapping.connect(chosen, policy, pace=pace)


def _try(zoho: Zoho) -> None:
    """Ask CRM something harmless; raises where the token is refused and a fresh one refused or not to be had.

    What else is wrong with CRM, or forbidden to the token, other checks say.
    """
    try:
        zoho.crm.org()
    except ZohoError as error:
        is_refused = isinstance(error, ZohoDenied) and error.code not in DENIED - EXPIRED
        if is_refused or error.endpoint == oauth.ENDPOINT:
            raise


def _require(path: Path) -> None:
    if not os.path.lexists(path):
        raise Misconfigured(
            f"{path} does not exist; put back the copy that you keep, or where there is no ledger yet "
            "run `consent-ledger key init`"
        )

"""What a running process is made of, and how its parts are made from settings and policies."""

from dataclasses import dataclass
from datetime import UTC, datetime

from litestar import Litestar

from service.anchor.anchors import Anchors
from service.anchor.attestation import Attestation
from service.app import auditing
from service.db import Database
from service.errors import Misconfigured
from service.intake import Intake
from service.intake.erasures import ErasureList
from service.intake.scrub.nightly import Scrub
from service.ledger.fence import Fence
from service.ledger.note import Verifies
from service.ledger.publication import Publisher, Signing
from service.ledger.store import Store
from service.mail import FolderOutbox, Outbox, SmtpOutbox
from service.policy import PolicySet
from service.reconciler.audit import Audit
from service.reconciler.context import Context, Progress, silent
from service.settings import Settings
from service.vault import connection
from service.vault.keys import Keys
from service.web.auth import KeyRing
from service.web.edge import Edge
from service.web.hooks import SHORTEST_TOKEN
from service.web.site import create_site
from service.zoho.mapping import Zoho, connect, shared_token
from service.zoho.pace import TOKENS_LEFT, Pace
from service.zoho.quota import Quota
from service.zoho.shared import SharedQuota
from service.zoho.tokens import SharedToken


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
    attestation: Attestation

    def zoho(
        self, pace: Pace | None = None, *, quota: Quota | None = None, sharing: Zoho | None = None
    ) -> Zoho:
        """Return clients of the Zoho organisation; `Misconfigured` where none is connected.

        They leave the reserve to withdrawals unless `pace` says otherwise, and keep to the budget of all
        nodes unless `quota` is another; `sharing` lends them its token.
        """
        settings = self.zoho_settings()
        return connect(
            settings,
            self.policy,
            pace=pace or self.pace("by hand"),
            quota=quota or self.quota(),
            sharing=sharing,
            keeper=self.token_of(settings),
        )

    def token_of(self, settings: Settings) -> SharedToken:
        """Return where all processes keep the access token of the refresh token in `settings`."""
        return shared_token(self.db, self.intake.keys, settings)

    def quota(self) -> SharedQuota:
        """Return this process's part of the budget that all nodes share."""
        own = self.policy.enforcement.quota.credits_per_day
        return SharedQuota(self.db, clock=now, own_allowance=own or None)

    def pace(self, who: str, *, patience_s: float = 0.0) -> Pace:
        """Return the pace of calls that leave the reserve to people's own withdrawals."""
        return Pace(
            patience_s=patience_s,
            spare=self.policy.enforcement.quota.withdrawal_reserve,
            spare_tokens=TOKENS_LEFT,
            who=who,
        )

    def zoho_settings(self) -> Settings:
        """Return the settings, with what `consent-ledger connect` stored where they say nothing."""
        with self.db.read() as tx:
            return connection.applied(self.settings, connection.read(tx, self.intake.keys))

    def context(self, zoho: Zoho, progress: Progress = silent) -> Context:
        """Return what the reconciler is handed."""
        return Context(
            db=self.db,
            intake=self.intake,
            policy=self.policy,
            crm=zoho.crm,
            campaigns=zoho.campaigns,
            now=now,
            progress=progress,
            time_zone=lambda: zoho.quota.time_zone,
        )

    def anchors(self) -> Anchors:
        """Return who asks witnesses and time-stamping authorities about the log."""
        return anchors_of(self.db, self.keys, self.attestation)

    @property
    def connected(self) -> bool:
        """Return whether the settings name a Zoho organisation, or one was connected."""
        with self.db.read() as tx:
            return bool(self.settings.zoho_client_id) or connection.exists(tx)

    def outbox(self) -> Outbox:
        """Return where mail goes: an SMTP server, or a folder of .eml files."""
        url = self.settings.smtp_url.get_secret_value() if self.settings.smtp_url else ""
        return SmtpOutbox(url) if url else FolderOutbox(self.settings.state_dir / "outbox")

    def attest(self) -> None:
        """Publish the log as it stands and have it stamped with the time: what is done before keys change."""
        self.publisher().publish()
        self.anchors().stamp_at_once()

    def publisher(self) -> Publisher:
        """Return what publishes the log; as a context it does so while it lasts."""
        keys = self.intake.keys
        return Publisher(self.db, self.intake.store, keys.log, keys.log_pq, now, current=self._signing)

    def scrub(self) -> Scrub:
        """Return what looks at a share of all stored rows each night."""
        return Scrub(
            db=self.db,
            keys=self._newest_keys,
            policy=self.policy,
            fence=Fence(self.settings.fence_path, *self.keys.log_verifiers),
            erasures=ErasureList(self.settings.erasures_path, backup_days=self.settings.backup_days),
            days=self.settings.scrub_days,
            now=now,
        )

    def _newest_keys(self) -> Keys:
        """Return the keys, read again if another process changed them."""
        with self.db.read() as tx:
            generation = self.intake.store.ledger_generation(tx)
        if self.intake.keys.generation < generation:
            self.intake.renew(generation)
        return self.intake.keys

    def _signing(self) -> Signing | None:
        """Return what signs checkpoints now; None while the database is older than the log others know."""
        if self.intake.trouble is not None:
            return None
        keys = self._newest_keys()
        return Signing(head=keys.heads, cosigner=keys.log_pq, verifiers=self.log_verifiers)

    @property
    def log_verifiers(self) -> tuple[Verifies, ...]:
        """Return every public key that ever signed this log's checkpoints, the present ones first."""
        keys = self.intake.keys
        return (keys.log.verifier, keys.log_pq.verifier, *keys.log_verifiers[1:])

    def site(self) -> Litestar:
        """Return the web application: forms, API, pages, health."""
        edge = Edge(
            public_url=self.settings.public_url,
            policy=self.policy,
            db=self.db,
            intake=self.intake,
            keyring=KeyRing(self.db, now),
            now=now,
            log_policy=self.attestation.policy,
            hook_token=_hook_token(self.settings),
            audit=self._audit if self.connected else None,
        )
        return create_site(edge)

    def _audit(self, push: int) -> Audit:
        with self.zoho() as zoho:
            return auditing.audit(self.db, self.policy, zoho, push=push, now=now)


def _hook_token(settings: Settings) -> str:
    token = settings.hook_token.get_secret_value()
    if token and len(token) < SHORTEST_TOKEN:
        raise Misconfigured(
            f"CONSENT_HOOK_TOKEN has less than {SHORTEST_TOKEN} characters; take more, by chance: "
            "it is all that tells Zoho's webhooks from anybody else's"
        )
    return token


def anchors_of(db: Database, keys: Keys, attestation: Attestation) -> Anchors:
    """Return who asks witnesses and time-stamping authorities about the log in `db`."""
    return Anchors(db, Store(keys.log.name), keys.log_verifiers, attestation, now=now)

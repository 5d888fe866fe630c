"""Composition root: settings become parts, parts become the web application.

The only module below the command line that knows everything.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from litestar import Litestar
from sqlalchemy.exc import OperationalError

from service import db as database
from service import policy as policies
from service.anchor import attestation as attesting
from service.anchor.anchors import Anchors
from service.anchor.attestation import Attestation
from service.db import Database
from service.errors import Misconfigured, ServiceError, Unavailable
from service.intake import Intake
from service.intake.ending import Ending
from service.intake.epoch import Epochs
from service.intake.erasures import ErasureList
from service.intake.outside import take_over
from service.intake.scrub.nightly import Scrub
from service.jobs import Nightly, Worker, node
from service.ledger.fence import Fence
from service.ledger.note import Verifies
from service.ledger.publication import Publisher, Signing
from service.ledger.store import Store
from service.mail import FolderOutbox, Outbox, SmtpOutbox, send_nightly
from service.policy import PolicySet, ZohoMapping
from service.reconciler import enforce, harm, letting, runs
from service.reconciler.audit import Asked, Audit
from service.reconciler.audit import audit as run_audit
from service.reconciler.audit.fields import Metadata
from service.reconciler.audit.spending import spending
from service.reconciler.context import Context, Progress, silent
from service.reconciler.heeding import Heed
from service.reconciler.run import reconcile
from service.reconciler.watch import Watch
from service.reports.drift import drift_report
from service.reports.render import Letter, render
from service.settings import Settings
from service.vault import connection
from service.vault.keys import Keys, KeySource
from service.web.auth import KeyRing
from service.web.edge import Edge
from service.web.hooks import NOTIFIED_AT, SHORTEST_TOKEN
from service.web.site import create_site
from service.zoho import estimate
from service.zoho.mapping import Zoho, connect, shared_token
from service.zoho.metadata import ZohoMetadata
from service.zoho.notifications import Notifications, Subscription
from service.zoho.pace import TOKENS_LEFT, Pace
from service.zoho.quota import Quota
from service.zoho.shared import SharedQuota
from service.zoho.tokens import SharedToken

LONGEST_WAIT = timedelta(hours=5)
"""How long a large nightly reading waits for off-hours: the worker is patient for six."""
NIGHTLY_PATIENCE_S = 3600.0
"""How long the nightly run waits for a window of Campaigns; withdrawals never wait, they come back."""


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
        return _anchors(self.db, self.keys, self.attestation)

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
            return audit(self, zoho, push=push)


def send_drift_mail(parts: Parts) -> str | None:
    """Send the night's drift report, once for all processes; return where it went, or None if it was sent."""

    def letter() -> Letter:
        with parts.db.read() as tx:
            return render(drift_report(tx, parts.policy, now=now()))

    return send_nightly(
        parts.db,
        parts.outbox(),
        letter,
        night=now().date(),
        origin=parts.settings.origin,
        sender=parts.settings.mail_from,
        recipients=parts.settings.mail_to,
        now=now,
    )


def audit(parts: Parts, zoho: Zoho, *, push: int = 0) -> Audit:
    """Audit what was read last against both products' metadata, keep the result and return it."""
    learn(zoho)
    metadata = describe(zoho, parts.policy.zoho)
    zoho.quota.settle()
    limits = parts.policy.enforcement.quota
    with parts.db.begin() as tx:
        spent = spending(tx, now=now(), reserve=limits.withdrawal_reserve, own=limits.credits_per_day or None)
        asked = Asked(metadata=metadata, spending=spent, push=push)
        return run_audit(tx, parts.policy, asked, now=now())


def learn(zoho: Zoho) -> None:
    """Ask once a day what the edition allows, for all nodes; limits of one process alone need no asking."""
    if isinstance(zoho.quota, SharedQuota):
        zoho.quota.learn(zoho.transports["crm"])


def describe(zoho: Zoho, mapping: ZohoMapping) -> Metadata:
    """Return what both products say about the fields of the mapped modules."""
    return ZohoMetadata(zoho.crm, zoho.campaigns).describe([module.name for module in mapping.crm.modules])


def work(parts: Parts, stop: threading.Event, *, nightly: bool = True, watch: bool = True) -> None:
    """Carry withdrawals out, watch the products, run nightly jobs, publish the log until `stop`."""
    with ExitStack() as stack:
        stack.enter_context(Epochs(parts.intake))
        stack.enter_context(parts.publisher())
        stack.enter_context(parts.anchors())
        turns: dict[str, Nightly] = {}
        hourly: dict[str, Nightly] = {}
        carry_out: Callable[[], int] = int
        look: Callable[[], int] | None = None
        heed: Callable[[], int] | None = None
        opening: Nightly | None = None
        if parts.connected:
            quota = parts.quota()
            first = stack.enter_context(parts.zoho(Pace(), quota=quota))
            second, slow = (
                stack.enter_context(parts.zoho(pace, quota=quota, sharing=first))
                for pace in (parts.pace("watch"), parts.pace("nightly", patience_s=NIGHTLY_PATIENCE_S))
            )
            quick, modest = parts.context(first), parts.context(second)
            name = node()
            carry_out = lambda: enforce.carry_out(quick, worker=name, others=modest).total  # noqa: E731  # one line, one use
            if watch:
                looking, heed = _watching(parts, modest, second, name)
                look = lambda: _informed(second, looking)  # noqa: E731  # one line, one use
            if nightly:
                opening = lambda _night: _fill(parts, slow)  # noqa: E731  # one line, one use
            turns["reconcile"] = lambda _night: _reconcile(parts, slow)
            hourly["permits"] = lambda _night: _let_go(parts.context(slow))
            turns["harm"] = lambda _night: _harm(parts, slow)
            turns["audit"] = lambda _night: _audit(parts, slow)
        turns["scrub"] = parts.scrub().look
        turns["mail"] = lambda _night: _mail(parts)
        worker = Worker(
            db=parts.db,
            carry_out=carry_out,
            nightly=turns if nightly else {},
            hour=parts.settings.report_hour,
            now=now,
            name=node(),
            look=look,
            heed=heed,
            look_s=max(1, parts.policy.enforcement.watch_seconds),
            opening=opening,
            hourly=hourly if nightly else {},
        )
        parts.intake.ring_for_tasks(worker.tasks.ring)
        worker.run(stop)


def _let_go(context: Context) -> None:
    """Write what was approved, once the off-hours begin; what a product does not take waits."""
    letting.between_runs(context)


def _informed(zoho: Zoho, look: Callable[[], int]) -> int:
    """Look, and before that ask once a day what the edition allows: not every worker has nights."""
    learn(zoho)
    return look()


def _watching(
    parts: Parts, context: Context, zoho: Zoho, name: str
) -> tuple[Callable[[], int], Callable[[], int]]:
    """Return what looks at the products every few seconds, and what looks into their hints."""
    settings = parts.settings
    watch = Watch(context=context, sweep=timedelta(seconds=settings.sweep_seconds))
    heed = Heed(context=context, watch=Watch(context=context), worker=name)
    base = settings.hooks_url or settings.public_url
    if not (settings.hooks_url or base.startswith("https://")):
        return watch.look, heed.turn
    subscription = Subscription(
        db=parts.db,
        client=Notifications(zoho.transports["crm"]),
        mapping=parts.policy.zoho,
        url=base.rstrip("/") + NOTIFIED_AT,
        origin=settings.origin,
        now=now,
    )

    def look() -> int:
        subscription.keep()
        return watch.look()

    return look, heed.turn


def _hook_token(settings: Settings) -> str:
    token = settings.hook_token.get_secret_value()
    if token and len(token) < SHORTEST_TOKEN:
        raise Misconfigured(
            f"CONSENT_HOOK_TOKEN has less than {SHORTEST_TOKEN} characters; take more, by chance: "
            "it is all that tells Zoho's webhooks from anybody else's"
        )
    return token


def _anchors(db: Database, keys: Keys, attestation: Attestation) -> Anchors:
    return Anchors(db, Store(keys.log.name), keys.log_verifiers, attestation, now=now)


def _reconcile(parts: Parts, zoho: Zoho) -> None:
    """Run once; that the log takes nothing is kept as a refused run, so that the mail says so."""
    context = parts.context(zoho)
    try:
        context.intake.require_writable()
    except ServiceError as error:
        with context.db.begin() as tx:
            runs.refuse(tx, context.now(), str(error))
        raise
    learn(zoho)
    estimate.require_off_hours(context, zoho.quota, longest=LONGEST_WAIT)
    reconcile(context, applying=True)


def _fill(parts: Parts, zoho: Zoho) -> None:
    """Read both products once, writing nothing: a stop is more exact where the mirrors are filled."""
    with parts.db.read() as tx:
        filled = runs.last_believed(tx) is not None
    if not filled:
        learn(zoho)
        reconcile(parts.context(zoho))


def _audit(parts: Parts, zoho: Zoho) -> None:
    audit(parts, zoho)


def _harm(parts: Parts, zoho: Zoho) -> None:
    harm.look(parts.context(zoho), zoho.campaigns.mails())


def _mail(parts: Parts) -> None:
    send_drift_mail(parts)


def _require_keys_of(settings: Settings) -> None:
    """Raise `Misconfigured` before new keys are made beside a ledger that was begun with others."""
    keys = settings.keys_path
    fences = [path for path in (settings.fence_path, settings.former_fence_path) if path.exists()]
    if keys.exists() or not (fences or database.exists(settings.database_url)):
        return
    if not keys.exists():  # asked again: another process may be making both, the keys first
        anew = f"; to begin another ledger in its place, remove {fences[0]}" if fences else ""
        raise Misconfigured(
            f"a ledger exists, but its keys file {keys} does not; put back the copy that you keep "
            f"(new keys would open nothing of it){anew}"
        )


def _require_reachable(db: Database) -> None:
    try:
        with db.read():
            pass
    except OperationalError:
        raise Unavailable(
            "the database does not answer; check CONSENT_DATABASE_URL and that its server is running"
        ) from None


@contextmanager
def running(
    settings: Settings, *, source: KeySource | None = None, after: Ending | None = None
) -> Iterator[Parts]:
    """Open everything, take claims, and close it all again at the end.

    The embedded default creates and migrates its own database; PostgreSQL is migrated by
    `consent-ledger migrate`, as the owner of the tables. `after` is the end of the log that
    this one continues, where it does not exist yet. Raises `Misconfigured` for whatever
    the service refuses to start with.
    """
    policy = policies.load(settings.policies_dir)
    attestation = attesting.load(settings.policies_dir)
    source = source or KeySource(settings)
    _require_keys_of(settings)
    keys = source.open()
    if settings.embedded:
        database.migrate(settings.database_url)
    db = Database(settings.database_url)
    try:
        _require_reachable(db)
        database.require_current(db)
        _anchors(db, keys, attestation).look()
        fence = Fence(settings.fence_path, *keys.log_verifiers)
        erasures = ErasureList(settings.erasures_path, backup_days=settings.backup_days)
        take_over(fence, erasures, Fence(settings.former_fence_path, *keys.log_verifiers))
        intake = Intake(
            db,
            keys,
            policy,
            origin=settings.origin,
            now=now,
            fence=fence,
            source=source,
            erasures=erasures,
            before=None if after is None else after.before,
            lost=None if after is None else after.lost,
        )
        with intake:
            yield Parts(
                settings=settings,
                policy=policy,
                keys=intake.keys,
                db=db,
                intake=intake,
                attestation=attestation,
            )
    finally:
        db.close()

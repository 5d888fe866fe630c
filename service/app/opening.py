"""From settings to a running process, or a refusal that says what to mend."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import OperationalError

from service import db as database
from service import policy as policies
from service.anchor import attestation as attesting
from service.app.parts import Parts, anchors_of, now
from service.db import Database
from service.errors import Misconfigured, Unavailable
from service.intake import Intake
from service.intake.ending import Ending
from service.intake.erasures import ErasureList
from service.intake.outside import take_over
from service.ledger.fence import Fence
from service.settings import Settings
from service.vault.keys import KeySource


def _require_keys_of(settings: Settings) -> None:
    """Raise `Misconfigured` before new keys are made beside a ledger that was begun with others."""
    keys = settings.keys_path
    fences = [path for path in (settings.fence_path, settings.former_fence_path) if path.exists()]
    if keys.exists() or not (fences or database.begun(settings.database_url)):
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
        anchors_of(db, keys, attestation).look()
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

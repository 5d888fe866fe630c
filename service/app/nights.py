"""What is done once a night, by one of all processes."""

from datetime import timedelta

from service.app import auditing
from service.app.parts import Parts, now
from service.errors import ServiceError
from service.mail import send_nightly
from service.reconciler import harm, runs
from service.reconciler.audit import Audit
from service.reconciler.run import reconcile
from service.reports.drift import drift_report
from service.reports.render import Letter, render
from service.zoho import estimate
from service.zoho.mapping import Zoho

LONGEST_WAIT = timedelta(hours=5)
"""How long a large nightly reading waits for off-hours: the worker is patient for six."""


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
    return auditing.audit(parts.db, parts.policy, zoho, push=push, now=now)


def reconcile_once(parts: Parts, zoho: Zoho) -> None:
    """Reconcile once; that the log takes nothing is kept as a refused run, so that the mail says so."""
    context = parts.context(zoho)
    try:
        context.intake.require_writable()
    except ServiceError as error:
        with context.db.begin() as tx:
            runs.refuse(tx, context.now(), str(error))
        raise
    auditing.learn(zoho)
    estimate.require_off_hours(context, zoho.quota, longest=LONGEST_WAIT)
    reconcile(context, applying=True)


def fill(parts: Parts, zoho: Zoho) -> None:
    """Read both products once, writing nothing: a stop is more exact where the mirrors are filled."""
    with parts.db.read() as tx:
        filled = runs.last_believed(tx) is not None
    if not filled:
        auditing.learn(zoho)
        reconcile(parts.context(zoho))


def look_for_harm(parts: Parts, zoho: Zoho) -> None:
    """Find who was mailed while they were not permitted, in what was sent since the last look."""
    harm.look(parts.context(zoho), zoho.campaigns.mails())


def mail(parts: Parts) -> None:
    """Send the night's mail, where no process did."""
    send_drift_mail(parts)


def look_into_both(parts: Parts, zoho: Zoho) -> None:
    """Audit both products and keep the result, which the mail tells."""
    audit(parts, zoho)

"""What a running service does beside answering: withdrawals, watch, nights, the published log."""

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta

from service.app import auditing, nights
from service.app.parts import Parts, now
from service.intake.epoch import Epochs
from service.jobs import Nightly, Worker, node
from service.reconciler import enforce, letting
from service.reconciler.context import Context
from service.reconciler.heeding import Heed
from service.reconciler.seeking import Seeking
from service.reconciler.watch import Watch
from service.web.hooks import NOTIFIED_AT
from service.zoho.mapping import Zoho
from service.zoho.notifications import Notifications, Subscription
from service.zoho.pace import Pace

NIGHTLY_PATIENCE_S = 3600.0
"""How long the nightly run waits for a window of Campaigns; withdrawals never wait, they come back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Duties:
    """What a worker does for the Zoho organisation; nothing where none is connected."""

    carry_out: Callable[[], int] = int
    prove: Callable[[], float] | None = None
    look: Callable[[], int] | None = None
    heed: Callable[[], int] | None = None
    opening: Nightly | None = None
    hourly: Mapping[str, Nightly] = field(default_factory=dict)
    nightly: Mapping[str, Nightly] = field(default_factory=dict)


def work(parts: Parts, stop: threading.Event, *, nightly: bool = True, watch: bool = True) -> None:
    """Carry withdrawals out, watch the products, run nightly jobs, publish the log until `stop`."""
    with ExitStack() as stack:
        stack.enter_context(Epochs(parts.intake))
        stack.enter_context(parts.publisher())
        stack.enter_context(parts.anchors())
        duties = _duties(parts, stack, watch=watch) if parts.connected else Duties()
        turns = {
            **duties.nightly,
            "scrub": parts.scrub().look,
            "mail": lambda _night: nights.mail(parts),
        }
        worker = Worker(
            db=parts.db,
            carry_out=duties.carry_out,
            nightly=turns if nightly else {},
            hour=parts.settings.report_hour,
            now=now,
            name=node(),
            prove=duties.prove,
            look=duties.look,
            heed=duties.heed,
            look_s=max(1, parts.policy.enforcement.watch_seconds),
            opening=duties.opening if nightly else None,
            hourly=duties.hourly if nightly else {},
        )
        parts.intake.ring_for_tasks(worker.tasks.ring)
        worker.run(stop)


def _duties(parts: Parts, stack: ExitStack, *, watch: bool) -> Duties:
    """Return the duties towards the organisation, done with clients that `stack` closes."""
    quota = parts.quota()
    first = stack.enter_context(parts.zoho(Pace(), quota=quota))
    second, slow = (
        stack.enter_context(parts.zoho(pace, quota=quota, sharing=first))
        for pace in (parts.pace("watch"), parts.pace("nightly", patience_s=NIGHTLY_PATIENCE_S))
    )
    quick, modest = parts.context(first), parts.context(second)
    name = node()
    looking, heed = _watching(parts, modest, second, name) if watch else (None, None)
    return Duties(
        carry_out=lambda: enforce.carry_out(quick, worker=name, others=modest).total,
        prove=_proving(quick, name, Watch(context=modest) if watch else None),
        look=looking and (lambda: _informed(second, looking)),
        heed=heed,
        opening=lambda _night: nights.fill(parts, slow),
        hourly={"permits": lambda _night: _let_go(parts.context(slow))},
        nightly={
            "reconcile": lambda _night: nights.reconcile_once(parts, slow),
            "harm": lambda _night: nights.look_for_harm(parts, slow),
            "audit": lambda _night: nights.look_into_both(parts, slow),
        },
    )


def _proving(context: Context, name: str, watch: Watch | None) -> Callable[[], float] | None:
    """Return what looks on the lists for those whom a workflow stopped, and those who are said to have left.

    Its reading is the watch's as well, where there is one; None where there is nobody to look for.
    """
    if watch is None and context.policy.zoho.campaigns.workflow is None:
        return None
    return Seeking(context=context, worker=name, others=None if watch is None else watch.shown).look


def _let_go(context: Context) -> None:
    """Write what was approved, once the off-hours begin; what a product does not take waits."""
    letting.between_runs(context)


def _informed(zoho: Zoho, look: Callable[[], int]) -> int:
    """Look, and before that ask once a day what the edition allows: not every worker has nights."""
    auditing.learn(zoho)
    return look()


def _watching(
    parts: Parts, context: Context, zoho: Zoho, name: str
) -> tuple[Callable[[], int], Callable[[], int]]:
    """Return what looks at the products every few seconds, and what looks into their hints."""
    settings = parts.settings
    watch = Watch(context=context, sweep=timedelta(seconds=settings.sweep_seconds))
    heed = Heed(context=context, watch=Watch(context=context), worker=name, sought=True)
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

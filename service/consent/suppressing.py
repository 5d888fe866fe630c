"""Why mail to somebody is suppressed: bounces and complaints, kept apart from consent. Pure."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from service.consent.event import Category, Event
from service.consent.rules import Rules


def suppression(known: Iterable[Event], rules: Rules, at: datetime) -> tuple[str | None, int | None]:
    """Return why mail to this person is suppressed, and by which entry; bounces are not consent."""
    cause: str | None = None
    by: int | None = None
    soft: list[Event] = []
    since = at - timedelta(days=rules.soft_bounce_days)
    for event in known:
        match event.category:
            case Category.SUPPRESSION_LIFTED:
                cause, by, soft = None, None, []
            case Category.BOUNCE_HARD:
                cause, by = "suppressed: the mailbox bounced for good", event.index
            case Category.COMPLAINT:
                cause, by = "suppressed: the person complained of spam", event.index
            case Category.SUPPRESSION_ADDED:
                cause, by = f"suppressed by {event.source}", event.index
            case Category.BOUNCE_SOFT if event.occurred_at >= since:
                soft.append(event)
            case _:
                pass
    if cause is None and len(soft) >= rules.soft_bounce_limit:
        reason = f"suppressed: {len(soft)} soft bounces in {rules.soft_bounce_days} days"
        return f"{reason} ({rules.soft_bounce_rule})", soft[-1].index
    return cause, by

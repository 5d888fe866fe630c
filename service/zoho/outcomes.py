"""From rows of campaigns and recipients to outcomes: addresses, times without a zone, A/B children. Pure.

Implements facts `zoho-campaigns` sections 0.7, 1.4 and 3. A display time carries no zone; it is placed
by a pair of the same moment as epoch and as display, the row's own or its campaign's, and left out where
there is none: a time that is guessed hours too early could make a withdrawal lose against an older grant.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from service.reconciler.port import Outcome, OutcomeKind
from service.zoho.envelopes import text

Row = Mapping[str, Any]

DISPLAY_FORMATS = ("%d %b %Y, %I:%M %p", "%b %d, %Y %I:%M %p")
TIME_KEYS: Mapping[OutcomeKind, tuple[str, ...]] = {
    OutcomeKind.OPTED_OUT: ("optOutTime", "optouttime", "opt_out_time"),
    OutcomeKind.BOUNCED_HARD: ("bouncedDate", "bounceddate", "bounced_date"),
    OutcomeKind.BOUNCED_SOFT: ("bouncedDate", "bounceddate", "bounced_date"),
}
QUARTER_S = 900
"""Every time zone lies a multiple of a quarter of an hour from UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """One sent campaign; `kind` is Campaigns' own word, of which no list is published."""

    key: str
    sent_at: datetime | None
    kind: str
    offset: timedelta | None = None
    """How far the account's display times are ahead of UTC."""

    @property
    def is_plain(self) -> bool:
        """Return whether it certainly has no child campaigns."""
        return "normal" in self.kind

    @property
    def is_split(self) -> bool:
        """Return whether it certainly is an A/B test."""
        return any(word in self.kind for word in ("ab", "a/b", "split"))


def campaign(row: Row) -> Campaign | None:
    """Return the campaign of a row of `recentcampaigns`, None if it has no key."""
    key = text(row, "campaign_key", "campaignkey")
    kind = (text(row, "campaigntype", "campaign_type") or "").lower()
    sent_at = epoch(text(row, "sent_time", "sent_time_gmt"))
    offset = _offset(sent_at, display(text(row, "sent_date_string")))
    return Campaign(key=key, sent_at=sent_at, kind=kind, offset=offset) if key else None


def child_keys(rows: Iterable[Row]) -> tuple[str, ...]:
    """Return the keys of the A/B test's campaigns, in which the test phase's recipients live."""
    found = (text(row, f"{letter}_child_campaignkey") for row in rows for letter in "ab")
    return tuple(key for key in found if key)


def outcome(row: Row, *, sent: Campaign, kind: OutcomeKind) -> Outcome | None:
    """Return the outcome of a recipient's row, None if it has no address."""
    address = text(row, "contactemailaddress", "contact_email")
    if address is None:
        return None
    sent_at = epoch(text(row, "sent_time"))
    offset = _offset(sent_at, display(text(row, "sentdate")))
    return Outcome(
        campaign_key=sent.key,
        address=address,
        kind=kind,
        happened_at=_placed(text(row, *TIME_KEYS.get(kind, ())), sent.offset if offset is None else offset),
        sent_at=sent_at or sent.sent_at,
    )


def lacks_times(rows: Sequence[Row], kind: OutcomeKind) -> bool:
    """Return whether none of the rows tells when a thing happened that Campaigns knows the time of."""
    return kind in TIME_KEYS and bool(rows) and not any(text(row, *TIME_KEYS[kind]) for row in rows)


def epoch(value: str | None) -> datetime | None:
    """Return the UTC time of epoch milliseconds as text, None for anything else."""
    if value is None or not value.isdecimal() or len(value) > 14:  # noqa: PLR2004  # year 5138
        return None
    return datetime.fromtimestamp(int(value) / 1_000, UTC)


def display(value: str | None) -> datetime | None:
    """Return a display time as if it were UTC, None for another format."""
    for pattern in DISPLAY_FORMATS:
        try:
            return datetime.strptime(value or "", pattern).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None


def _offset(sent_at: datetime | None, shown: datetime | None) -> timedelta | None:
    if sent_at is None or shown is None:
        return None
    quarters = round((shown - sent_at).total_seconds() / QUARTER_S)
    return timedelta(seconds=quarters * QUARTER_S) if abs(quarters) <= 14 * 4 else None


def _placed(value: str | None, offset: timedelta | None) -> datetime | None:
    if (exact := epoch(value)) is not None:
        return exact
    shown = display(value)
    return None if shown is None or offset is None else shown - offset

"""Campaigns' listings, read to their true end, and the outcomes of all sent campaigns.

Implements facts `zoho-campaigns` sections 0.5, 0.6, 2 and 3. A short page is not the end of a listing;
the code for "empty" is. A listing that repeats itself has no end, and nothing is concluded from it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from service.errors import ZohoError
from service.reconciler.port import Outcome, OutcomeKind
from service.zoho import envelopes
from service.zoho.envelopes import Envelope, Row, text
from service.zoho.outcomes import TIME_KEYS, Campaign, campaign, child_keys, lacks_times, outcome
from service.zoho.ranges import PAGE, OwnRanges, Ranges
from service.zoho.transport import Call, Transport

BASE = "/api/v1.1/"
SEAM = 10
"""Rows of a full page that the next one repeats: so many may leave a listing while a page is under way."""

OVER_MAXIMUM = "6502"
SMALLEST = 20
"""Rows of a page that Campaigns answers when nobody asks for a number: no maximum lies below it."""

RECIPIENTS = "getcampaignrecipientsdata"


class Noted(NamedTuple):
    """The calls by endpoint that the outcomes of one campaign took, its children's included."""

    sent_at: datetime | None
    """None also for the listing of the campaigns themselves."""
    calls: Counter[str]
    key: str = ""
    """Empty for the listing itself."""
    keys: int = 1
    """How many campaigns it is: itself, and its children."""


Note = Callable[[Sequence[Noted]], None]
MOST_PAGES = 10_000
MOST_STEPS = 5
LATE = timedelta(days=120)
"""How long after the sending a link may still be clicked, or a mail may still bounce."""


def calls(rows: int, page: int = PAGE) -> int:
    """Return the calls that read a listing of so many rows: the last one finds it empty."""
    if rows < page:
        return 2 if rows else 1
    # The first page, whole ones, one that shows the seam or the rest, and the empty one.
    return (rows - page) // (page - overlap(page)) + 3


def overlap(page: int) -> int:
    """Return the rows of a full page that the next one repeats."""
    return min(SEAM, page // 10)


@dataclass(slots=True)
class Place:
    """Where in a listing the next page begins, and who was read last: the seam to the page before."""

    start: int = 1
    seam: frozenset[str] = frozenset()
    full: int = PAGE
    """Rows of a page that is not the last; smaller where Campaigns truncates."""
    steps: int = 0

    def narrow(self, rows: int) -> None:
        """Expect no page to be longer than this."""
        self.full = min(self.full, rows)

    def fresh(self, page: Sequence[Row]) -> Sequence[Row] | None:
        """Return the rows behind the seam; None where the page does not show it."""
        if not self.seam:
            return page
        last = max((n for n, row in enumerate(page) if _key(row) in self.seam), default=None)
        return None if last is None else page[last + 1 :]

    def move_on(self, page: Sequence[Row]) -> None:
        """Go to the next page: a little early behind a full one, exactly behind a short one."""
        self.steps = 0
        if self.start > 1 and not self.seam and len(page) < self.full:
            self.full = max(len(page), 1)
        again = overlap(len(page)) if len(page) >= self.full else 0
        keys = frozenset(key for row in page[len(page) - again :] if (key := _key(row)))
        self.seam, self.start = keys, self.start + len(page) - (again if keys else 0)

    def step_back(self, endpoint: str) -> None:
        """Begin the page earlier: more rows have left than the seam is long."""
        self.steps += 1
        if self.steps > MOST_STEPS or self.start == 1:
            raise ZohoError(
                f"Campaigns' listing {endpoint} changes faster than it can be read; run again later",
                code="LISTING_MOVES",
                endpoint=endpoint,
            )
        self.start = max(1, self.start - self.full // 2)


class Listings:
    """Reads the listings of one organisation."""

    def __init__(self, transport: Transport, note: Note | None = None, ranges: Ranges | None = None) -> None:
        """`note` hears how many calls, by endpoint, a whole reading of outcomes took.

        `ranges` is where it is kept how many rows Campaigns gives at once; without it, this object knows.
        """
        self._transport = transport
        self._note = note
        self._asked: Counter[str] = Counter()
        self._times_in_json = True
        self._ranges = ranges or OwnRanges()

    def rows(self, endpoint: str, params: Mapping[str, str]) -> Iterator[Row]:
        """Yield all rows of a listing; raises `ZohoError` for an error or for a page that comes again.

        Rows that leave a listing while it is read move the others up: each full page is therefore begun a
        few rows early, and has to show one of those that were read last. Where Campaigns refuses so many rows
        at once, the page is halved, for this endpoint from now on, on all nodes.
        """
        place, before = Place(), None
        for _ in range(MOST_PAGES):
            envelope = self._page(endpoint, params, place)
            if not envelope.ok and not envelope.empty(endpoint):
                raise envelopes.failure(envelope, endpoint)
            page = [] if envelope.empty(endpoint) else envelope.rows
            if page is None or (page and page == before):
                break
            fresh = place.fresh(page)
            if fresh is None:
                place.step_back(endpoint)
                continue
            if not page:
                return
            yield from fresh
            place.move_on(page)
            before = page
        raise ZohoError(
            f"Campaigns' listing {endpoint} repeats itself or is none; its end is unknown, do not use it",
            code="PAGE_REPEATED",
            endpoint=endpoint,
        )

    def outcomes(self, since: datetime | None) -> Iterator[Outcome]:
        """Yield the outcomes of all sent campaigns; what certainly happened before `since` is left out."""
        before, noted = self._asked.copy(), []
        for found in self.campaigns():
            if _is_over(found, since):
                continue
            so_far = self._asked.copy()
            keys = (found.key, *self._children(found))
            for happened in self._outcomes_of(found, keys):
                if since is None or happened.happened_at is None or happened.happened_at >= since:
                    yield happened
            noted.append(Noted(found.sent_at, self._asked - so_far, found.key, len(keys)))
        if self._note is not None:
            listed = sum((one.calls for one in noted), Counter[str]())
            self._note([Noted(None, self._asked - before - listed), *noted])

    def campaigns(self) -> Iterator[Campaign]:
        """Yield the sent campaigns, the newest first."""
        for row in self.rows("recentcampaigns", {"status": "sent", "sort": "desc"}):
            if (found := campaign(row)) is not None:
                yield found

    def recipients(self, sent: Campaign) -> Iterator[str]:
        """Yield the address of everybody to whom a campaign went, its A/B children included."""
        for key in (sent.key, *self._children(sent)):
            for row in self.rows(RECIPIENTS, {"campaignkey": key, "action": "sentcontacts"}):
                if (address := text(row, "contactemailaddress", "contact_email")) is not None:
                    yield address

    def departures(self, sent_since: datetime) -> Iterator[Outcome]:
        """Yield opt-outs and complaints of the campaigns sent since."""
        for found in self.campaigns():
            if found.sent_at is None or found.sent_at >= sent_since:
                keys = (found.key, *self._children(found))
                yield from self._outcomes_of(found, keys, (OutcomeKind.OPTED_OUT, OutcomeKind.COMPLAINED))

    def _outcomes_of(
        self, sent: Campaign, keys: Sequence[str], kinds: Iterable[OutcomeKind] = OutcomeKind
    ) -> Iterator[Outcome]:
        for kind in kinds:
            seen: set[str] = set()
            for key in keys:
                for row in self._recipients(key, kind):
                    found = outcome(row, sent=sent, kind=kind)
                    if found is not None and found.address.casefold() not in seen:
                        seen.add(found.address.casefold())
                        yield found

    def _recipients(self, key: str, kind: OutcomeKind) -> Iterator[Row]:
        """Yield the recipients of one outcome; where JSON tells no times, from XML, which is known to."""
        params = {"campaignkey": key, "action": kind.value}
        if self._times_in_json:
            found = list(self.rows(RECIPIENTS, params))
            if not lacks_times(found, kind):
                yield from found
                return
            self._times_in_json = False
        timed = kind in TIME_KEYS
        yield from self.rows(RECIPIENTS, params | {"resfmt": "XML"} if timed else params)

    def _children(self, sent: Campaign) -> Sequence[str]:
        """Return the keys of an A/B test's children; only a campaign that is one must be able to tell."""
        if sent.is_plain:
            return ()
        endpoint = "getcampaigndetails"
        envelope = self._get(endpoint, {"campaignkey": sent.key, "campaigntype": "abtesting"})
        if not envelope.ok and sent.is_split:
            raise envelopes.failure(envelope, endpoint)
        return child_keys(envelope.rows or ())

    def _page(self, endpoint: str, params: Mapping[str, str], place: Place) -> Envelope:
        """Return the page at a place, as long as Campaigns takes it."""
        while True:
            rows = self._ranges.known.get(endpoint, PAGE)
            place.narrow(rows)
            asked = {**params, "fromindex": str(place.start), "range": str(rows)}
            envelope = self._get(endpoint, asked)
            if envelope.ok or envelope.code != OVER_MAXIMUM or rows == SMALLEST:
                return envelope
            self._ranges.keep(endpoint, max(rows // 2, SMALLEST))
            self._asked[endpoint] -= 1  # it is not asked again

    def _get(self, endpoint: str, params: Mapping[str, str]) -> Envelope:
        self._asked[endpoint] += 1
        call = Call(
            method="GET", path=BASE + endpoint, endpoint=endpoint, params={"resfmt": "JSON", **params}
        )
        return envelopes.read(self._transport.send(call), endpoint)


def _is_over(sent: Campaign, since: datetime | None) -> bool:
    return since is not None and sent.sent_at is not None and sent.sent_at < since - LATE


def _key(row: Row) -> str | None:
    """Return what names a row, whatever it is a row of."""
    return text(row, "contact_email", "contactemailaddress", "campaign_key", "listkey")

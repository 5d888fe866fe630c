"""Campaigns' listings, read to their true end, and the outcomes of all sent campaigns.

Implements facts `zoho-campaigns` sections 0.5, 0.6, 2 and 3. A short page is not the end of a listing;
the code for "empty" is. A listing that repeats itself has no end, and nothing is concluded from it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from service.errors import ZohoError
from service.reconciler.port import Outcome, OutcomeKind
from service.zoho import envelopes
from service.zoho.envelopes import Envelope, Row, text
from service.zoho.outcomes import TIME_KEYS, Campaign, campaign, child_keys, lacks_times, outcome
from service.zoho.transport import Call, Transport

BASE = "/api/v1.1/"
PAGE = 500
"""Rows asked for at once; verified on the live service, while the default is 20."""

RECIPIENTS = "getcampaignrecipientsdata"
MOST_PAGES = 10_000
LATE = timedelta(days=120)
"""How long after the sending a link may still be clicked, or a mail may still bounce."""


class Listings:
    """Reads the listings of one organisation."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._times_in_json = True

    def rows(self, endpoint: str, params: Mapping[str, str]) -> Iterator[Row]:
        """Yield all rows of a listing; raises `ZohoError` for an error or for a page that comes again."""
        start, before = 1, None
        for _ in range(MOST_PAGES):
            envelope = self._get(endpoint, {**params, "fromindex": str(start), "range": str(PAGE)})
            if envelope.empty(endpoint) or (envelope.ok and envelope.rows == []):
                return
            if not envelope.ok:
                raise envelopes.failure(envelope, endpoint)
            if envelope.rows is None or envelope.rows == before:
                break
            yield from envelope.rows
            start, before = start + len(envelope.rows), envelope.rows
        raise ZohoError(
            f"Campaigns' listing {endpoint} repeats itself or is none; its end is unknown, do not use it",
            code="PAGE_REPEATED",
            endpoint=endpoint,
        )

    def outcomes(self, since: datetime | None) -> Iterator[Outcome]:
        """Yield the outcomes of all sent campaigns; what certainly happened before `since` is left out."""
        for found in self.campaigns():
            if _is_over(found, since):
                continue
            for happened in self._outcomes_of(found):
                if since is None or happened.happened_at is None or happened.happened_at >= since:
                    yield happened

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
                yield from self._outcomes_of(found, (OutcomeKind.OPTED_OUT, OutcomeKind.COMPLAINED))

    def _outcomes_of(self, sent: Campaign, kinds: Iterable[OutcomeKind] = OutcomeKind) -> Iterator[Outcome]:
        keys = (sent.key, *self._children(sent))
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

    def _get(self, endpoint: str, params: Mapping[str, str]) -> Envelope:
        call = Call(
            method="GET", path=BASE + endpoint, endpoint=endpoint, params={"resfmt": "JSON", **params}
        )
        return envelopes.read(self._transport.send(call), endpoint)


def _is_over(sent: Campaign, since: datetime | None) -> bool:
    return since is not None and sent.sent_at is not None and sent.sent_at < since - LATE

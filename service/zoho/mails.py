"""What Campaigns sent, and to whom: the sent campaigns and their recipients, A/B children included."""

from collections.abc import Iterator, Sequence

from service.reconciler.harm import Sent
from service.zoho.listings import Listings
from service.zoho.outcomes import Campaign


class ZohoMails:
    """Implements `harm.Mails` by facts `zoho-campaigns`, section 3."""

    def __init__(self, listings: Listings) -> None:
        self._listings = listings
        self._known: dict[str, Campaign] = {}

    def sent(self) -> Sequence[Sent]:
        """Return the sent campaigns whose time Campaigns tells, the newest first."""
        self._known = {found.key: found for found in self._listings.campaigns()}
        return [
            Sent(key=key, sent_at=found.sent_at)
            for key, found in self._known.items()
            if found.sent_at is not None
        ]

    def recipients(self, campaign_key: str) -> Iterator[str]:
        """Yield everybody to whom a campaign that `sent` listed went."""
        return self._listings.recipients(self._known[campaign_key])

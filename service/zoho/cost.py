"""A cost before it is paid: calls by endpoint, credits, share of the windows, duration."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil

from service.zoho import listings
from service.zoho.quota import CAMPAIGNS_DEFAULT, CAMPAIGNS_LIMITS
from service.zoho.ranges import PAGE

SECONDS_PER_CALL = 0.4
"""Of a call over the internet, by experience; Campaigns takes eight writes at a time."""
AT_A_TIME = 8


@dataclass(slots=True, kw_only=True)
class Estimate:
    """Calls by endpoint and credits; `exact` is False where something was never read: `guessed` says what."""

    crm: Counter[str] = field(default_factory=Counter)
    campaigns: Counter[str] = field(default_factory=Counter)
    oauth: int = 0
    credits: int = 0
    exact: bool = True
    guessed: str = "nothing was read yet, and campaigns that were sent come on top"
    lasts_s: float | None = None
    """How long it goes on, where that is chosen and no call waits for another."""
    ranges: Mapping[str, int] = field(default_factory=dict)
    """Rows that Campaigns gives at once, by endpoint, where they are fewer than usual."""

    def ask_crm(self, endpoint: str, calls: int, credit: int) -> None:
        """Add calls that cost so many credits together."""
        self.crm[endpoint] += calls
        self.credits += credit

    def list_all(self, endpoint: str, rows: int, *, times: int = 1) -> None:
        """Add the pages of a listing of Campaigns: the last one finds it empty."""
        self.campaigns[endpoint] += times * listings.calls(rows, self.ranges.get(endpoint, PAGE))

    def learn(self) -> None:
        """Add asking for the edition and for the prices of calls."""
        self.ask_crm("GET /crm/v8/org", 1, 1)
        self.ask_crm("GET /crm/v8/__apis", 1, 1)

    def add(self, other: "Estimate") -> None:
        """Add what another errand costs; both use one access token."""
        self.crm += other.crm
        self.campaigns += other.campaigns
        self.oauth = max(self.oauth, other.oauth)
        self.credits += other.credits

    @property
    def calls(self) -> dict[str, int]:
        """Return the calls by product."""
        return {"crm": self.crm.total(), "campaigns": self.campaigns.total(), "oauth": self.oauth}

    @property
    def waits_s(self) -> float:
        """Return how long Campaigns' windows will make it wait, from empty windows on."""
        if self.lasts_s is not None:
            return 0.0
        return max((_waits_s(name, calls) for name, calls in self.campaigns.items()), default=0.0)

    @property
    def seconds(self) -> float:
        """Return the likely duration; both products are read side by side."""
        if self.lasts_s is not None:
            return self.lasts_s
        writes = sum(calls for name, calls in self.campaigns.items() if name.startswith("json/"))
        reads = self.campaigns.total() - writes
        busy = max(self.crm.total(), reads) + writes / AT_A_TIME
        return busy * SECONDS_PER_CALL + self.waits_s


def _waits_s(endpoint: str, calls: int) -> float:
    limits = CAMPAIGNS_LIMITS.get(endpoint, CAMPAIGNS_DEFAULT)
    return max(max(0, ceil(calls / limit.calls) - 1) * limit.seconds for limit in limits)

"""What a run is handed: the database, the way into the ledger, the rules, both products, a clock."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from service.db import Database
from service.intake import Intake
from service.policy import PolicySet
from service.reconciler.port import Campaigns, Crm
from service.vault import Vault

Progress = Callable[[str, int, int], None]
"""Called between any two steps with (step, done, total); total 0 where nobody knows it yet."""


def silent(_step: str, _done: int, _total: int) -> None:
    """Report nothing to nobody."""


def unknown() -> None:
    """Return that nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The parts of one reconciliation; `intake` is started by whoever builds this."""

    db: Database
    intake: Intake
    policy: PolicySet
    crm: Crm
    campaigns: Campaigns
    now: Callable[[], datetime]
    progress: Progress = silent
    time_zone: Callable[[], str | None] = unknown
    """Where CRM says that the organisation is, once it was asked."""

    def opens(self, now: datetime) -> datetime:
        """Return when permissive and other large writes may begin: `now`, or when off-hours do.

        Off-hours are counted by the organisation's clock; what stops people never asks.
        """
        rules = self.policy.enforcement
        local = rules.quota.local(now, self.time_zone())
        return rules.permissive.opens(local).astimezone(UTC)

    @property
    def vault(self) -> Vault:
        """Return who can hash and open addresses."""
        return self.intake.vault

    @property
    def governed(self) -> str:
        """Return the purpose that Email_Opt_Out and Marketing Permission stand for."""
        return self.policy.zoho.governs

    @property
    def lists(self) -> tuple[str, ...]:
        """Return the names of the lists that belong to the governed purpose."""
        return tuple(
            entry.name for entry in self.policy.zoho.campaigns.lists if entry.purpose == self.governed
        )

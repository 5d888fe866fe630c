"""From settings and the mapping to working clients: the composition of this package.

One connection pool, one token, one till for both products of one organisation.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from service.db import Database
from service.errors import Misconfigured
from service.policy import PolicySet, ZohoMapping
from service.reconciler.port import Meter
from service.settings import Settings
from service.vault.access_token import AccessToken
from service.vault.keyset import Keys
from service.zoho import crm_answers, envelopes
from service.zoho.campaigns import ZohoCampaigns
from service.zoho.crm import ZohoCrm
from service.zoho.oauth import Credentials, OAuth
from service.zoho.pace import Pace
from service.zoho.quota import HEAVY, LARGEST_WRITE, SLOTS, Alone, Budget, Limit, Quota, Till, Windows
from service.zoho.shared import SharedQuota
from service.zoho.tokens import Keeper, SharedToken, Token
from service.zoho.transport import Call, Product, Transport
from service.zoho.wire import Line, is_loopback

CRM_SCOPES = "ZohoCRM.modules.ALL, ZohoCRM.coql.READ, ZohoCRM.settings.fields.READ and ZohoCRM.org.READ"
CAMPAIGNS_SCOPES = "ZohoCampaigns.contact.READ, ZohoCampaigns.contact.UPDATE and ZohoCampaigns.campaign.READ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Zoho:
    """Both clients of one organisation; close it, or use it as a context manager."""

    crm: ZohoCrm
    campaigns: ZohoCampaigns
    meter: Meter
    oauth: OAuth
    line: Line
    transports: Mapping[str, Transport]
    """What each product is asked through (`crm`, `campaigns`), for what no client has a word for."""
    quota: Quota

    def close(self) -> None:
        """Close the connections, and give back what was taken of the budget and not used."""
        self.line.close()
        self.quota.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def connect(
    settings: Settings,
    policy: PolicySet | ZohoMapping,
    *,
    pace: Pace | None = None,
    budget: Budget | None = None,
    meter: Meter | None = None,
    campaigns_window: tuple[Limit, ...] | None = None,
    windows: Windows | None = None,
    quota: Quota | None = None,
    sharing: Zoho | None = None,
    keeper: Keeper | None = None,
) -> Zoho:
    """Return the clients of the organisation that the settings name; nothing is sent yet.

    `quota` is the budget that all nodes share; without it the limits are those of this process alone.
    `sharing` lends its token to these clients, `keeper` is where all processes keep theirs.
    `budget` is asked before each call; `campaigns_window`
    replaces our own windows of Campaigns (none: `()`), and `windows` are those that this client shares
    with others. Raises `Misconfigured` where Zoho is not connected.
    """
    _check_urls(settings)
    mapping = policy.zoho if isinstance(policy, PolicySet) else policy
    pace = pace or Pace()
    till = Till(meter or Meter(), budget)
    line = Line()
    if campaigns_window is not None:
        windows = Windows(pace.clock, usual=campaigns_window)
    quota = quota or Alone(pace.clock, campaigns=windows)
    oauth = sharing.oauth if sharing else _oauth(line, settings, pace, till, quota, keeper)
    crm, campaigns = (
        Transport(
            line,
            oauth,
            product=product,
            windows=quota.gate(product.name),
            pace=pace,
            till=till,
            slots=quota.slots,
        )
        for product in (_crm(settings), _campaigns(settings))
    )
    return Zoho(
        crm=ZohoCrm(crm, mapping),
        campaigns=ZohoCampaigns(
            campaigns,
            mapping,
            note=quota.note_outcomes if isinstance(quota, SharedQuota) else None,
            ranges=quota.ranges,
        ),
        meter=till.meter,
        oauth=oauth,
        line=line,
        transports={"crm": crm, "campaigns": campaigns},
        quota=quota,
    )


def shared_token(db: Database, keys: Keys, settings: Settings) -> SharedToken:
    """Return where all processes keep the access token of the refresh token in these settings."""
    row = AccessToken(
        keys,
        accounts_url=settings.zoho_accounts_url,
        client_id=settings.zoho_client_id,
        refresh_token=settings.zoho_refresh_token,
    )
    return SharedToken(db, row)


def _oauth(  # noqa: PLR0917  # the parts of `connect`
    line: Line, settings: Settings, pace: Pace, till: Till, quota: Quota, keeper: Keeper | None
) -> OAuth:
    return OAuth(
        line,
        _credentials(settings),
        accounts_url=settings.zoho_accounts_url,
        pace=pace,
        till=till,
        windows=quota.gate("oauth"),
        keeper=keeper,
    )


def _check_urls(settings: Settings) -> None:
    for name in ("zoho_accounts_url", "zoho_crm_url", "zoho_campaigns_url"):
        if not re.fullmatch(r"https?://([\w.-]+|\[[\da-f:]+\])(:\d+)?/?", getattr(settings, name)):
            raise Misconfigured(
                f"CONSENT_{name.upper()} is not the address of a host; give it like https://www.zohoapis.eu"
            )


def _credentials(settings: Settings) -> Credentials:
    if not (settings.zoho_client_id and settings.zoho_refresh_token.get_secret_value()):
        raise Misconfigured(
            "Zoho is not connected; run `consent-ledger connect`, or set CONSENT_ZOHO_CLIENT_ID, "
            "CONSENT_ZOHO_CLIENT_SECRET and CONSENT_ZOHO_REFRESH_TOKEN of a self client"
        )
    return Credentials(
        client_id=settings.zoho_client_id,
        client_secret=settings.zoho_client_secret,
        refresh_token=settings.zoho_refresh_token,
    )


def crm_places(call: Call) -> tuple[str, ...]:
    """Return the places that a call of CRM takes: one of all, and one of ten if it is heavy (section 6)."""
    heavy = (
        "coql" in call.endpoint
        or not {"cvid", "sort_by"}.isdisjoint(call.params)
        or (call.method in ("POST", "PUT") and 1 < call.credits <= LARGEST_WRITE)
    )
    return (HEAVY, SLOTS) if heavy else (SLOTS,)


def _crm(settings: Settings) -> Product:
    configured = settings.zoho_crm_url.rstrip("/")

    def base(token: Token) -> str:
        """Return where Zoho says that CRM is; a simulated organisation never turns into a real one."""
        domain = (token.api_domain or "").rstrip("/")
        return configured if is_loopback(configured) or not domain.startswith("https://") else domain

    return Product(
        name="crm",
        judge=crm_answers.judge,
        code=crm_answers.code,
        base=base,
        lock_s=60,
        waits_out_throttle=True,
        scopes=CRM_SCOPES,
        places=crm_places,
    )


def _campaigns(settings: Settings) -> Product:
    configured = settings.zoho_campaigns_url.rstrip("/")
    return Product(
        name="campaigns",
        judge=envelopes.judge,
        code=envelopes.code,
        base=lambda _token: configured,
        lock_s=1_800,
        waits_out_throttle=False,
        scopes=CAMPAIGNS_SCOPES,
    )

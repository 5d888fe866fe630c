"""What the organisation's edition allows: credits a day, calls at a time, its time zone, what calls cost.

Implements facts `zoho-crm` sections 5 and 6. What cannot be read is taken as the least that any edition
has, so that nobody spends what was never there.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec

from service.errors import ZohoDenied, ZohoError
from service.zoho import crm_answers
from service.zoho.transport import Call, Transport

LEARNED_FOR = timedelta(hours=20)
"""How long it is believed: a little less than a day, so that each night asks anew."""
HEAVY_AT_A_TIME = 10
"""Heavy calls at a time (COQL, sorted listings, writes of more than ten records), in every edition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """One row of the vendor's table: credits a day by users, at most `most`, and calls at a time."""

    name: str
    words: tuple[str, ...]
    base: int
    per_user: int
    most: int | None
    at_a_time: int

    def allowance(self, users: int) -> int:
        """Return the credits of any 24 hours."""
        earned = self.base + self.per_user * users
        return earned if self.most is None else min(earned, self.most)


FREE = Edition(name="free", words=("free",), base=5_000, per_user=0, most=5_000, at_a_time=5)
EDITIONS = (
    Edition(
        name="ultimate", words=("ultimate", "plus"), base=50_000, per_user=2_000, most=None, at_a_time=25
    ),
    Edition(
        name="enterprise",
        words=("enterprise", "one"),
        base=50_000,
        per_user=1_000,
        most=5_000_000,
        at_a_time=20,
    ),
    Edition(
        name="professional", words=("professional",), base=50_000, per_user=500, most=3_000_000, at_a_time=15
    ),
    Edition(
        name="standard",
        words=("standard", "starter"),
        base=50_000,
        per_user=250,
        most=100_000,
        at_a_time=10,
    ),
    FREE,
)


class Licence(msgspec.Struct, frozen=True, kw_only=True):
    """What was learnt; the defaults are what holds before anything was.

    `prices` are the least and the most credits of a call, by `METHOD path` with `{module}` for any module.
    """

    edition: str = FREE.name
    users: int = 0
    allowance: int = FREE.base
    at_a_time: int = FREE.at_a_time
    time_zone: str | None = None
    prices: dict[str, tuple[int, int]] = {}

    def price(self, endpoint: str, credits: int) -> int:  # noqa: A002  # Zoho's own word for its unit
        """Return what a call costs: our own sum, within what the organisation says about this call."""
        bounds = self.prices.get(endpoint) or self.prices.get(_template(endpoint))
        return credits if bounds is None else min(max(credits, bounds[0]), bounds[1])


def read(crm: Transport) -> Licence:
    """Ask CRM: two calls, or three where the licence does not tell its users. Raises `ZohoError`."""
    found = _first(crm, "org", "org")
    details = found.get("license_details")
    details = details if isinstance(details, dict) else {}
    chosen = edition(details)
    users = details.get("users_license_purchased")
    users = users if isinstance(users, int) and users > 0 else _users(crm)
    zone = found.get("time_zone")
    return Licence(
        edition=chosen.name,
        users=users,
        allowance=chosen.allowance(users),
        at_a_time=chosen.at_a_time,
        time_zone=zone if isinstance(zone, str) and zone else None,
        prices=_prices(crm),
    )


def edition(details: Mapping[str, Any]) -> Edition:
    """Return the edition that is paid for, else the one on trial, else the least of all."""
    named = details.get("paid_type") if details.get("paid") else details.get("trial_type")
    words = re.findall(r"[a-z]+", str(named or "").lower())
    return next(
        (one for one in EDITIONS if any(word in known for known in words for word in one.words)), FREE
    )


def _users(crm: Transport) -> int:
    call = Call(
        method="GET",
        path="/crm/v8/users",
        endpoint="GET /crm/v8/users",
        params={"type": "ActiveUsers", "per_page": "200"},
        credits=1,
    )
    try:
        return len(crm_answers.rows(crm.send(call), call.endpoint, key="users"))
    except ZohoDenied:
        return 0


def _prices(crm: Transport) -> dict[str, tuple[int, int]]:
    """Return what each call costs by the organisation's own word; nothing where it may not be asked."""
    call = Call(method="GET", path="/crm/v8/__apis", endpoint="GET /crm/v8/__apis", credits=1)
    try:
        rows = crm_answers.rows(crm.send(call), call.endpoint, key="__apis")
    except (ZohoDenied, ZohoError):
        return {}
    prices: dict[str, tuple[int, int]] = {}
    for row in rows:
        for kind in row.get("operation_types") or ():
            bounds = kind.get("min_credits"), kind.get("max_credits")
            if all(isinstance(bound, int) and bound >= 0 for bound in bounds):
                prices[f"{kind.get('method')} {row.get('path')}"] = bounds
    return prices


def _first(crm: Transport, path: str, key: str) -> Mapping[str, Any]:
    call = Call(method="GET", path=f"/crm/v8/{path}", endpoint=f"GET /crm/v8/{path}", credits=1)
    rows = crm_answers.rows(crm.send(call), call.endpoint, key=key)
    return rows[0] if rows else {}


def _template(endpoint: str) -> str:
    """Return an endpoint with `{module}` for the module's name: `PUT /crm/v8/{module}`."""
    return re.sub(r"^(\w+ /crm/v\d+)/[A-Z]\w*", r"\1/{module}", endpoint)

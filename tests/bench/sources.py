"""The six ways on which a withdrawal may reach the service, each over HTTP where the real one does."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx

from service.cli.lines import read_lines
from service.consent import Category
from service.intake import Claim, Intake
from service.web.auth import EVENTS_WRITE, LINKS_READ, create_key
from service.zoho.mapping import Zoho
from service.zoho.simulator.names import ZAPIKEY
from tests.reconciler.conftest import Clock
from tests.reconciler.hooked import SECRET, hooks_of
from tests.running import claim, withdrawal

SOURCES = ("ledger", "form", "one-click", "api", "import", "notification", "hook")
LINKS_AT_ONCE = 1_000
Leave = Callable[[str], object]
"""How one person leaves; returns once their withdrawal was taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """A running service and the products behind it, as far as people who leave touch them."""

    intake: Intake
    zoho: Zoho
    vendor: str
    folder: Path
    http: httpx.Client

    @property
    def db(self):  # what the site of the tests asks for
        return self.intake.db

    @property
    def clock(self) -> Clock:
        return Clock()


@contextmanager
def leaving(source: str, parts: Sources, people: Sequence[str]) -> Iterator[Leave]:
    """Yield how one of these people leaves on this way, everything made ready for it."""
    if source == "ledger":
        yield lambda address: parts.intake.submit(_said(address)).result(30)
        return
    with hooks_of(parts) as hooked:
        yield _WAYS[source](parts, hooked, people)


def _said(address: str) -> Claim:
    return withdrawal(address, received_at=datetime.now(UTC), category=Category.WITHDRAWN)


def _form(parts: Sources, hooked, _people: Sequence[str]) -> Leave:
    told = {"action": "withdraw", "control": "button", "page_url": "https://acme.example/out"}
    url = f"{hooked.url}/forms/newsletter"
    return lambda address: parts.http.post(url, json={"email": address, **told}).raise_for_status()


def _one_click(parts: Sources, hooked, people: Sequence[str]) -> Leave:
    """Everybody had consented before and was mailed a link of their own."""
    parts.intake.record([claim(address) for address in people])
    links: dict[str, str] = {}
    for start in range(0, len(people), LINKS_AT_ONCE):
        part = list(people[start : start + LINKS_AT_ONCE])
        answer = parts.http.post(
            f"{hooked.url}/api/unsubscribe-links",
            json={"purpose": "marketing", "emails": part},
            headers=_key(parts, LINKS_READ),
        ).raise_for_status()
        made = (one["link"].rpartition("/")[2] for one in answer.json()["links"])
        links |= zip(part, made, strict=True)
    body = {"List-Unsubscribe": "One-Click"}
    return lambda address: parts.http.post(f"{hooked.url}/u/{links[address]}", data=body).raise_for_status()


def _api(parts: Sources, hooked, _people: Sequence[str]) -> Leave:
    headers = _key(parts, EVENTS_WRITE)

    def leave(address: str) -> None:
        told = {"category": "consent.withdrawn", "email": address}
        own = headers | {"Idempotency-Key": address}
        parts.http.post(f"{hooked.url}/api/events", json=told, headers=own).raise_for_status()

    return leave


def _import(parts: Sources, _hooked, _people: Sequence[str]) -> Leave:
    def leave(address: str) -> None:
        now = datetime.now(UTC)
        told = {"kind": "withdraw", "email": address, "purpose": "marketing", "occurred_at": now.isoformat()}
        file = parts.folder / f"{address}.jsonl"
        file.write_text(json.dumps(told) + "\n")
        parts.intake.record([c for c in read_lines(file, parts.intake.policy, now) if isinstance(c, Claim)])

    return leave


def _notification(parts: Sources, hooked, _people: Sequence[str]) -> Leave:
    """Somebody changes the records by hand, and CRM notifies."""
    hooked.subscription.keep()
    return lambda address: _control(parts, "crm/set", email=address, fields={"Email_Opt_Out": True})


def _hook(parts: Sources, hooked, _people: Sequence[str]) -> Leave:
    """People click the link of a campaign, and Campaigns calls."""
    _control(parts, "switches", **{"emailapi.campaign_events": True})
    body = {
        "name": "ledger",
        "type": "POST",
        "url": f"{hooked.url}/hooks/zoho/campaigns/events",
        "webhook_actions": ["bounce", "spam", "unsubscribed"],
        "authorization": {"auth_type": "Auth Token", "auth_token": SECRET},
    }
    key = {"Authorization": f"Zoho-zapikey {ZAPIKEY}"}
    at = f"{parts.vendor}/emailapi/v2/settings/webhook"
    parts.http.post(at, json=body, headers=key).raise_for_status()
    return lambda address: _control(parts, "campaigns/unsubscribe", email=address)


def _control(parts: Sources, what: str, **told: object) -> None:
    parts.http.post(f"{parts.vendor}/_control/{what}", json=told).raise_for_status()


def _key(parts: Sources, scope: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {create_key(parts.db, 'shop', [scope])}"}


_WAYS: Mapping[str, Callable[..., Leave]] = {
    "form": _form,
    "one-click": _one_click,
    "api": _api,
    "import": _import,
    "notification": _notification,
    "hook": _hook,
}

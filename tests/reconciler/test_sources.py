"""A withdrawal from whatever source is at both products within ten seconds."""

import json
from collections.abc import Callable

import httpx
import pytest

from service.cli.lines import read_lines
from service.intake.claim import Claim
from service.web.auth import EVENTS_WRITE, LINKS_READ, create_key
from tests.reconciler.conftest import World, stopped
from tests.reconciler.hooked import Hooked, heeding, hooks_of
from tests.reconciler.test_heeding import subscribe_to_events
from tests.reconciler.test_watch import act, seconds_until
from tests.running import claim


@pytest.fixture
def hooked(small: World):
    with hooks_of(small) as made:
        yield made


def key(hooked: Hooked, scope: str) -> dict[str, str]:
    world = hooked.world
    return {"Authorization": f"Bearer {create_key(world.db, 'shop', [scope], at=world.clock())}"}


def post_form(hooked: Hooked, email: str, _folder) -> None:
    told = {"email": email, "action": "withdraw", "control": "button", "page_url": "https://acme.example/out"}
    httpx.post(f"{hooked.url}/forms/newsletter", json=told).raise_for_status()


def click_once(hooked: Hooked, email: str, _folder) -> None:
    hooked.world.intake.record([claim(email)])  # who was never named has no link
    asked = {"purpose": "marketing", "emails": [email]}
    answer = httpx.post(
        f"{hooked.url}/api/unsubscribe-links", json=asked, headers=key(hooked, LINKS_READ)
    ).raise_for_status()
    token = answer.json()["links"][0]["link"].rpartition("/")[2]
    httpx.post(f"{hooked.url}/u/{token}", data={"List-Unsubscribe": "One-Click"}).raise_for_status()


def call_api(hooked: Hooked, email: str, _folder) -> None:
    told = {"category": "consent.withdrawn", "email": email}
    headers = key(hooked, EVENTS_WRITE) | {"Idempotency-Key": "one"}
    httpx.post(f"{hooked.url}/api/events", json=told, headers=headers).raise_for_status()


def hand_in_a_file(hooked: Hooked, email: str, folder) -> None:
    world = hooked.world
    now = world.clock().isoformat()
    told = {"kind": "withdraw", "email": email, "purpose": "marketing", "occurred_at": now}
    file = folder / "withdrawals.jsonl"
    file.write_text(json.dumps(told) + "\n")
    claims = [
        line for line in read_lines(file, world.intake.policy, world.clock()) if isinstance(line, Claim)
    ]
    assert len(claims) == 1
    world.intake.record(claims)


def change_by_hand(hooked: Hooked, email: str, _folder) -> None:
    hooked.subscription.keep()
    act(hooked.world, email, "crm")


def leave_in_campaigns(hooked: Hooked, email: str, _folder) -> None:
    subscribe_to_events(hooked)
    act(hooked.world, email, "campaigns")


SOURCES: dict[str, Callable] = {
    "form": post_form,
    "one click": click_once,
    "API": call_api,
    "import": hand_in_a_file,
    "notification": change_by_hand,
    "hook": leave_in_campaigns,
}


@pytest.mark.parametrize("source", SOURCES)
def test_a_withdrawal_is_at_both_products_within_ten_seconds(hooked, figures, tmp_path, source):
    world = hooked.world
    email = world.ordinary()
    world.run()
    world.sim.control("switches", {"emailapi.campaign_events": True})
    assert not stopped(world, email)
    with heeding(world):
        SOURCES[source](hooked, email, tmp_path)
        took_s = seconds_until(lambda: stopped(world, email))
    figures(f"withdrawal by {source} at both products", seconds=f"{took_s:.2f}")
    assert world.events(email).count("consent.withdrawn") == 1

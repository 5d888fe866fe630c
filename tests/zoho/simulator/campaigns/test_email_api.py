"""The Email API: webhooks without a signature, reports, suppression, and its own numbers for errors."""

import httpx
import pytest

from service.zoho.simulator import names
from tests.zoho.simulator.receiver import delivered

BASE = "/emailapi/v2"
HOOK = f"{BASE}/settings/webhook"
SUPPRESSION = f"{BASE}/recipients/suppression"


@pytest.fixture
def api(sim):
    headers = {"Authorization": f"Zoho-zapikey {names.ZAPIKEY}"}
    with httpx.Client(base_url=sim.url, headers=headers, trust_env=False) as client:
        yield client


def hook(url, *actions, **more):
    return {"name": "ledger", "type": "POST", "url": url, "webhook_actions": list(actions), **more}


def test_the_key_opens_v2_and_the_token_v1(sim, zoho, api):
    assert api.get(HOOK).json()["response"]["code"] == 200201
    assert zoho.get(HOOK).json() == {"errors": [{"code": 409907, "message": "The token is invalid"}]}
    assert zoho.get("/emailapi/v1/settings/webhook").status_code == 200
    assert httpx.get(f"{sim.url}{HOOK}", trust_env=False).json()["errors"][0]["code"] == 409903


def test_errors_may_come_under_200(sim, zoho):
    sim.control("switches", {"emailapi.error_status": "200"})
    assert zoho.get(HOOK).status_code == 200
    assert zoho.get(HOOK).json()["errors"][0]["code"] == 409907


def test_an_unsubscribe_is_posted_with_token_and_headers_and_moves_to_do_not_mail(
    sim, api, somebody, receiver
):
    api.post(
        HOOK,
        json=hook(
            receiver.url,
            "unsubscribed",
            "bounce",
            custom_headers={"headers": {"X-Src": "zc"}, "status": True},
            authorization={"auth_type": "Auth Token", "auth_token": "s3cret"},
        ),
    )
    sim.control("emailapi/event", {"emails": [somebody], "action": "unsubscribed"})
    (body,) = receiver.wait(1)
    assert list(body) == ["webhook_name", "webhook_id", "action", "actionType", "action_by", "data"]
    assert (body["actionType"], body["data"][0]["contact_email"]) == ("doNotMail", somebody)
    assert isinstance(body["data"][0]["transmission_id"], str)
    headers = receiver.requests[0][1]
    assert (headers["authorization"], headers["x-src"]) == ("s3cret", "zc")
    assert sim.control("person", {"email": somebody})["campaigns"]["dnm"] is True


def test_several_events_come_in_one_body(sim, api, receiver):
    api.post(HOOK, json=hook(receiver.url, "bounce", authorization={
        "auth_type": "Username", "auth_username": "u", "auth_password": "p"}))  # fmt: skip
    emails = sim.control("truth/single_soft_bounce")["emails"] + ["x@example.com"]
    sim.control("emailapi/event", {"emails": emails, "action": "bounce"})
    (body,) = receiver.wait(1)
    assert [item["contact_email"] for item in body["data"]] == emails
    assert {"bounce_code", "bounce_type", "bounce_extended_code", "bounce_reason", "message_id"} <= set(
        body["data"][0]
    )
    assert receiver.requests[0][1]["authorization"].startswith("Basic ")


def test_campaigns_fire_webhooks_by_switch_only(sim, api, somebody, receiver):
    api.post(HOOK, json=hook(receiver.url, "unsubscribed", "spam"))
    sim.control("campaigns/complain", {"email": somebody})
    sim.control("switches", {"emailapi.campaign_events": True})
    sim.control("campaigns/unsubscribe", {"email": somebody})
    (body,) = receiver.wait(1)
    assert body["action"] == "unsubscribed"
    assert len(delivered(sim, 1)) == 1


def test_webhooks_are_made_listed_changed_and_dropped(sim, api):
    key = api.post(HOOK, json=hook("http://127.0.0.1:9/", "spam")).json()["webhook_id"]
    listed = api.get(HOOK).json()
    assert (listed["total_webhook_count"], len(listed["webhook_list"]), listed["limit"]) == (0, 1, 200)
    sim.control("switches", {"emailapi.webhook_count": "true"})
    assert api.get(HOOK).json()["total_webhook_count"] == 1
    assert api.post(HOOK, json=hook("http://127.0.0.1:9/", "spam")).json()["errors"][0]["code"] == 400206
    api.put(f"{HOOK}/{key}", json={"webhook_actions": ["bounce"]})
    (one,) = api.get(f"{HOOK}/{key}").json()["webhook_list"]
    assert one["webhook_actions"] == ["bounce"]
    assert (
        api.put(f"{HOOK}/{key}", json={"webhook_actions": ["sneeze"]}).json()["errors"][0]["code"] == 400208
    )
    assert api.delete(f"{HOOK}/{key}").json()["response"]["code"] == 200204
    assert api.get(f"{HOOK}/{key}").json()["errors"][0]["code"] == 400205


def test_reports_tell_events_of_a_window(sim, api):
    sim.control("emailapi/event", {"emails": ["a@example.com"], "action": "bounce"})
    sim.control(
        "emailapi/event",
        {"emails": ["b@example.com"], "action": "bounce", "bounce_type": "soft bounce"},
    )
    path = f"{BASE}/reports/event/bounce"
    assert len(api.get(path).json()["data"]) == 2
    (soft,) = api.get(path, params={"bounce_type": "soft bounce"}).json()["data"]
    assert (soft["contact_email"], soft["bounce_code"]) == ("b@example.com", "452")
    assert api.get(path, params={"email": "a@example.com"}).json()["data"][0]["bounce_type"] == "hard bounce"
    assert api.get(path, params={"from": "0", "to": "1"}).json()["data"] == []
    wide = {"from": "0", "to": str(91 * 86_400_000)}
    assert api.get(path, params=wide).json()["errors"][0]["code"] == 400303
    assert api.get(f"{BASE}/reports/delivery/summary").json()["summary"]["bounce"] == 2
    sim.control("clock", {"advance_s": 8 * 86_400})
    assert api.get(path).json()["data"] == []


def test_suppressions_are_added_once_and_deleted_once(sim, api):
    body = {"recipients": [{"address": "a@example.com", "reason": {"bounce_code": "550"}}]}
    first, second = (api.post(SUPPRESSION, json=body).json() for _ in range(2))
    assert (first["suppressions_added"], first["response"]["code"]) == (["a@example.com"], 200402)
    assert second["suppressions_already_existing"] == ["a@example.com"]
    sim.control("emailapi/event", {"emails": ["hard@example.com"], "action": "bounce"})
    kinds = {row["address"]: row["suppression_type"] for row in api.get(SUPPRESSION).json()["suppressions"]}
    assert kinds == {"a@example.com": "MANUAL", "hard@example.com": "AUTOMATIC"}
    gone, ignored = (api.request("DELETE", SUPPRESSION, json=body).json() for _ in range(2))
    assert (gone["suppressions_deleted"], gone["response"]["code"]) == (["a@example.com"], 200403)
    assert ignored["suppressions_ignored"] == ["a@example.com"]
    assert api.post(SUPPRESSION, json={}).json()["errors"][0]["code"] == 500401


def test_too_many_calls_are_409909(sim, api):
    sim.control("switches", {"emailapi.calls_per_min": 2})
    codes = [api.get(HOOK).json() for _ in range(3)]
    assert codes[2]["errors"][0]["code"] == 409909


def test_a_transmissions_id_may_come_as_a_number_that_no_64_bits_hold(sim, api, somebody, receiver):
    sim.control("switches", {"emailapi.transmission_id": "number"})
    api.post(HOOK, json=hook(receiver.url, "spam"))
    sim.control("emailapi/event", {"emails": [somebody], "action": "spam"})
    (body,) = receiver.wait(1)
    assert body["data"][0]["transmission_id"] == 13149090000001440022131

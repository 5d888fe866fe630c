"""Zoho's calls: kept once when the token is right, refused otherwise; nothing of them is believed."""

import base64
from dataclasses import replace
from datetime import timedelta

import pytest
import structlog
from litestar.testing import TestClient
from sqlalchemy import select

from service.db import hint
from service.reconciler import channels
from service.reconciler.channels import BOTH_TOKENS, Channel
from service.web.site import create_site

TOKEN = "a-token-of-the-channel-that-nobody-can-guess-here"
SECRET = "a-secret-of-the-webhooks-that-nobody-guesses"
CHANNEL = "1000000068001"
CRM, WORKFLOW, CAMPAIGNS = (
    f"/hooks/zoho/{path}" for path in ("crm/notifications", "crm/workflow", "campaigns/events")
)


@pytest.fixture
def hooked(edge):
    """A client of a site that knows a channel and takes webhooks."""
    expect(edge, TOKEN)
    with TestClient(create_site(replace(edge, hook_token=SECRET))) as client:
        yield client


def expect(edge, token: str) -> None:
    now = edge.now()
    wanted = Channel(
        channel_id=CHANNEL, notify_url="https://x", events=("Contacts.edit",), renewed_at=now, expires_at=now
    )
    with edge.db.begin() as tx:
        channels.prepare(tx, wanted, token, at=now)
        channels.confirm(tx, CHANNEL, at=now, expires_at=now + timedelta(days=7))


def notification(**changes) -> dict:
    return {
        "server_time": 1718115953625,
        "affected_values": [{"record_id": "5725767000003000010", "values": {"Email": "cyd@example.com"}}],
        "query_params": {},
        "module": "Contacts",
        "resource_uri": "https://www.zohoapis.com/crm/v2/Contacts",
        "ids": ["5725767000003000010"],
        "affected_fields": [{"5725767000003000010": ["Email_Opt_Out"]}],
        "operation": "update",
        "channel_id": CHANNEL,
        "token": TOKEN,
        **changes,
    }


def happened(action: str = "unsubscribed", *people: str) -> str:
    """What the Email API posts, with the vendor's long numbers."""
    data = ",".join(
        f'{{"action_time":1786600000000,"contact_id":{1314909000000144100 + n},"contact_email":"{email}",'
        '"transmission_id":13149090000001440022131,"zuid":857543122}'
        for n, email in enumerate(people or ("cyd@example.com",))
    )
    return (
        f'{{"webhook_name":"ledger","webhook_id":"1314909000000063006","action":"{action}","data":[{data}]}}'
    )


def kept(edge) -> list:
    with edge.db.read() as tx:
        return tx.execute(select(hint).order_by(hint.c.id)).all()


def test_a_notification_is_kept_before_it_is_answered(edge, hooked):
    assert hooked.post(CRM, json=notification()).status_code == 200
    (row,) = kept(edge)
    assert (row.kind, row.module, row.record_id, row.state) == (
        "notification",
        "Contacts",
        "5725767000003000010",
        "open",
    )
    assert row.address_index is None


def test_a_replayed_notification_adds_nothing(edge, hooked):
    for _ in range(10):
        assert hooked.post(CRM, json=notification()).status_code == 200
    assert len(kept(edge)) == 1
    hooked.post(CRM, json=notification(server_time=1718115953626))
    assert len(kept(edge)) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"token": "guessed"},
        {"token": None},
        {"token": ""},
        {"channel_id": "1000000068002"},
        {"channel_id": "0", "token": ""},
        {"token": TOKEN + " "},
    ],
)
def test_a_forged_notification_is_refused_and_leaves_no_trace(edge, hooked, change):
    assert hooked.post(CRM, json=notification(**change)).status_code == 403
    assert not kept(edge)
    with edge.db.read() as tx:
        assert not channels.reliable(tx, now=edge.now())


def test_the_token_before_this_one_is_taken_for_an_hour(edge, hooked, clock):
    expect(edge, "another-token-since-the-channel-died-and-came-back")
    assert hooked.post(CRM, json=notification()).status_code == 200
    clock.time += BOTH_TOKENS
    assert hooked.post(CRM, json=notification(server_time=2)).status_code == 403
    assert len(kept(edge)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"module": "Deals"},
        {"operation": "delete"},
        {"affected_fields": [{"5725767000003000010": ["Phone", "Owner"]}]},
        {"ids": []},
    ],
)
def test_what_cannot_concern_consent_is_taken_and_not_kept(edge, hooked, change):
    assert hooked.post(CRM, json=notification(**change)).status_code == 200
    assert not kept(edge)


def test_a_change_of_which_crm_names_no_fields_is_kept(edge, hooked):
    assert hooked.post(CRM, json=notification(affected_fields=[], ids=["1", "2", "2"])).status_code == 200
    assert [row.record_id for row in kept(edge)] == ["1", "2"]


@pytest.mark.parametrize(
    "change",
    [
        {"affected_fields": None},
        {"affected_fields": [{"5725767000003000010": None}]},
        {"affected_fields": [{}]},
        {"server_time": None},
        {"ids": ["57257670000030000101234"]},
        {"ids": [57257670000030000101234]},
    ],
)
def test_what_crm_leaves_empty_or_writes_longer_is_kept(edge, hooked, change):
    told = notification(**change)
    assert hooked.post(CRM, json=told).status_code == 200
    assert [row.record_id for row in kept(edge)] == [str(told["ids"][0])]


def test_a_channel_that_was_heard_can_be_relied_on_until_it_misses_something(edge, hooked, clock):
    hooked.post(CRM, json=notification())
    with edge.db.begin() as tx:
        assert channels.reliable(tx, now=clock())
        clock.time += timedelta(minutes=1)
        channels.miss(tx, at=clock())
        assert not channels.reliable(tx, now=clock())
    clock.time += timedelta(minutes=1)
    hooked.post(CRM, json=notification(server_time=3))
    with edge.db.read() as tx:
        assert channels.reliable(tx, now=clock())
        assert not channels.reliable(tx, now=clock() + timedelta(days=7))


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'{"module": 3}', b"[" * 60_000, b'{"ids": ["; drop table"]}', b"\xff\xfe", b"null"],
)
@pytest.mark.parametrize("path", [CRM, WORKFLOW, CAMPAIGNS])
def test_what_zoho_would_not_send_is_refused(edge, hooked, path, body):
    answer = hooked.post(path, content=body, headers={"X-Consent-Token": SECRET})
    assert answer.status_code == 400
    assert not kept(edge)


@pytest.mark.parametrize("path", [CRM, WORKFLOW, CAMPAIGNS])
def test_a_body_over_the_limit_is_refused(edge, hooked, path):
    body = b'{"x": "' + b"y" * (512 * 1024) + b'"}'
    assert hooked.post(path, content=body, headers={"X-Consent-Token": SECRET}).status_code == 413


def spellings() -> list[dict[str, str]]:
    basic = base64.b64encode(f"ledger:{SECRET}".encode()).decode()
    return [
        {"X-Consent-Token": SECRET},
        {"Authorization": SECRET},
        {"Authorization": f"Bearer {SECRET}"},
        {"Authorization": f"Basic {basic}"},
        {"X-Auth-Token": SECRET},
        {"auth_token": SECRET},
    ]


@pytest.mark.parametrize("headers", spellings(), ids=" ".join)
def test_a_webhook_may_carry_its_token_in_whichever_header_its_sender_knows(edge, hooked, headers):
    assert hooked.post(CAMPAIGNS, content=happened(), headers=headers).status_code == 200
    assert hooked.post(WORKFLOW, json={"module": "Leads", "id": "7"}, headers=headers).status_code == 200
    assert [row.kind for row in kept(edge)] == ["unsubscribed", "workflow"]


@pytest.mark.parametrize(
    "headers",
    [{}, {"X-Consent-Token": "wrong"}, {"Authorization": "Basic !!"}, {"Authorization": f"Bearer {SECRET}x"}],
)
def test_a_webhook_without_the_token_is_refused(edge, hooked, headers):
    assert hooked.post(CAMPAIGNS, content=happened(), headers=headers).status_code == 403
    assert hooked.post(WORKFLOW, json={"module": "Leads", "id": "7"}, headers=headers).status_code == 403
    assert not kept(edge)


def test_where_no_token_is_set_there_are_no_webhooks(site):
    answer = site.client.post(CAMPAIGNS, content=happened(), headers={"X-Consent-Token": ""})
    assert answer.status_code == 404


def test_an_event_of_campaigns_is_kept_as_a_hash_and_once(edge, hooked):
    headers = {"X-Consent-Token": SECRET}
    for _ in range(3):
        hooked.post(CAMPAIGNS, content=happened("bounce", "cyd@example.com", "dee@x.org"), headers=headers)
    rows = kept(edge)
    assert [row.kind for row in rows] == ["bounce", "bounce"]
    assert rows[0].address_index == edge.intake.vault.address_index("cyd@example.com")
    assert not any("example" in str(value) for row in rows for value in row)


@pytest.mark.parametrize("action", ["email_open", "email_click", "email_delivered"])
def test_what_campaigns_tells_beside_that_is_not_kept(edge, hooked, action):
    answer = hooked.post(CAMPAIGNS, content=happened(action), headers={"X-Consent-Token": SECRET})
    assert answer.status_code == 200
    assert not kept(edge)


def test_a_workflow_may_post_a_form_and_a_record_waits_once(edge, hooked):
    headers = {"X-Consent-Token": SECRET}
    for _ in range(3):
        assert hooked.post(WORKFLOW, data={"module": "Contacts", "id": "12"}, headers=headers).is_success
    hooked.post(WORKFLOW, json={"module": "Deals", "id": "12"}, headers=headers)
    (row,) = kept(edge)
    assert (row.kind, row.module, row.record_id) == ("workflow", "Contacts", "12")


def test_no_line_of_the_log_shows_anything_of_a_payload(hooked, capfd):
    with structlog.testing.capture_logs() as lines:
        hooked.post(CRM, json=notification(token="guessed"))
        hooked.post(CRM, json=notification())
        hooked.post(CAMPAIGNS, content=happened(), headers={"X-Consent-Token": "wrong"})
        hooked.post(CAMPAIGNS, content=happened(), headers={"X-Consent-Token": SECRET})
    told = "".join((*capfd.readouterr(), repr(lines)))
    assert "hook.refused" in told
    assert not any(word in told for word in ("cyd", "example", TOKEN, SECRET, "guessed", "5725767"))


@pytest.mark.parametrize(
    ("code", "looked_into"),
    [('"5.1.1"', True), ('"4.2.2"', True), ("550", True), ('""', True), ('"2.0.0"', False), ("null", True)],
)
def test_a_bounce_of_campaigns_is_judged_by_its_extended_code(edge, hooked, code, looked_into):
    body = happened("bounce").replace('"zuid"', f'"bounce_extended_code":{code},"zuid"')
    assert hooked.post(CAMPAIGNS, content=body, headers={"X-Consent-Token": SECRET}).status_code == 200
    assert bool(kept(edge)) is looked_into


def test_a_vacation_reply_that_campaigns_calls_a_bounce_is_not_looked_into(edge, hooked):
    body = happened("bounce").replace('"zuid"', '"bounce_reason":"Auto-reply: on vacation","zuid"')
    assert hooked.post(CAMPAIGNS, content=body, headers={"X-Consent-Token": SECRET}).status_code == 200
    assert not kept(edge)


def test_an_event_is_known_by_its_content_whatever_numbers_its_sender_gives_it(edge, hooked):
    first = happened("unsubscribed")
    again = first.replace('"transmission_id":13149090000001440022131', '"transmission_id":"another"')
    assert again != first
    for body in (first, again.replace('"webhook_name":"ledger"', '"webhook_name":"renamed"')):
        hooked.post(CAMPAIGNS, content=body, headers={"X-Consent-Token": SECRET})
    assert len(kept(edge)) == 1

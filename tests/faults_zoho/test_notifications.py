"""What Zoho posts to us, forged, replayed, out of order, lost: a hint each, never more."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import func, select

from service.db import hint
from service.reconciler import channels, hints
from service.reconciler.diff import REPORTED
from service.reconciler.enforce import carry_out
from service.web.hooks import NOTIFIED_AT
from tests.faults_zoho.conftest import later
from tests.faults_zoho.doors import disagreements, opened
from tests.reconciler.conftest import stopped
from tests.reconciler.hooked import states
from tests.reconciler.test_heeding import Hooked, heed, hooked  # noqa: F401  # the fixture
from tests.waiting import until

TIMES = 10
A_MINUTE = timedelta(minutes=1)


@pytest.fixture
def calling(hooked) -> Iterator[Hooked]:  # noqa: F811  # the fixture
    """An organisation that was read once, and whose CRM tells us of changes; in the end a rerun converges."""
    hooked.world.run()
    hooked.subscription.keep()
    yield hooked
    look(hooked)
    before = opened(hooked.world.sim.world.db)
    last = hooked.world.run()
    assert set(last.found) <= set(REPORTED)
    assert not last.plan.changes
    assert opened(hooked.world.sim.world.db) <= before
    assert agrees(hooked)


def posted(made: Hooked) -> list[dict]:
    """The bodies of all notifications that CRM has posted, oldest first."""
    deliveries = made.world.sim.control("deliveries")["deliveries"]
    return [json.loads(one["body"]) for one in deliveries if "channel_id" in one["body"]]


def changed(made: Hooked, *emails: str, out: bool = True) -> list[dict]:
    """Let a person set the flag of these; return the notifications of it."""
    before, told = len(posted(made)), waiting(made)
    for email in emails:
        made.world.sim.control("crm/set", {"email": email, "fields": {"Email_Opt_Out": out}})
    until(lambda: waiting(made) >= told + len(emails), within_s=10)
    return posted(made)[before:]


def post(made: Hooked, body: dict) -> int:
    return httpx.post(made.url + NOTIFIED_AT, json=body, trust_env=False).status_code


def waiting(made: Hooked) -> int:
    with made.world.db.read() as tx:
        return tx.scalar(select(func.count()).select_from(hint))


def look(made: Hooked) -> None:
    """Look into all hints, and carry out what they bring."""
    while heed(made.world).turn():
        pass
    while carry_out(made.world.context, worker="a").total:
        pass


def members(made: Hooked, count: int) -> list[str]:
    """People of both products of whom nothing is wrong, each with one record."""
    rows = made.world.sim.world.db.execute(
        "SELECT c.email FROM contacts c JOIN members m ON m.contact_id = c.id WHERE m.status = 'active'"
        " AND c.email NOT IN (SELECT email FROM truth) ORDER BY c.id LIMIT ?",
        (count,),
    )
    return [email for (email,) in rows]


def agrees(made: Hooked) -> bool:
    return disagreements(made.world, made.world.sim.world.db) == {}


def test_a_notification_that_comes_ten_times_at_once_is_one_hint_and_one_withdrawal(calling):
    (email,) = members(calling, 1)
    (told, *_) = changed(calling, email)
    with ThreadPoolExecutor(TIMES) as threads:
        assert set(threads.map(lambda _: post(calling, told), range(TIMES))) == {200}
    assert waiting(calling) == 1
    look(calling)
    assert calling.world.events(email).count("consent.withdrawn") == 1
    assert stopped(calling.world, email)
    assert post(calling, told) == 200
    look(calling)
    assert calling.world.events(email).count("consent.withdrawn") == 1
    assert agrees(calling)


@pytest.mark.parametrize(
    ("late", "reads"),
    [(hints.KEPT - A_MINUTE, 0), (hints.KEPT + A_MINUTE, 1), (-10 * A_MINUTE, 0)],
    ids=["just inside", "just after", "by a clock that was set back"],
)
def test_a_replay_is_never_a_second_event_however_late_it_comes(calling, late, reads):
    (email,) = members(calling, 1)
    (told, *_) = changed(calling, email)
    look(calling)
    calling.world.clock.ahead += late
    with calling.world.db.begin() as tx:
        hints.forget(tx, now=calling.world.clock())
    assert post(calling, told) == 200
    assert states(calling.world).count("open") == reads
    look(calling)
    assert calling.world.events(email).count("consent.withdrawn") == 1
    assert agrees(calling)


def test_the_token_of_a_former_channel_is_taken_for_an_hour_and_not_a_minute_longer(calling):
    first, other = members(calling, 2)
    (told, *_) = changed(calling, first)
    look(calling)
    with calling.world.db.begin() as tx:
        channels.prepare(tx, calling.channel(), "another token", at=calling.world.clock())
    (record,) = calling.world.zoho.crm.find(other)
    of_old = {**told, "ids": [record.record_id], "affected_fields": None}
    calling.world.clock.ahead += channels.BOTH_TOKENS - A_MINUTE
    assert post(calling, {**of_old, "server_time": 1}) == 200
    calling.world.clock.ahead += 2 * A_MINUTE
    assert post(calling, {**of_old, "server_time": 2}) == 403


@pytest.mark.parametrize("forged", ["token", "channel_id", "ids", "affected_values", "operation"])
def test_a_forged_notification_changes_nothing_whatever_it_says(calling, forged):
    first, other = members(calling, 2)
    (told, *_) = changed(calling, first)
    look(calling)
    doors, size = opened(calling.world.sim.world.db), calling.world.size()
    (record,) = calling.world.zoho.crm.find(other)
    lies = {
        "token": "guessed",
        "channel_id": "666",
        "ids": [record.record_id],
        "affected_values": [{"record_id": record.record_id, "values": {"Email_Opt_Out": True}}],
        "operation": "update" if told["operation"] != "update" else "edit",
    }
    body = {**told, forged: lies[forged], "server_time": int(time.time() * 1_000) + 1}
    status = post(calling, body)
    assert status == (403 if forged in ("token", "channel_id") else 200)
    look(calling)
    assert "consent.withdrawn" not in calling.world.events(other)
    assert calling.world.size() == size
    assert opened(calling.world.sim.world.db) == doors


def test_notifications_in_the_wrong_order_end_where_the_records_are(calling):
    people = members(calling, 4)
    out = changed(calling, *people)
    back = changed(calling, *people[:2], out=False)
    for told in [*reversed(back), *reversed(out), *back, *out]:
        assert post(calling, told) == 200
    look(calling)
    for email in people[2:]:
        assert calling.world.events(email).count("consent.withdrawn") == 1
        assert stopped(calling.world, email)
    for email in people[:2]:
        assert "consent.withdrawn" not in calling.world.events(email)
    assert agrees(calling)


@pytest.mark.parametrize("version", ["v2", "v8"])
def test_a_notification_counts_whichever_version_its_address_names(calling, version):
    calling.world.sim.control("switches", {"watch.resource_version": version})
    (email,) = members(calling, 1)
    (told, *_) = changed(calling, email)
    assert f"/crm/{version}/" in told["resource_uri"]
    look(calling)
    assert stopped(calling.world, email)


@pytest.mark.parametrize("status", ["207", "202"])
def test_a_channel_is_asked_for_alone_so_no_mixed_answer_is_met_whichever_it_were(calling, status):
    calling.world.sim.control("switches", {"watch.mixed_status": status})
    later(calling.world.sim, calling.world.clock, timedelta(days=8))
    calling.subscription.keep()
    assert calling.living()
    told = {row[3] for row in calling.world.sim.world.requests if row[2] == "/crm/v8/actions/watch"}
    assert not {202, 207} & told


@pytest.mark.parametrize("lost", ["all", "every other", "since the channel lapsed"])
def test_what_notifications_lost_the_next_run_finds_to_the_last(calling, lost):
    if lost == "since the channel lapsed":
        later(calling.world.sim, calling.world.clock, timedelta(days=8))
        assert not calling.living()
    else:
        calling.world.sim.control("switches", {"watch.lose_every": 1 if lost == "all" else 2})
    people = members(calling, 4)
    for email in people:
        calling.world.sim.control("crm/set", {"email": email, "fields": {"Email_Opt_Out": True}})
    calling.world.run()
    look(calling)
    for email in people:
        assert calling.world.events(email).count("consent.withdrawn") == 1
        assert stopped(calling.world, email)
    assert agrees(calling)

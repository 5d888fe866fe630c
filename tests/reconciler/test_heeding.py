"""What the products call us about is read again at once, and only what is read counts."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
import uvicorn
from sqlalchemy import func, select

from service.db import hint, task
from service.errors import Unreachable, ZohoError
from service.intake.destruction import destroy
from service.jobs import Worker
from service.reconciler import channels, hints
from service.reconciler.enforce import Carried, carry_out
from service.reconciler.heeding import FIGHTS, Heed
from service.reconciler.hints import MOST_ATTEMPTS, Told
from service.reconciler.watch import Watch
from service.web.auth import KeyRing
from service.web.edge import Edge
from service.web.hooks import NOTIFIED_AT
from service.web.site import create_site
from service.zoho.notifications import Notifications, Subscription
from service.zoho.simulator import names
from tests.reconciler.conftest import World, stopped
from tests.reconciler.test_breakers import Odd
from tests.reconciler.test_watch import act, seconds_until
from tests.running import claim, withdrawal

SECRET = "a-secret-of-the-webhooks-that-nobody-guesses"


def heed(made: World, **parts) -> Heed:
    context = replace(made.context, **parts)
    return Heed(context=context, watch=Watch(context=context), worker="a")


def record_of(made: World, email: str) -> tuple[str, str]:
    found = made.context.crm.find(email)[0]
    return found.module, found.record_id


def tell(made: World, email: str, number: int = 0) -> None:
    """A hint about somebody's record, as a notification leaves it."""
    module, record_id = record_of(made, email)
    told = Told(digest=b"%d" % number, kind=hints.NOTIFICATION, module=module, record_id=record_id)
    with made.db.begin() as tx:
        hints.keep(tx, [told], at=made.clock())


def tell_of(made: World, email: str, kind: str) -> None:
    """A hint about an address, as Campaigns' webhook leaves it."""
    told = Told(digest=b"x", kind=kind, address_index=made.intake.vault.address_index(email))
    with made.db.begin() as tx:
        hints.keep(tx, [told], at=made.clock())


def states(made: World) -> list[str]:
    with made.db.read() as tx:
        return list(tx.scalars(select(hint.c.state).order_by(hint.c.id)))


def untick(made: World, email: str, *, out: bool = False) -> None:
    made.sim.control("crm/set", {"email": email, "fields": {"Email_Opt_Out": out}})


def test_a_hint_of_an_opt_out_by_hand_becomes_a_withdrawal_with_a_task(small):
    email = small.ordinary()
    small.run()
    act(small, email, "crm")
    tell(small, email)
    assert heed(small).turn() == 1
    assert small.events(email).count("consent.withdrawn") == 1
    assert carry_out(small.context, worker="a") == Carried(done=1)
    assert stopped(small, email)
    assert states(small) == ["done"]


def test_a_forged_hint_costs_a_read_and_changes_nothing(small):
    email = small.ordinary()
    small.run()
    before = small.size()
    tell(small, email)
    assert heed(small).turn() == 1
    assert small.size() == before


def test_a_late_hint_tells_what_is_so_now_not_what_was(small):
    email = small.ordinary()
    small.run()
    act(small, email, "crm")
    untick(small, email)
    tell(small, email)
    heed(small).turn()
    assert "consent.withdrawn" not in small.events(email)


def test_our_own_writes_come_back_as_hints_and_are_no_news(small):
    email = small.ordinary()
    small.run()
    small.intake.record([claim(email)])
    small.intake.record([withdrawal(email)])
    carry_out(small.context, worker="a")
    before = small.size()
    tell(small, email)
    heed(small).turn()
    assert small.size() == before


def test_hundreds_of_hints_are_a_few_calls(small):
    small.run()
    emails = [email for kind in small.planted() for email in small.emails(kind)][:60]
    records = [r for email in emails for r in small.context.crm.find(email)]
    with small.db.begin() as tx:
        hints.keep(
            tx,
            [
                Told(
                    digest=r.record_id.encode() + b"%d" % n,
                    kind=hints.NOTIFICATION,
                    module=r.module,
                    record_id=r.record_id,
                )
                for r in records
                for n in range(5)
            ],
            at=small.clock(),
        )
    before = small.context.crm.meter.calls["crm"]
    while heed(small).turn():
        pass
    assert small.context.crm.meter.calls["crm"] - before <= 2 * (len(records) * 5 // 500 + 1) * 2


def test_who_is_let_mail_again_by_hand_is_stopped_again_a_few_times_and_not_for_ever(small):
    email = small.ordinary()
    small.run()
    small.intake.record([withdrawal(email)])
    carry_out(small.context, worker="a")
    for number in range(FIGHTS + 2):
        untick(small, email)
        small.clock.ahead += timedelta(seconds=5)
        tell(small, email, number)
        heed(small).turn()
        again = carry_out(small.context, worker="a")
        assert again.done == (1 if number < FIGHTS - 1 else 0)
    assert not stopped(small, email)
    with small.db.read() as tx:
        assert tx.scalar(select(func.count()).select_from(task)) == FIGHTS


def test_nothing_is_looked_into_before_a_run_recorded_the_history(small):
    tell(small, small.ordinary())
    assert heed(small).turn() == 0
    assert states(small) == ["open"]


@pytest.mark.parametrize(
    ("kind", "path", "category"),
    [
        (hints.UNSUBSCRIBED, "campaigns/unsubscribe", "consent.withdrawn"),
        (hints.SPAM, "campaigns/complain", "complaint"),
        (hints.BOUNCE, "campaigns/bounce", "bounce.hard"),
    ],
)
def test_what_campaigns_calls_about_is_read_from_its_lists(small, kind, path, category):
    email = small.ordinary()
    small.run()
    small.sim.control(path, {"email": email, **({"type": "hard"} if kind == hints.BOUNCE else {})})
    tell_of(small, email, kind)
    assert heed(small).turn() == 1
    assert category in small.events(email)
    assert states(small) == ["done"]


def test_what_campaigns_never_shows_is_asked_for_a_few_times_and_stays_unconfirmed(small):
    email = small.ordinary()
    small.run()
    before = small.size()
    tell_of(small, email, hints.UNSUBSCRIBED)
    for _ in range(MOST_ATTEMPTS):
        assert heed(small).turn() == 1
        assert heed(small).turn() == 0
        small.clock.ahead += timedelta(hours=1)
    assert states(small) == ["unconfirmed"]
    assert small.size() == before
    with small.db.read() as tx:
        assert tx.scalar(select(hint.c.address_index)) is None


def test_what_campaigns_said_about_an_erased_person_goes_with_them(small):
    email = small.ordinary()
    small.intake.record([claim(email)])
    tell_of(small, email, hints.UNSUBSCRIBED)
    with small.db.begin() as tx:
        sub = small.intake.vault.find(tx, email)
        destroy(tx, sub, small.intake.vault.address_index(email))
    assert states(small) == []


def test_hints_of_a_product_that_the_last_run_could_not_believe_wait(small):
    small.run(crm=Odd(small.zoho.crm))
    email = small.ordinary()
    tell(small, email)
    act(small, email, "crm")
    assert heed(small).turn() == 0
    small.run()
    assert heed(small).turn() == 1
    assert states(small) == ["done"]


def test_a_product_that_is_down_gives_the_hints_back(small):
    email = small.ordinary()
    small.run()
    tell(small, email)
    act(small, email, "crm")
    small.sim.control("break", {"match": "POST /crm/v8/coql", "times": 9, "how": "status", "status": 503})
    with pytest.raises(Unreachable):
        heed(small).turn()
    assert states(small) == ["open"]
    small.sim.control("reset", {})
    assert heed(small).turn() == 1
    assert small.events(email).count("consent.withdrawn") == 1


def test_workers_at_the_same_time_share_the_hints(organisation):
    organisation.run()
    emails = [email for kind in organisation.planted() for email in organisation.emails(kind)][:8]
    for number, email in enumerate(emails):
        tell(organisation, email, number)
    counted: list[int] = []
    threads = [threading.Thread(target=lambda: counted.append(heed(organisation).turn())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counted) == len(emails)


@dataclass
class Hooked:
    """An organisation that can call us over HTTP."""

    world: World
    url: str
    subscription: Subscription

    def channel(self):
        with self.world.db.read() as tx:
            return channels.known(tx, self.subscription.channel_id)

    def living(self) -> list[dict]:
        call = {"Authorization": f"Zoho-oauthtoken {self.world.zoho.oauth.token().value}"}
        answer = self.world.sim.client.get("/crm/v8/actions/watch", headers=call)
        return answer.json()["watch"] if answer.status_code == 200 else []


@pytest.fixture
def hooked(small) -> Iterator[Hooked]:
    edge = Edge(
        public_url="http://127.0.0.1",
        policy=small.intake.policy,
        db=small.db,
        intake=small.intake,
        keyring=KeyRing(small.db, small.clock),
        now=small.clock,
        hook_token=SECRET,
    )
    server = uvicorn.Server(
        uvicorn.Config(create_site(edge), port=0, log_level="error", access_log=False, lifespan="on")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    subscription = Subscription(
        db=small.db,
        client=Notifications(small.zoho.transports["crm"]),
        mapping=small.intake.policy.zoho,
        url=url + NOTIFIED_AT,
        origin="ledger.example/test-1",
        now=small.clock,
    )
    yield Hooked(small, url, subscription)
    server.should_exit = True
    thread.join(10)


@contextmanager
def heeding(made: World) -> Iterator[None]:
    """A worker that looks into hints and carries out, and looks at nothing by itself."""
    stop = threading.Event()
    worker = Worker(
        db=made.db,
        carry_out=lambda: carry_out(made.context, worker="a").total,
        nightly={},
        hour=0,
        now=made.clock,
        name="a",
        heed=heed(made).turn,
    )
    made.intake.ring_for_tasks(worker.tasks.ring)
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)


@pytest.mark.parametrize("trouble", ["none", "watch.duplicate_every", "watch.reorder"])
def test_a_flip_by_hand_is_in_the_ledger_within_ten_seconds_of_the_notification(hooked, figures, trouble):
    made = hooked.world
    email = made.ordinary()
    made.run()
    hooked.subscription.keep()
    if trouble != "none":
        made.sim.control("switches", {trouble: 1 if trouble.endswith("every") else True})
    with heeding(made):
        act(made, email, "crm")
        recorded_s = seconds_until(lambda: "consent.withdrawn" in made.events(email))
        stopped_s = seconds_until(lambda: made.person(email)["campaigns"]["dnm"])
    figures("flip in CRM by notification", recorded_s=f"{recorded_s:.2f}", stopped_s=f"{stopped_s:.2f}")
    assert made.events(email).count("consent.withdrawn") == 1


def test_an_unsubscribe_that_campaigns_calls_about_is_in_the_ledger_within_ten_seconds(hooked):
    made = hooked.world
    email = made.ordinary()
    made.run()
    made.sim.control("switches", {"emailapi.campaign_events": True})
    subscribe_to_events(hooked)
    with heeding(made):
        act(made, email, "campaigns")
        seconds_until(lambda: "consent.withdrawn" in made.events(email))


def subscribe_to_events(hooked: Hooked) -> None:
    body = {
        "name": "ledger",
        "type": "POST",
        "url": hooked.url + "/hooks/zoho/campaigns/events",
        "webhook_actions": ["bounce", "spam", "unsubscribed"],
        "authorization": {"auth_type": "Auth Token", "auth_token": SECRET},
    }
    key = {"Authorization": f"Zoho-zapikey {names.ZAPIKEY}"}
    answer = hooked.world.sim.client.post("/emailapi/v2/settings/webhook", json=body, headers=key)
    assert answer.is_success, answer.text


def test_a_workflow_of_crm_tells_as_well(hooked):
    made = hooked.world
    email = made.ordinary()
    made.run()
    for module in ("Contacts", "Leads"):
        webhook = {
            "name": f"ledger {module}",
            "module": module,
            "url": hooked.url + "/hooks/zoho/crm/workflow",
            "headers": [{"name": "X-Consent-Token", "value": SECRET}],
            "body": {"raw_data_content": f'{{"module": "{module}", "id": "${{!{module}.Id}}"}}'},
        }
        key = {"Authorization": f"Zoho-oauthtoken {made.zoho.oauth.token().value}"}
        answer = made.sim.client.post(
            "/crm/v8/settings/automation/webhooks", json={"webhooks": [webhook]}, headers=key
        )
        assert answer.is_success, answer.text
    with heeding(made):
        act(made, email, "crm")
        seconds_until(lambda: "consent.withdrawn" in made.events(email))
    assert made.events(email).count("consent.withdrawn") == 1


def test_what_crm_will_not_read_is_tried_a_few_times_and_holds_nobody_up_for_ever(small):
    small.run()
    module, record_id = record_of(small, small.ordinary())
    told = Told(digest=b"odd", kind=hints.NOTIFICATION, module=module, record_id=record_id)
    with small.db.begin() as tx:
        hints.keep(tx, [told], at=small.clock())
    refusal = '{"code": "INVALID_QUERY", "message": "invalid", "details": {}, "status": "error"}'
    for _ in range(MOST_ATTEMPTS):
        small.sim.control(
            "break", {"match": "POST /crm/v8/coql", "how": "status", "status": 400, "body": refusal}
        )
        with pytest.raises(ZohoError, match="INVALID_QUERY"):
            heed(small).turn()
        small.clock.ahead += timedelta(hours=1)
    assert states(small) == ["unconfirmed"]


def test_a_channel_is_asked_for_once_and_then_left_alone(hooked):
    hooked.subscription.keep()
    (first,) = {entry["channel_id"] for entry in hooked.living()}
    before = hooked.world.zoho.meter.calls["crm"]
    hooked.subscription.keep()
    assert hooked.world.zoho.meter.calls["crm"] == before
    assert first == hooked.channel().channel_id
    entry = hooked.living()[0]
    assert entry["return_affected_field_values"] is False
    assert 40 <= len(entry["token"]) <= 50
    with hooked.world.db.read() as tx:
        assert channels.vouches(tx, first, entry["token"], now=hooked.world.clock())


def test_a_channel_is_prolonged_every_hour_and_asked_for_again_when_it_died(hooked):
    made = hooked.world
    hooked.subscription.keep()
    ends = hooked.channel().expires_at
    made.clock.ahead += timedelta(hours=2)
    made.sim.control("clock", {"advance_s": 7200})
    hooked.subscription.keep()
    assert hooked.channel().expires_at > ends
    made.clock.ahead += timedelta(days=8)
    made.sim.control("clock", {"advance_s": 8 * 86400})
    assert not hooked.living()
    hooked.subscription.keep()
    assert hooked.living()
    assert hooked.channel().expires_at > made.clock()


def test_a_channel_that_crm_forgot_early_is_asked_for_again(hooked):
    made = hooked.world
    hooked.subscription.keep()
    hooked.subscription.client.disable(hooked.channel().channel_id)
    assert not hooked.living()
    made.clock.ahead += timedelta(hours=2)
    hooked.subscription.keep()
    assert hooked.living()


def test_where_a_day_is_the_longest_life_a_day_is_asked_for(hooked):
    hooked.world.sim.control("switches", {"watch.longest_days": 1})
    hooked.subscription.keep()
    lives = hooked.channel().expires_at - hooked.world.clock()
    assert timedelta(hours=20) < lives < timedelta(hours=24)


def test_a_channel_that_cannot_be_had_is_tried_again_a_minute_later(hooked):
    made = hooked.world
    made.sim.control("switches", {"oauth.scopes": "ZohoCRM.modules.ALL ZohoCRM.coql.READ"})
    made.zoho.oauth.renew(made.zoho.oauth.token())
    hooked.subscription.keep()
    assert not hooked.living()
    before = made.zoho.meter.calls["crm"]
    hooked.subscription.keep()
    assert made.zoho.meter.calls["crm"] == before
    made.clock.ahead += timedelta(minutes=2)
    hooked.subscription.keep()
    assert made.zoho.meter.calls["crm"] > before


def quick_looks(hooked: Hooked, looks: int = 4) -> int:
    """How many credits so many looks cost, five seconds apart."""
    made = hooked.world
    watch = Watch(context=made.context, sweep=timedelta(minutes=5))
    watch.look()
    before = made.zoho.meter.credits
    for _ in range(looks):
        made.clock.ahead += timedelta(seconds=5)
        watch.look()
    return made.zoho.meter.credits - before


def test_crm_is_asked_rarely_once_its_channel_was_heard(hooked):
    made = hooked.world
    made.run()
    assert quick_looks(hooked) == 8
    hooked.subscription.keep()
    assert quick_looks(hooked) == 8
    act(made, made.ordinary(), "crm")
    seconds_until(lambda: states(made))
    heed(made).turn()
    assert quick_looks(hooked) == 0
    made.clock.ahead += timedelta(days=8)
    assert quick_looks(hooked) == 8


def test_a_notification_that_was_lost_is_found_by_the_sweep_and_crm_is_asked_often_again(hooked):
    made = hooked.world
    made.run()
    hooked.subscription.keep()
    emails = [made.ordinary()]
    act(made, emails[0], "crm")
    seconds_until(lambda: states(made))
    heed(made).turn()
    watch = Watch(context=made.context, sweep=timedelta(minutes=5))
    watch.look()
    assert quick_looks(hooked) == 0
    made.sim.control("switches", {"watch.lose_every": 1})
    other = made.ordinary() if made.ordinary() not in emails else made.emails(next(iter(made.planted())))[0]
    act(made, other, "crm")
    made.clock.ahead += timedelta(minutes=6)
    watch.look()
    assert quick_looks(hooked) == 8

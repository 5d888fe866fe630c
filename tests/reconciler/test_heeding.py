"""What the products call us about is read again at once, and only what is read counts."""

import threading
from collections.abc import Iterator, Mapping
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from service.db import hint, task
from service.errors import Unreachable, ZohoError
from service.intake.destruction import destroy
from service.reconciler import hints
from service.reconciler.enforce import Carried, carry_out
from service.reconciler.heeding import FIGHTS
from service.reconciler.hints import MOST_ATTEMPTS, Told
from service.zoho.simulator import names
from tests.reconciler.conftest import World, stopped
from tests.reconciler.hooked import SECRET, Hooked, heed, heeding, hooks_of, record_of, states, tell, tell_of
from tests.reconciler.test_breakers import Odd
from tests.reconciler.test_watch import act, seconds_until
from tests.running import claim, withdrawal
from tests.waiting import until


@pytest.fixture
def hooked(small: World) -> Iterator[Hooked]:
    with hooks_of(small) as made:
        yield made


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
    assert {"consent.granted", "consent.confirmed"}.isdisjoint(small.events(email))
    assert small.standing(email) == ("refused", True)
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


TOKEN = {"authorization": {"auth_type": "Auth Token", "auth_token": SECRET}}
WRONG = {"authorization": {"auth_type": "Auth Token", "auth_token": SECRET[:-1]}}
BASIC = {"authorization": {"auth_type": "Username", "auth_username": "us", "auth_password": SECRET}}
OWN_HEADER = {
    "authorization": {},
    "custom_headers": {"headers": {"X-Consent-Token": SECRET}, "status": True},
}


def test_a_webhook_of_campaigns_is_believed_however_its_token_travels_and_not_without_it(hooked):
    made = hooked.world
    made.run()
    made.sim.control("switches", {"emailapi.campaign_events": True})
    headers = ("Authorization", "X-Auth-Token", "auth_token")
    ways = [(header, way) for header in headers for way in (TOKEN, WRONG)]
    ways += [(headers[0], BASIC), (headers[0], OWN_HEADER)]
    number, people = subscribe_to_events(hooked), []
    for header, way in ways:
        made.sim.control("switches", {"emailapi.auth_header": header})
        change_webhook(hooked, number, way)
        email = made.ordinary()
        before = len(made.sim.world.outbox.past)
        act(made, email, "campaigns")
        until(
            lambda since=before: [one.outcome for one in made.sim.world.outbox.past][since:] in ANSWERED,
            within_s=10,
        )
        told = made.sim.world.outbox.past[-1].outcome
        assert told == ("403" if way is WRONG else "200"), f"{header} {way.keys()}"
        people += [email] if way is not WRONG else []
    assert len(states(made)) == len(people)
    heed(made).turn()
    assert all("consent.withdrawn" in made.events(email) for email in people)


ANSWERED = (["200"], ["403"])


def change_webhook(hooked: Hooked, number: str, way: Mapping[str, object]) -> None:
    key = {"Authorization": f"Zoho-zapikey {names.ZAPIKEY}"}
    answer = hooked.world.sim.client.put(f"/emailapi/v2/settings/webhook/{number}", json=way, headers=key)
    assert answer.is_success, answer.text


def subscribe_to_events(hooked: Hooked) -> str:
    """Ask Campaigns' Email API to call us; return the number of the webhook."""
    body = {
        "name": "ledger",
        "type": "POST",
        "url": hooked.url + "/hooks/zoho/campaigns/events",
        "webhook_actions": ["bounce", "spam", "unsubscribed"],
        **TOKEN,
    }
    key = {"Authorization": f"Zoho-zapikey {names.ZAPIKEY}"}
    answer = hooked.world.sim.client.post("/emailapi/v2/settings/webhook", json=body, headers=key)
    assert answer.is_success, answer.text
    return answer.json()["webhook_id"]


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


def test_who_enters_the_view_is_on_the_list_at_once_where_the_ledger_permits(small):
    (permitted, *_), (unknown, *_) = small.emails("list_lag_stale"), small.emails("list_lag_missing")
    contact = "SELECT id FROM contacts WHERE email = ?"
    small.sim.world.db.execute(f"DELETE FROM members WHERE contact_id IN ({contact})", (permitted,))
    small.intake.record([claim(permitted, received_at=small.clock())])
    small.run()
    for email in (permitted, unknown):
        small.sim.control("crm/set", {"email": email, "fields": {"Newsletter": True, "Phone": "+1 555 1"}})
        tell(small, email)
    heed(small).turn()
    assert small.person(permitted)["campaigns"]["lists"] == {names.LIST_KEY: "active"}
    assert small.person(unknown)["campaigns"]["lists"] == {}

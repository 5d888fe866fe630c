"""Who was in fact mailed while not permitted: windows of drift joined with what was sent."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from service.db import harm, harm_window, mailing_scan
from service.intake.erasures import ErasureList
from service.intake.forgetting import erase
from service.reconciler.enforce import carry_out
from service.reconciler.harm import count, look
from tests.running import claim, withdrawal

from .conftest import world

DAY_S = 86_400


@pytest.fixture
def planted(sqlite_url):
    with world(sqlite_url, 100) as made:
        yield made


@pytest.fixture
def anywhere(database_url):
    with world(database_url, 100) as made:
        yield made


def mailed_after(made, kind: str) -> set[str]:
    """Who of a planted kind got a campaign that went out after what happened to them, by the simulator."""
    action = {"unsubscribed_not_in_crm": "optoutcontacts", "hard_bounce_not_in_crm": "senthardbounce"}[kind]
    rows = made.sim.world.db.execute(
        "SELECT c.email FROM outcomes happened JOIN contacts c ON c.id = happened.contact_id"
        " JOIN outcomes sent ON sent.contact_id = c.id AND sent.action = 'sentcontacts'"
        " JOIN campaigns k ON k.id = sent.campaign_id"
        " WHERE happened.action = ? AND k.sent_at > happened.at",
        (action,),
    )
    return {email for (email,) in rows} & set(made.emails(kind))


def send(made, *emails: str, days_ago: float) -> None:
    """Let the newest campaign have gone out to these as well, at another time."""
    db = made.sim.world.db
    at = int(made.clock().timestamp() - days_ago * DAY_S)
    db.execute("UPDATE campaigns SET sent_at = ? WHERE id = 6", (at,))
    for email in emails:
        db.execute(
            "INSERT OR REPLACE INTO outcomes SELECT 6, 'sentcontacts', id, ? FROM contacts WHERE email = ?",
            (at, email),
        )


def hit(made) -> set[bytes]:
    with made.db.read() as tx:
        return set(tx.scalars(select(harm.c.address_index)))


def index(made, email: str) -> bytes:
    return made.intake.vault.address_index(email)


def test_who_left_and_got_a_later_campaign_was_harmed_and_who_did_not_is_listed_apart(anywhere):
    left = anywhere.emails("unsubscribed_not_in_crm")
    send(anywhere, left[0], days_ago=3)
    anywhere.run()
    found = look(anywhere.context, anywhere.zoho.campaigns.mails())
    wanted = mailed_after(anywhere, "unsubscribed_not_in_crm") | {left[0]}
    assert {index(anywhere, email) for email in left} & hit(anywhere) == {
        index(anywhere, email) for email in wanted
    }
    assert found.people["unsubscribed_not_in_crm"] == len(wanted)
    assert found.harmless.get("unsubscribed_not_in_crm", 0) == len(left) - len(wanted)


def test_a_mail_before_the_window_or_after_its_end_is_no_harm(planted):
    left = planted.emails("unsubscribed_not_in_crm")[0]
    planted.run()
    send(planted, left, days_ago=-1)
    look(planted.context, planted.zoho.campaigns.mails())
    with planted.db.read() as tx:
        keys = set(
            tx.scalars(select(harm.c.campaign_key).where(harm.c.address_index == index(planted, left)))
        )
        newest = planted.sim.world.db.execute("SELECT campaign_key FROM campaigns WHERE id = 6").fetchone()[0]
    assert newest not in keys


def test_a_withdrawal_that_came_here_first_has_a_window_until_both_products_stopped(planted):
    email = planted.ordinary()
    at = planted.clock() - timedelta(days=5)
    planted.intake.record([withdrawal(email, occurred_at=at, received_at=at)])
    send(planted, email, days_ago=2)
    planted.run(applying=False)
    look(planted.context, planted.zoho.campaigns.mails())
    assert index(planted, email) in hit(planted)


def test_nobody_without_a_window_is_kept(planted):
    planted.run()
    look(planted.context, planted.zoho.campaigns.mails())
    with planted.db.read() as tx:
        assert hit(planted) <= set(tx.scalars(select(harm_window.c.address_index)))
    assert index(planted, planted.ordinary()) not in hit(planted)


def test_each_campaign_is_read_once_and_again_only_for_a_window_that_was_not_known(planted):
    planted.run()
    mails = planted.zoho.campaigns.mails()
    first = look(planted.context, mails)
    assert first.read > 0
    assert look(planted.context, mails).read == 0
    send(planted, days_ago=-1)
    planted.intake.record([withdrawal(planted.ordinary(), received_at=planted.clock())])
    assert look(planted.context, mails).read == 1
    assert look(planted.context, mails).read == 0


def test_a_look_that_was_cut_off_is_done_again(planted):
    planted.run()

    class Cut:
        def __init__(self, mails):
            self.mails = mails

        def sent(self):
            return self.mails.sent()

        def recipients(self, key):
            yield next(self.mails.recipients(key))
            raise ConnectionError

    mails = planted.zoho.campaigns.mails()
    with pytest.raises(ConnectionError):
        look(planted.context, Cut(mails))
    with planted.db.read() as tx:
        assert tx.execute(select(mailing_scan.c.campaign_key)).all() == []
        assert count(tx).looked_at is None
    whole = look(planted.context, mails)
    assert whole.read > 0
    assert whole.looked_at is not None
    assert timedelta(0) <= planted.clock() - whole.looked_at < timedelta(minutes=1)


def test_who_is_erased_leaves_no_trace_of_harm(planted, tmp_path):
    planted.intake.erasures = ErasureList(tmp_path / "erasures")
    left = planted.emails("unsubscribed_not_in_crm")[0]
    send(planted, left, days_ago=3)
    planted.run()
    look(planted.context, planted.zoho.campaigns.mails())
    before = index(planted, left)
    assert before in hit(planted)
    erase(planted.intake, left, reason="request")
    assert before not in hit(planted)
    with planted.db.read() as tx:
        assert count(tx).total >= 0
        assert before not in set(tx.scalars(select(harm_window.c.address_index)))


def test_a_mail_between_two_stops_to_somebody_who_had_agreed_again_is_no_harm(planted):
    email, mails = planted.ordinary(), planted.zoho.campaigns.mails()
    start = planted.clock()

    def stopped() -> None:
        planted.intake.record([withdrawal(email, received_at=planted.clock())])
        carry_out(planted.context, worker="w")

    stopped()
    planted.clock.ahead += timedelta(days=40)
    planted.intake.record([claim(email, received_at=planted.clock())])
    planted.clock.ahead += timedelta(days=20)
    send(planted, email, days_ago=0)
    planted.clock.ahead += timedelta(days=30)
    stopped()
    planted.run(applying=False)
    look(planted.context, mails)
    newest = planted.sim.world.db.execute("SELECT campaign_key FROM campaigns WHERE id = 6").fetchone()[0]
    with planted.db.read() as tx:
        keys = set(
            tx.scalars(select(harm.c.campaign_key).where(harm.c.address_index == index(planted, email)))
        )
    assert start < planted.clock()
    assert newest not in keys

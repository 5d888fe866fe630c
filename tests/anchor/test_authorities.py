from datetime import UTC, datetime, timedelta

import pytest

from service.ledger import anchors, attestors
from service.ledger.attestors import Level
from service.ledger.timestamp import REPLY_TYPE, ask, read_trust, verify
from tests.anchor.authority import LocalAuthority, authority_server
from tests.anchor.witness import serving


@pytest.fixture
def local(tmp_path):
    return LocalAuthority(tmp_path / "authority")


@pytest.fixture
def authority(local):
    with authority_server(local) as url:
        yield local.named("tsa", url)


def stamps(log):
    with log.db.read() as tx:
        return anchors.time_stamps(tx)


def state(log):
    with log.db.read() as tx:
        return attestors.attestors(tx, log.clock())[0]


def test_the_published_checkpoint_is_stamped_and_openssl_agrees(log, local, authority):
    published = log.publish(5)
    assert log.anchors(authorities=[authority]).attend() == 1
    (found,) = stamps(log)
    assert (found.authority, found.size, found.note) == ("tsa", 5, published.note)
    assert local.judge(found.reply, published.note)
    assert not local.judge(found.reply, published.note + b"x")


def test_a_stored_stamp_is_verified_offline_with_the_chain_beside_it(log, authority):
    log.publish()
    log.anchors(authorities=[authority]).attend()
    (found,) = stamps(log)
    stamp = verify(found.reply, found.note, read_trust(found.chain))
    assert stamp.at == found.at
    assert abs(stamp.at - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_log_is_stamped_once_a_day(log, authority):
    asked = log.anchors(authorities=[authority])
    for hours in (0, 23, 2, 1):
        log.clock.forward(hours=hours)
        log.publish()
        asked.attend()
    assert [one.size for one in stamps(log)] == [3, 9]


def test_before_keys_change_a_stamp_is_taken_at_once(log, authority):
    asked = log.anchors(authorities=[authority])
    log.publish()
    asked.attend()
    log.publish()
    (stamp,) = asked.stamp_at_once()
    assert stamp.size == 6
    assert {one.size for one in stamps(log)} == {3, 6}


def test_a_log_may_have_several_authorities(log, tmp_path, authority):
    second = LocalAuthority(tmp_path / "second")
    log.publish()
    with authority_server(second) as url:
        assert log.anchors(authorities=[authority, second.named("other", url)]).attend() == 2
    assert {one.authority for one in stamps(log)} == {"tsa", "other"}


def test_a_stamp_by_somebody_else_is_not_kept(log, tmp_path, authority):
    stranger = LocalAuthority(tmp_path / "stranger")
    log.publish()
    asked = stranger.named("tsa", authority.url)
    assert log.anchors(authorities=[asked]).attend() == 0
    assert "does not hold" in state(log).trouble
    assert stamps(log) == []


def test_an_answer_to_an_earlier_question_is_not_kept(log, local):
    published = log.publish()
    replayed = local.stamp(ask(published.note).body)
    with serving(lambda _path, _body: (200, REPLY_TYPE, replayed)) as url:
        assert log.anchors(authorities=[local.named("tsa", url)]).attend() == 0
    assert "Nonce" in state(log).trouble
    assert stamps(log) == []


@pytest.mark.parametrize(
    "answer", [(500, "text/plain", b""), (200, REPLY_TYPE, b"x"), (200, "text/html", b"")]
)
def test_an_answer_that_is_no_stamp_is_noted_and_nothing_is_kept(log, local, answer):
    log.publish()
    with serving(lambda _path, _body: answer) as url:
        assert log.anchors(authorities=[local.named("tsa", url)]).attend() == 0
    assert state(log).trouble
    assert stamps(log) == []


def test_an_authority_that_is_away_is_late_after_a_day_and_red_after_two(log, local, authority):
    log.publish()
    log.anchors(authorities=[authority]).attend()
    log.clock.forward(days=1, minutes=11)
    assert log.anchors(authorities=[local.named("tsa", "http://127.0.0.1:9")]).attend() == 0
    assert state(log).level is Level.LATE
    log.clock.forward(days=1)
    assert state(log).level is Level.RED

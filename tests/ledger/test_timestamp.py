import time
from datetime import UTC, datetime, timedelta

import pytest

from service.errors import Malformed, Tampered
from service.ledger.timestamp import ask, read_trust, verify, verify_any
from tests.anchor.authority import LocalAuthority
from tests.ledger.evidence import flipped

DATA = b"ledger.example/test-1\n3\nroot\n"


@pytest.fixture
def authority(tmp_path):
    return LocalAuthority(tmp_path / "authority")


def test_a_stamp_tells_when_these_bytes_existed(authority):
    question = ask(DATA)
    stamp = verify(authority.stamp(question.body), DATA, read_trust(authority.chain), nonce=question.nonce)
    assert abs(stamp.at - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_stamp_over_other_bytes_says_nothing_about_these(authority):
    reply = authority.stamp(ask(DATA).body)
    with pytest.raises(Tampered, match="Mismatch between messages"):
        verify(reply, DATA + b"x", read_trust(authority.chain))


def test_an_answer_to_another_question_is_refused(authority):
    question = ask(DATA)
    with pytest.raises(Tampered, match="Nonce"):
        verify(authority.stamp(ask(DATA).body), DATA, read_trust(authority.chain), nonce=question.nonce)


def test_a_stamp_outlives_the_certificate_that_signed_it(tmp_path):
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3)
    authority = LocalAuthority(tmp_path / "authority", until=until)
    reply = authority.stamp(ask(DATA).body)
    time.sleep(max(0.0, (until - datetime.now(UTC)).total_seconds()) + 1.5)
    assert not authority.judge(reply, DATA), "openssl judges by today's clock, so the certificate has run out"
    assert verify(reply, DATA, read_trust(authority.chain)).at <= until


def test_a_stamp_by_a_certificate_that_had_run_out_is_refused(tmp_path):
    authority = LocalAuthority(
        tmp_path / "authority",
        since=datetime.now(UTC) - timedelta(days=9),
        until=datetime.now(UTC) - timedelta(days=1),
    )
    reply = authority.stamp(ask(DATA).body)
    with pytest.raises(Tampered, match="does not hold"):
        verify(reply, DATA, read_trust(authority.chain))


def test_a_stamp_is_believed_only_from_those_who_are_trusted(authority, tmp_path):
    stranger = LocalAuthority(tmp_path / "stranger")
    reply = authority.stamp(ask(DATA).body)
    with pytest.raises(Tampered, match="does not hold"):
        verify(reply, DATA, read_trust(stranger.chain))
    both = [read_trust(stranger.chain), read_trust(authority.chain)]
    assert verify_any(reply, DATA, both) == verify(reply, DATA, both[1])
    with pytest.raises(Tampered):
        verify_any(reply, DATA, both[:1])


def test_no_changed_byte_moves_the_time_or_the_message(authority):
    trust = read_trust(authority.chain)
    reply = authority.stamp(ask(DATA).body)
    true = verify(reply, DATA, trust)
    held = 0
    for changed in flipped(reply):
        try:
            found = verify(changed, DATA, trust)
        except Tampered:
            held += 1
            continue
        assert found == true
    assert held > len(reply) * 0.9


@pytest.mark.parametrize("reply", [b"", b"x", b"\x30\x03\x02\x01\x02", b"\x30\x05\x30\x03\x02\x01\x02"])
def test_what_is_no_stamp_is_refused(authority, reply):
    with pytest.raises(Tampered):
        verify(reply, DATA, read_trust(authority.chain))


@pytest.mark.parametrize("pem", [b"", b"nonsense"])
def test_a_file_without_certificates_trusts_nobody(pem):
    with pytest.raises(Malformed):
        read_trust(pem)


def test_a_file_without_a_root_trusts_nobody(authority):
    with pytest.raises(Malformed, match="no root certificate"):
        read_trust((authority.folder / "signer.pem").read_bytes())

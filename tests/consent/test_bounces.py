"""What comes back is judged by its enhanced status code; what is no bounce is none."""

import pytest

from service.consent.bounces import Bounce, classify

HARD, SOFT, UNKNOWN, NONE = Bounce.HARD, Bounce.SOFT, Bounce.UNKNOWN, Bounce.NONE


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("5.1.1", HARD),
        ("550 5.1.1 User unknown", HARD),
        ("5.1.10", HARD),
        ("5.2.1", HARD),
        ("552 5.2.2 mailbox full", SOFT),
        ("4.2.2", SOFT),
        ("4.7.1 greylisted", SOFT),
        ("5.3.1", SOFT),
        ("5.4.4", SOFT),
        ("5.1.8", UNKNOWN),
        ("5.2.3", UNKNOWN),
        ("5.6.0", UNKNOWN),
        ("550 5.7.1 blocked by policy", UNKNOWN),
        ("5.7.13", HARD),
        ("5.99.99", UNKNOWN),
        ("2.1.5", NONE),
        ("250", NONE),
        ("421", SOFT),
        ("552", SOFT),
    ],
)
def test_the_enhanced_code_decides_whatever_the_source_calls_it(status, kind):
    assert {classify(told, status=status) for told in (HARD, SOFT, UNKNOWN)} == {kind}


@pytest.mark.parametrize("told", [HARD, SOFT, UNKNOWN])
@pytest.mark.parametrize("status", ["", "550", "no such thing", "5.1", "10.5.1.1"])
def test_where_no_code_speaks_the_sources_word_stands(told, status):
    assert classify(told, status=status) is told


@pytest.mark.parametrize(
    "text", ["Vacation", "This is an auto-reply", "Auto: out of the office until Monday", "Autoresponder"]
)
def test_an_answering_machine_is_no_bounce(text):
    assert classify(HARD, diagnostic=text) is NONE
    assert classify(HARD, status="5.1.1", diagnostic=text) is HARD


def test_the_text_is_read_where_the_status_is_silent():
    assert classify(HARD, diagnostic="smtp; 550-5.2.2 over quota") is SOFT
    assert classify(SOFT, diagnostic="host 192.0.2.5.1.1.7 said no") is SOFT

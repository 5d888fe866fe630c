"""One address, one spelling: the table of spellings, and that folding is settled."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import Malformed
from service.vault.address import fold, parse

SPELLINGS = [
    ("ana@example.org", "ana@example.org"),
    ("  ana@example.org\n", "ana@example.org"),
    ("Ana@Example.ORG", "ana@example.org"),
    ("ﬁ@x.com", "fi@x.com"),
    ("ana\uff20example.org", "ana@example.org"),
    ("a@ⅷ.com", "a@viii.com"),
    ("ana@bücher.example", "ana@xn--bcher-kva.example"),
    ("ana@BÜCHER.example", "ana@xn--bcher-kva.example"),
    ("ana@xn--bcher-kva.example", "ana@xn--bcher-kva.example"),
    ("ana@bu\u0308cher.example", "ana@xn--bcher-kva.example"),
    ("ana@例え。jp", "ana@xn--r8jz45g.jp"),
    ("STRASSE@example.org", "strasse@example.org"),
    ("straße@example.org", "strasse@example.org"),
]


@pytest.mark.parametrize(("told", "kept"), SPELLINGS)
def test_every_spelling_of_an_address_is_kept_as_one(told, kept):
    assert parse(told) == fold(told) == kept


def test_no_provider_specific_tricks_are_played():
    assert parse("a.na+news@gmail.com") == "a.na+news@gmail.com" != parse("ana@gmail.com")


def test_two_domains_that_only_case_folding_would_join_stay_apart():
    assert fold("ana@straße.de") == "ana@xn--strae-oqa.de"
    assert fold("ana@strasse.de") == "ana@strasse.de"


@pytest.mark.parametrize(
    "told",
    [
        "",
        "ana",
        "@example.org",
        "ana@",
        "ana@example",
        "a b@example.org",
        "ana@exa mple.org",
        "ana@@example.org",
        "ana@example.org, bob@example.org",
        "Ana <ana@example.org>",
        "ana@" + "a" * 64 + ".org",
        "x" * 250 + "@example.org",
        "ana\x00@example.org",
        "ana\ud800@example.org",
        "ana@exam\ud800ple.org",
    ],
)
def test_what_is_no_address_is_refused_without_being_repeated(told):
    with pytest.raises(Malformed) as refused:
        parse(told)
    assert refused.value.field == "email"
    assert not told or told not in str(refused.value)


@given(st.text())
def test_whatever_a_product_holds_can_be_folded(text):
    assert isinstance(fold(text), str)


@given(st.text(), st.text())
def test_what_is_folded_folds_to_itself(local, domain):
    once = fold(f"{local}@{domain}")
    assert fold(once) == once


@given(st.emails())
def test_what_parses_is_folded(address):
    try:
        found = parse(address)
    except Malformed:
        return
    assert found == fold(address) == fold(address.swapcase())

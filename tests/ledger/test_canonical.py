import math
from enum import StrEnum

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from service.errors import Malformed
from service.ledger.canonical import MAX_DEPTH, canonical

KEYS = st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789_.", min_size=1, max_size=8)
TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
INTEGERS = st.integers(-(2**53) + 1, 2**53 - 1)
VALUES = st.recursive(
    st.none() | st.booleans() | INTEGERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_within_the_profile_we_write_what_rfc_8785_writes(value):
    assert canonical(value) == rfc8785.dumps(value)


def test_only_quotes_backslashes_and_controls_are_escaped():
    assert (
        canonical('"\\/\b\t\n\f\r\x00\x1f\x7f\u2028é')
        == b'"\\"\\\\/\\b\\t\\n\\f\\r\\u0000\\u001f\x7f' + '\u2028é"'.encode()
    )


@pytest.mark.parametrize(
    "value",
    [1.0, -0.0, math.nan, 2**53, -(2**53), b"bytes", {1, 2}, 1j, "\ud800", {"a": "x\udfff"}],
    ids=repr,
)
def test_what_readers_could_read_differently_is_refused(value):
    with pytest.raises(Malformed):
        canonical(value)


@pytest.mark.parametrize("key", ["", "A", "é", "a b", "a-b", 1, None, "a\n"])
def test_keys_outside_of_the_profile_are_refused(key):
    with pytest.raises(Malformed, match="field's name"):
        canonical({"good": [{key: 1}]})


def test_nesting_has_an_end():
    value: list = []
    for _ in range(MAX_DEPTH - 1):
        value = [value]
    assert canonical(value) == b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    with pytest.raises(Malformed, match="deep"):
        canonical([value])


def test_a_category_of_an_enumeration_is_written_as_its_value():
    class Kind(StrEnum):
        GRANTED = "consent.granted"

    assert canonical({"cat": Kind.GRANTED}) == b'{"cat":"consent.granted"}'

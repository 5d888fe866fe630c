import hmac

from hypothesis import given
from hypothesis import strategies as st

from service.ledger.mac import Mac


@given(st.binary(max_size=64), st.binary(max_size=300))
def test_it_is_the_library_s_hmac_for_every_key_and_text(key: bytes, data: bytes):
    assert Mac(key)(data) == hmac.digest(key, data, "sha256")


def test_the_key_is_not_shown():
    assert repr(Mac(b"secret")) == "Mac()"

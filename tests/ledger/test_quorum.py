import base64
import itertools

import pytest

from service.errors import Malformed
from service.ledger.note import COSIGNATURE, ED25519, derive_key_id, format_key
from service.ledger.quorum import decode, encode
from tests.ledger.evidence import VECTORS


def vkey(name: str, kind: int = COSIGNATURE, public: bytes | None = None) -> str:
    public = public or base64.b64decode(base64.b64encode(name.encode().ljust(32, b"."))[:43] + b"=")
    return format_key(name, derive_key_id(name, kind, public), kind, public)


LOG = f"log {vkey('log.example', ED25519)}"
ABC = [f"witness {name} {vkey(name + '.example')} https://{name}.example/w" for name in "ABC"]


def read(*lines: str):
    return decode("".join(line + "\n" for line in lines).encode())


def refused(*lines: str) -> str:
    with pytest.raises(Malformed) as caught:
        read(*lines)
    return str(caught.value)


def test_a_policy_of_the_published_keys_is_read():
    keys = VECTORS["keys"]
    policy = read(
        f"log {keys['log']['vkey_text']} https://ledger.example/log",
        f"log {keys['log_pq']['vkey_text']}",
        f"witness W1 {keys['w1']['vkey_text']}",
        f"witness W2 {keys['w2']['vkey_text']} https://w2.example",
        "group both all W1 W2",
        "quorum both",
    )
    assert [party.name for party in policy.logs] == ["ledger.example/acme-1"] * 2
    assert [(party.name, party.url) for party in policy.witnesses] == [
        ("W1", None),
        ("W2", "https://w2.example"),
    ]
    assert policy.satisfied({"W1", "W2"})
    assert not policy.satisfied({"W1"})


def test_without_a_quorum_nobody_needs_to_cosign():
    assert read(LOG, *ABC, "quorum none").satisfied(set())
    assert read("quorum none").witnesses == ()


@pytest.mark.parametrize(("word", "needed"), [("any", 1), ("1", 1), ("2", 2), ("3", 3), ("all", 3)])
def test_a_group_holds_exactly_from_its_threshold_on(word, needed):
    policy = read(*ABC, f"group G {word} A B C", "quorum G")
    for size in range(4):
        for names in itertools.combinations("ABC", size):
            assert policy.satisfied(names) is (size >= needed)


def test_groups_may_be_made_of_groups():
    policy = read(*ABC, "group inner any A B", "group outer all inner C", "quorum outer")
    assert policy.satisfied("BC")
    assert not policy.satisfied("AB")


def test_a_single_witness_may_be_the_quorum():
    assert read(*ABC, "quorum B").satisfied("B")
    assert not read(*ABC, "quorum B").satisfied("AC")


def test_comments_blank_lines_and_tabs_mean_nothing():
    policy = read("# who is believed", "", " \t # more", f"\t{ABC[0]}  ", "quorum\tA")
    assert policy.satisfied("A")


def test_a_policy_survives_being_written_and_read():
    policy = read(LOG, *ABC, "group G 2 A B", "quorum G")
    assert decode(encode(policy)) == policy
    assert decode(encode(read("quorum none"))).quorum is None


def test_names_are_octets_and_nothing_else():
    name = "K\udce2".encode("utf-8", "surrogateescape")
    text = b"witness " + name + f" {vkey('x')}\n".encode() + b"quorum " + name + b"\n"
    assert encode(decode(text)) == text


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([LOG], "needs one quorum line"),
        (["quorum none", "quorum none"], "line 2 .* exactly one quorum"),
        (["quorum G"], "G is not defined above"),
        (["group G any A", *ABC, "quorum G"], "line 1 .* A is not defined above"),
        ([*ABC, "group G any A A", "quorum G"], "A is a member twice"),
        ([*ABC, "group G any A", "group H any A B", "quorum H"], "A is a member twice"),
        ([*ABC, "group G any none", "quorum G"], "none is not defined"),
        ([*ABC, "group G 4 A B C", "quorum G"], "a number from 1 to 3"),
        ([*ABC, "group G 0 A", "quorum G"], "a number from 1 to 1"),
        ([*ABC, "group G 01 A", "quorum G"], "a number from 1 to 1"),
        ([*ABC, "group G most A", "quorum G"], "a number from 1 to 1"),
        ([*ABC, "group G any", "quorum G"], "not written like this"),
        ([*ABC, "group A any B", "quorum A"], "the name A is taken"),
        ([f"witness none {vkey('x')}", "quorum none"], "the name none is taken"),
        ([ABC[0], f"witness A {vkey('other')}", "quorum A"], "the name A is taken"),
        ([ABC[0], ABC[0].replace("witness A", "witness D"), "quorum A"], "stands here twice"),
        ([LOG, LOG, "quorum none"], "stands here twice"),
        ([f"witness A {vkey('x', ED25519)}", "quorum A"], "type 4 or 6"),
        ([f"log {vkey('x')}", "quorum none"], "type 1 or 6"),
        (["witness A", "quorum A"], "not written like this"),
        ([ABC[0] + " more", "quorum A"], "not written like this"),
        (["witnes A", "quorum none"], "not written like this"),
        (["log x", "quorum none"], "not a key"),
        (["quorum none\r"], "control character"),
    ],
)
def test_a_policy_that_says_two_things_is_refused(lines, says):
    with pytest.raises(Malformed, match=says):
        read(*lines)


def test_the_same_public_key_under_two_names_is_one_witness():
    public = bytes(range(32))
    text = [f"witness {n} {vkey(n, public=public)}" for n in "AB"]
    assert "stands here twice" in refused(*text, "quorum A")

import pytest

from service.anchor.attestation import FILE, Attestation, load, problems
from service.errors import Misconfigured
from service.settings import HERE
from tests.anchor.authority import LocalAuthority
from tests.ledger.evidence import VECTORS

W1, W2 = (VECTORS["keys"][name]["vkey_text"] for name in ("w1", "w2"))
POLICY = f"""
policy = '''
witness W1 {W1} https://w1.example/sub
witness W2 {W2}
group any1 any W1 W2
quorum any1
'''
"""


def write(folder, text: str):
    (folder / "log.toml").write_text(text)
    return load(folder)


def test_what_ships_names_nobody():
    assert load(HERE / "policies") == Attestation()


def test_without_the_file_nobody_is_named(tmp_path):
    assert load(tmp_path) == Attestation()


def test_witnesses_with_an_address_are_asked(tmp_path):
    found = write(tmp_path, POLICY)
    (witness,) = found.witnesses
    assert (witness.name, found.monitor(witness)) == ("W1", "https://w1.example/sub")
    assert found.policy.satisfied({"W2"})


def test_a_witness_may_show_its_checkpoints_elsewhere(tmp_path):
    found = write(tmp_path, POLICY + '[monitors]\nW1 = "https://w1.example/monitor"\n')
    assert found.monitor(found.witnesses[0]) == "https://w1.example/monitor"


def test_an_authority_has_an_address_and_a_root(tmp_path):
    local = LocalAuthority(tmp_path / "authority")
    found = write(
        tmp_path,
        '[[authority]]\nname = "tsa"\nurl = "https://tsa.example/tsr"\ncertificates = "authority/root.pem"\n',
    )
    (authority,) = found.authorities
    assert (authority.name, authority.chain) == ("tsa", local.chain)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("policy = 'quorum nobody'", "nobody is not defined"),
        ("policy = ''", "needs one quorum line"),
        ("witnesses = 3", "unknown field"),
        ("policy = 3", "Expected `str`"),
        ("policy = ", "log.toml:1: .* the file cannot be used"),
        (POLICY.replace("https://w1", "ftp://w1"), "not an http or https address"),
        (POLICY + '[monitors]\nW3 = "https://w3.example"\n', "names W3"),
        ('[[authority]]\nname = "tsa"\nurl = "https://t.example"\ncertificates = "no.pem"\n', "No such file"),
        ('[[authority]]\nname = "tsa"\nurl = "https://t.example"\ncertificates = "log.toml"\n', "PEM"),
    ],
)
def test_a_file_that_cannot_be_used_stops_the_service(tmp_path, text, says):
    with pytest.raises(Misconfigured, match=says):
        write(tmp_path, text)


def test_all_that_is_wrong_is_told_with_its_line(tmp_path):
    LocalAuthority(tmp_path / "authority")
    text = """# who vouches
policy = '''
witness ours nonsense
quorum ours
'''

[[authority]]
name = "a"
url = "https://a.example/"
certificates = "lost.pem"
"""
    found = problems({FILE: text.encode()}, tmp_path)
    assert [(one.file, one.line) for one in found] == [(FILE, 3), (FILE, 10)]
    text = """[monitors]
stray = "https://m.example/"

[[authority]]
name = "a"
url = "ftp://a.example/"
certificates = "authority/root.pem"
"""
    found = problems({FILE: text.encode()}, tmp_path)
    assert [one.line for one in found] == [6, 2]


def test_two_authorities_of_one_name_are_refused(tmp_path):
    LocalAuthority(tmp_path / "authority")
    one = '[[authority]]\nname = "tsa"\nurl = "https://t.example"\ncertificates = "authority/root.pem"\n'
    with pytest.raises(Misconfigured, match="same name"):
        write(tmp_path, one + one)

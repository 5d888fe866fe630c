import re
import tracemalloc
from pathlib import Path

import pytest

from service.cli.cores import SMALL, cores
from service.cli.reading import FolderSource
from service.errors import Tampered
from service.ledger.replay.judge import Beliefs, at_once, judge
from service.ledger.replay.piece import Piece, check
from service.ledger.standalone import verify as alone
from service.ledger.timestamp import ask, read_trust, verify
from service.ledger.verify import State
from tests.anchor.authority import LocalAuthority
from tests.ledger.commands import Runner
from tests.ledger.corpus import SOUND, flip
from tests.ledger.evidence import INGEST, LOG, ORIGIN
from tests.ledger.grown import SIZE, checkpoint, entries, event, export, genesis

ALONE = Path(__file__).parents[2] / "service" / "ledger" / "standalone" / "verify.py"
BELIEFS = Beliefs(log_vkey=LOG.vkey)


class Held:
    """Files in memory as a source."""

    promised = ("policy.txt", "keys.txt")

    def __init__(self, files):
        self.files = files

    def read(self, path):
        return self.files.get(path)

    def paths(self, below):
        return iter(sorted(path for path in self.files if path.startswith(f"{below}/")))


def verdict(files, beliefs=BELIEFS, submit=at_once):
    return judge(Held(files), beliefs, submit, lambda _done, _total: None)


def lay_out(files, folder):
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def test_a_verdict_says_what_was_checked():
    found = verdict(SOUND)
    assert (found.state, found.exit_code, found.origin, found.size) == (State.GOOD, 0, ORIGIN, SIZE)
    assert found.checked["entries"] == found.checked["signatures on entries"] == SIZE
    assert found.checked["index epochs made again"] == 2
    assert found.checked["hash tiles"] == 4


@pytest.mark.parametrize(
    ("path", "position", "place"),
    [
        ("tile/entries/000", 9000, r"tile/entries/000, byte \d+ \(entry \d+\): "),
        ("tile/0/001", 96, r"tile/0/001, byte 96 \(entry 259\): "),
        ("tile/1/000.p/2", 33, r"tile/1/000.p/2, byte 32: "),
        ("checkpoint", 30, "checkpoint: "),
    ],
)
def test_the_place_of_the_first_wrong_byte_is_named(path, position, place):
    found = verdict({**SOUND, path: flip(SOUND[path], position)})
    assert found.state is State.BAD
    assert re.match(place, found.reason), found.reason


def test_what_is_missing_is_named():
    found = verdict({path: data for path, data in SOUND.items() if path != "tile/0/001"})
    assert (found.state, found.reason) == (State.INCOMPLETE, "tile/0/001 is missing; what is here holds")


def test_progress_is_told_from_nothing_to_everything():
    told = []
    judge(Held(SOUND), BELIEFS, at_once, lambda done, total: told.append((done, total)))
    assert told == [(0, SIZE), (256, SIZE), (512, SIZE), (SIZE, SIZE)]


def long_log(count):
    """A log of full tiles about nobody, cheap to make: the same entry again and again."""
    return export([genesis(), *[event(1, bytes(32), INGEST)] * (count - 1)])


def test_several_cores_reach_the_same_verdict():
    files = long_log((SMALL + 4) * 256)
    with cores(2) as submit:
        assert verdict(files, submit=submit).state is State.GOOD
        path = f"tile/entries/{SMALL + 2:03d}"
        found = verdict({**files, path: flip(files[path], 5000)}, submit=submit)
    assert found.state is State.BAD
    assert found.reason.startswith(path)


def test_memory_does_not_grow_with_the_log(tmp_path):
    peaks = []
    for tiles in (8, 24):
        folder = lay_out(long_log(tiles * 256), tmp_path / str(tiles))
        tracemalloc.start()
        judge(FolderSource(folder), BELIEFS, lambda piece: lambda: _quick(piece), lambda _done, _total: None)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.2


def _quick(piece: Piece):
    """The check without its slow part, the signatures: no key is known, so none is checked."""
    return check(Piece(**{name: getattr(piece, name) for name in Piece.__slots__} | {"keys": None}))


def test_nothing_outside_of_the_folder_is_read(tmp_path):
    folder = lay_out(SOUND, tmp_path / "export")
    (folder / "keys.txt").rename(tmp_path / "keys.txt")
    (folder / "keys.txt").symlink_to(tmp_path / "keys.txt")
    assert FolderSource(folder).read("keys.txt") is None
    assert FolderSource(folder).read("../keys.txt") is None


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return LocalAuthority(tmp_path_factory.mktemp("tsa") / "authority")


def stamped(authority, note, **changes):
    """The sound export with a time stamp over a checkpoint that was published earlier."""
    files = {
        "tsr/0001.checkpoint": note,
        "tsr/0001.tsr": authority.stamp(ask(note).body),
        "tsr/0001.pem": authority.chain,
    }
    return {**SOUND, **files, **changes}


def both(files, tmp_path, *arguments):
    """The exit codes of both verifiers, each as a process."""
    folder = lay_out(files, tmp_path / "export")
    given = [str(folder), "--key", LOG.vkey, *arguments]
    with Runner() as runner:
        return runner.ours(given, tmp_path / "ours"), runner.alone(ALONE, given, tmp_path / "alone")


def test_time_stamps_in_an_export_hold_for_both_verifiers(authority, tmp_path):
    assert both(stamped(authority, checkpoint(entries()[:600])), tmp_path) == (0, 0)


def test_both_verifiers_believe_the_authorities_that_the_auditor_brings(authority, tmp_path):
    stranger = LocalAuthority(tmp_path / "stranger")
    (tmp_path / "theirs.pem").write_bytes(authority.chain)
    (tmp_path / "others.pem").write_bytes(stranger.chain)
    files = stamped(authority, checkpoint(entries()[:600]))
    assert both(files, tmp_path, "--tsa", str(tmp_path / "theirs.pem")) == (0, 0)
    assert both(files, tmp_path, "--tsa", str(tmp_path / "others.pem")) == (1, 1)


def test_both_verifiers_refuse_a_time_stamp_over_something_else(authority, tmp_path):
    sound = checkpoint(entries()[:600])
    changed = stamped(authority, sound, **{"tsr/0001.checkpoint": checkpoint(entries()[:601])})
    assert both(changed, tmp_path / "1") == (1, 1)
    other = [*entries()[:500], event(500, bytes(32), INGEST)]
    assert both(stamped(authority, checkpoint(other)), tmp_path / "2") == (1, 1)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.98])
def test_both_verifiers_refuse_a_damaged_time_stamp(authority, share, tmp_path):
    files = stamped(authority, checkpoint(entries()[:600]))
    reply = files["tsr/0001.tsr"]
    files["tsr/0001.tsr"] = flip(reply, int(len(reply) * share))
    assert both(files, tmp_path) == (1, 1)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_both_verifiers_judge_every_flipped_bit_of_a_time_stamp_alike(authority):
    note = checkpoint(entries()[:600])
    reply, trust = authority.stamp(ask(note).body), read_trust(authority.chain)
    assert held(reply, note, trust)
    for number in range(8 * len(reply)):
        changed = flip(reply, number // 8, 1 << number % 8)
        try:
            alone.check_stamp(changed, note, authority.chain, authority.chain)
            right = True
        except alone.UNREADABLE:
            right = False
        assert held(changed, note, trust) is right, f"bit {number % 8} of byte {number // 8}"


def held(reply, note, trust):
    try:
        verify(reply, note, trust)
    except Tampered:
        return False
    return True


def test_a_time_stamp_without_its_certificates_is_incomplete(authority, tmp_path):
    files = stamped(authority, checkpoint(entries()[:600]))
    del files["tsr/0001.pem"]
    assert both(files, tmp_path) == (2, 2)


def test_the_stand_alone_verifier_is_printed_by_the_command(tmp_path):
    with Runner() as runner:
        assert runner.ours(["--standalone"], tmp_path / "verify.py") == 0
    assert (tmp_path / "verify.py").read_bytes() == ALONE.read_bytes()

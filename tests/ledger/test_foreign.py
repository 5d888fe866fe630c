"""Programs that know nothing of ours read our export, and come to our conclusions.

The checksum database of Go (Debian's packages, ledger/judges/judge.go), tlog-scales (C2SP readers in
Python, ML-DSA lines too), metamorphic-log (Rust), and pymerkle (a Merkle tree of its own).
"""

import base64
import json
import os
import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import metamorphic_log
import pymerkle
import pytest
from tlog_scales.backend import LocalBackend
from tlog_scales.reader import TilesReader
from tlog_scales.signing import Vkey

from service.db import Database, migrate
from service.ledger import merkle
from service.ledger.proof import open_checkpoint, verify_receipt
from service.ledger.tiles import decode_entries, entry_tiles
from tests.ledger.evidence import VECTORS
from tests.ledger.exporting import FULL, VERIFIERS, begin, export, grow
from tests.running import keys, people, start

SOURCE = Path(__file__).parent / "judges" / "judge.go"
GO = shutil.which("go") or "/usr/lib/go-1.19/bin/go"
GOPATH = Path("/usr/share/gocode")
MISSING = "Go's checksum database is not installed (apt-get install golang-go golang-golang-x-mod-dev)"
STOPS = (40, 257, 611)


class Log:
    """An exported log: its folder, its entries, and the checkpoints it had on the way."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.note = (folder / "checkpoint").read_bytes()
        self.head = open_checkpoint(self.note, VERIFIERS)
        self.earlier = sorted(folder.parent.glob("earlier-*"))
        self.entries = [
            entry
            for tile in entry_tiles(self.head.size)
            for entry in decode_entries((folder / tile.path).read_bytes(), tile.width)
        ]
        tree = merkle.Edge()
        self.stored = {}
        for index, entry in enumerate(self.entries):
            self.stored[0, index] = merkle.leaf_hash(entry)
            self.stored.update(((n, i), h) for n, i, h in tree.add(self.stored[0, index]))

    def read(self, wanted):
        return [self.stored[pair] for pair in wanted]

    def inclusion(self, index: int) -> list[bytes]:
        return merkle.inclusion_proof(index, self.head.size, self.read)

    def sample(self) -> list[int]:
        size = self.head.size
        return sorted({*range(0, size, max(1, size // 40)), size - 1})


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Log:
    """A log as the service writes it: people opened, consents given, published on the way."""
    folder = tmp_path_factory.mktemp("real")
    url = f"sqlite:///{folder / 'ledger.db'}"
    migrate(url)
    with closing(Database(url)) as database, start(database) as intake:
        for number, stop in enumerate(STOPS):
            with database.read() as tx:
                missing = (stop - intake.store.size(tx)) // 2
            intake.record(people(missing, f"group{number}"))
            export(database, intake.store, folder / "export")
            shutil.copy(folder / "export" / "checkpoint", folder / f"earlier-{number}")
    return Log(folder / "export")


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Log:
    """The 70,000 leaves of the vectors: tiles of three levels."""
    folder = tmp_path_factory.mktemp("large")
    url = f"sqlite:///{folder / 'ledger.db'}"
    migrate(url)
    with closing(Database(url)) as database:
        store = begin(database)
        grow(database, store, FULL)
        export(database, store, folder / "export")
    return Log(folder / "export")


@pytest.fixture(params=["real", "large"])
def log(request) -> Log:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    """How to ask Go; without it these tests are skipped, in CI they fail."""
    if not Path(GO).exists() or not (GOPATH / "src/golang.org/x/mod/sumdb/tlog").is_dir():
        pytest.fail(MISSING) if os.environ.get("CI") == "true" else pytest.skip(MISSING)
    folder = tmp_path_factory.mktemp("go")
    settings = {
        "GO111MODULE": "off",
        "GOPATH": str(GOPATH),
        "GOCACHE": str(folder / "cache"),
        "CGO_ENABLED": "0",
    }
    built = folder / "judge"
    subprocess.run([GO, "build", "-o", built, SOURCE], env={**os.environ, **settings}, check=True)

    def ask(*arguments, refuses: str | None = None):
        answer = subprocess.run([built, *arguments], capture_output=True, text=True, check=False)
        if refuses is not None:
            assert answer.returncode == 1
            assert refuses in answer.stderr
            return None
        assert answer.returncode == 0, answer.stderr
        return json.loads(answer.stdout)

    return ask


def test_go_reads_a_real_log_every_entry_and_its_signature(judge, real):
    found = judge("log", real.folder, keys().log.vkey, keys().ingest.vkey, *real.earlier)
    size = real.head.size
    assert size > 2 * 256
    assert found == {
        "size": size,
        "entries": size,
        "signatures": size,
        "inclusion": 3,
        "consistency": len(STOPS),
        "other_lines": 1,  # the ML-DSA line, which Go does not know
    }


def test_go_reads_a_log_with_three_levels_of_tiles(judge, large):
    found = judge("log", large.folder, keys().log.vkey, "-")
    assert (found["size"], found["entries"], found["inclusion"]) == (FULL, FULL, 274)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("tile/0/001", "entry 256 is not under its hash"),
        ("tile/1/000.p/2", "inconsistent"),
        ("tile/entries/001", "entry 256 is not under its hash"),
        ("checkpoint", "checkpoint"),
    ],
)
def test_go_refuses_a_log_with_one_changed_byte(judge, real, tmp_path, path, why):
    copy = shutil.copytree(real.folder, tmp_path / "copy")
    data = bytearray((copy / path).read_bytes())
    data[8] ^= 1
    (copy / path).write_bytes(data)
    judge("log", copy, keys().log.vkey, "-", refuses=why)


def test_go_agrees_with_every_proof_of_the_vectors_good_and_bad(judge, tmp_path):
    good = [_inclusion(one) for one in VECTORS["inclusion"]]
    good += [
        _consistency(one) for one in VECTORS["consistency"] if one["size1"]
    ]  # Go refuses to begin from nothing
    bad = [
        _inclusion(one) if one["kind"] == "inclusion" else _consistency(one)
        for one in VECTORS["negative"]
        if all(len(value) == 64 for value in _hashes(one))  # another length has no name in Go
    ]
    asked = tmp_path / "proofs.json"
    asked.write_text(json.dumps([*good, *bad]))
    assert judge("proofs", asked) == [True] * len(good) + [False] * len(bad)
    assert len(bad) > 15


def _inclusion(one):
    told = {"index": one["index"], "new": one["size"], "leaf": one["leaf_hash"], "to": one["root"]}
    return _asked("inclusion", proof=one["proof"], **told)


def _consistency(one):
    told = {"old": one["size1"], "new": one["size2"], "from": one["root1"], "to": one["root2"]}
    return _asked("consistency", proof=one["proof"], **told)


def _asked(kind, **told):
    """A question to the judge, its hashes in base64 as Go writes them."""
    return {"kind": kind, **{name: _base64(value) for name, value in told.items()}}


def _base64(value):
    if isinstance(value, list):
        return [_base64(one) for one in value]
    return base64.b64encode(bytes.fromhex(value)).decode() if isinstance(value, str) else value


def _hashes(one):
    return [*one["proof"], *(one[name] for name in ("leaf_hash", "root", "root1", "root2") if name in one)]


def test_tlog_scales_verifies_both_signatures_of_the_log(log):
    head = TilesReader(LocalBackend(log.folder)).get_checkpoint()
    assert (head.origin, head.size, head.root_hash) == (log.head.origin, log.head.size, log.head.root)
    for key in (keys().log, keys().log_pq):
        head.verify(Vkey.from_string(key.vkey))
        with pytest.raises(Exception, match=r".*"):  # it raises what its library raises
            type(head)(head.origin, head.size + 1, head.root_hash, head.signatures).verify(
                Vkey.from_string(key.vkey)
            )


def test_tlog_scales_rebuilds_root_entries_and_proofs_from_the_folder(log):
    reader = TilesReader(LocalBackend(log.folder))
    head = reader.get_checkpoint()
    assert reader.calculate_root_hash() == log.head.root
    for index in log.sample():
        assert reader.get_entry(index) == log.entries[index]
        proof = reader.get_inclusion_proof(index, head.size)
        proof.check(merkle.leaf_hash(log.entries[index]), log.head.root)
        assert proof.node_hashes == log.inclusion(index)


def test_tlog_scales_finds_each_earlier_checkpoint_in_the_log(real):
    reader = TilesReader(LocalBackend(real.folder))
    head = reader.get_checkpoint()
    for path in real.earlier:
        earlier = open_checkpoint(path.read_bytes(), VERIFIERS)
        reader.get_consistency_proof(earlier.size, head.size).check(earlier.root, head.root_hash)


def test_metamorphic_log_verifies_checkpoints_inclusion_and_consistency(real):
    note, vkeys = real.note.decode(), [keys().log.vkey]
    head = metamorphic_log.checkpoint_verify(note, vkeys)
    assert (head.origin, head.size, head.root) == (real.head.origin, real.head.size, real.head.root)
    for index in real.sample():
        leaf = merkle.leaf_hash(real.entries[index])
        metamorphic_log.checkpoint_verify_inclusion(note, vkeys, index, leaf, real.inclusion(index))
        with pytest.raises(metamorphic_log.VerifyError):
            metamorphic_log.checkpoint_verify_inclusion(note, vkeys, index, leaf[::-1], real.inclusion(index))
    for path in real.earlier[:-1]:
        earlier = open_checkpoint(path.read_bytes(), VERIFIERS)
        proof = merkle.consistency_proof(earlier.size, real.head.size, real.read)
        metamorphic_log.checkpoint_verify_consistency(path.read_text(), note, vkeys, proof)


def test_metamorphic_log_verifies_the_signature_on_every_entry(real):
    counted = [
        metamorphic_log.verify_signed_note(entry.decode(), [keys().ingest.vkey]) for entry in real.entries
    ]
    assert counted == [1] * real.head.size


def test_pymerkle_grows_the_same_tree_with_the_same_proofs(real):
    tree = pymerkle.InmemoryTree()
    for entry in real.entries:
        tree.append_entry(entry)
    assert tree.get_root() == real.head.root
    for index in real.sample():
        path = tree.prove_inclusion(index + 1, real.head.size).path
        assert path == [merkle.leaf_hash(real.entries[index]), *real.inclusion(index)]
    for path in real.earlier:
        earlier = open_checkpoint(path.read_bytes(), VERIFIERS)
        assert tree.get_root(earlier.size) == earlier.root


def test_a_receipt_of_ours_is_one_for_others_too(judge, tmp_path, sqlite_url):
    with closing(Database(sqlite_url)) as database, start(database) as intake:
        receipts = [verify_receipt(r.receipt(), VERIFIERS) for r in intake.record(people(20))]
    asked = tmp_path / "proofs.json"
    asked.write_text(json.dumps([_inclusion(_as_vector(one)) for one in receipts]))
    assert judge("proofs", asked) == [True] * 20


def _as_vector(one):
    return {
        "index": one.receipt.index,
        "size": one.checkpoint.size,
        "leaf_hash": merkle.leaf_hash(one.receipt.entry).hex(),
        "root": one.checkpoint.root.hex(),
        "proof": [node.hex() for node in one.receipt.proof],
    }

"""A bundle rests on a checkpoint that others attested, and carries what brackets the moment asked about."""

from contextlib import closing
from datetime import timedelta

import pytest

from service.anchor.anchors import Anchors
from service.anchor.attestation import Attestation
from service.db import Database, migrate
from service.intake.epoch import epoch
from service.ledger import archive, members, standalone
from service.reports.evidence import bundle
from tests.anchor.authority import LocalAuthority, authority_server
from tests.anchor.conftest import policy_of
from tests.anchor.witness import Witness, witness_server
from tests.intake.forgotten import ANA, BOB, Clock, House, consent
from tests.ledger.commands import Runner
from tests.ledger.test_replay_of_a_ledger import publisher
from tests.running import ORIGIN


@pytest.fixture
def attested(tmp_path):
    """A ledger that a witness and an authority attest: record, publish, ask; and what auditors believe."""
    clock, url = Clock(), f"sqlite:///{tmp_path / 'ledger.db'}"
    local = LocalAuthority(tmp_path / "authority")
    migrate(url)
    with (
        closing(Database(url)) as db,
        closing(Database(f"sqlite:///{tmp_path / 'witness.db'}")) as memory,
        House(folder=tmp_path, clock=clock).open(db) as intake,
        authority_server(local) as tsa,
    ):
        witness = Witness("w", memory, {ORIGIN: intake.keys.log.verifier}, lambda: clock().timestamp())
        with witness_server(witness) as address:
            party = witness.party(address)
            found = Attestation(policy=policy_of(party, quorum="w"), authorities=(local.named("tsa", tsa),))
            anchors = Anchors(db, intake.store, intake.keys.log_verifiers, found, now=clock)
            (tmp_path / "tsa.pem").write_bytes(local.chain)
            (tmp_path / "policy").write_text(
                f"log {intake.keys.log.vkey}\nwitness w {party.vkey}\nquorum w\n"
            )

            def attest():
                publisher(intake).publish()
                assert anchors.attend()
                clock.time += timedelta(minutes=10)
                return clock.time - timedelta(minutes=5)

            yield intake, attest


@pytest.fixture
def judge(tmp_path, attested):
    (tmp_path / "verify.py").write_bytes(standalone.source())

    def both(data, *more):
        (tmp_path / "p.zip").write_bytes(data)
        given = [str(tmp_path / "p.zip"), "--key", attested[0].keys.log.vkey, *map(str, more)]
        with Runner() as runner:
            ours = runner.ours(given, tmp_path / "ours")
            alone = runner.alone(tmp_path / "verify.py", given, tmp_path / "alone")
        return (ours, alone), (tmp_path / "ours").read_text() + (tmp_path / "alone").read_text()

    return both


def lived(intake, attest, *addresses):
    """Attest a log that knows ANA, and again with others; return a moment between."""
    consent(intake, ANA)
    epoch(intake)
    moment = attest()
    consent(intake, BOB)
    attest()
    return moment


def signed_again(intake, data, **changes):
    files = {**archive.unpack(data), **changes}
    kept = {name: content for name, content in files.items() if name != "manifest"}
    manifest = intake.keys.log.sign(members.manifest_text(ORIGIN, kept))
    return archive.pack({**kept, "manifest": manifest})


def test_a_bundle_has_the_witnesses_and_time_stamps_that_an_auditor_asks_for(attested, judge, tmp_path):
    intake, attest = attested
    moment = lived(intake, attest)
    data = bundle(intake, ANA, at=intake.now(), as_of=moment)
    assert {"bracket/before.checkpoint", "bracket/after.consistency"} <= archive.unpack(data).keys()
    codes, said = judge(data, "--policy", tmp_path / "policy", "--tsa", tmp_path / "tsa.pem")
    assert codes == (0, 0), said
    assert said.count("the moment: ") == 2
    assert judge(data)[0] == (0, 0)


def test_what_nobody_attested_yet_is_good_by_the_key_and_incomplete_by_a_policy(attested, judge, tmp_path):
    intake, attest = attested
    lived(intake, attest)
    consent(intake, ANA)
    data = bundle(intake, ANA, at=intake.now())
    assert judge(data)[0] == (0, 0)
    assert judge(data, "--policy", tmp_path / "policy")[0] == (2, 2)


def test_an_anchor_that_was_changed_or_left_out_is_found_by_both(attested, judge, tmp_path):
    intake, attest = attested
    moment = lived(intake, attest)
    data = bundle(intake, ANA, at=intake.now(), as_of=moment)
    files = archive.unpack(data)
    path = files["bracket/before.consistency"]
    assert path
    stamp = next(name for name in files if name.endswith(".tsr"))
    for changes in (
        {"bracket/before.consistency": path[45:]},
        {"bracket/before.consistency": path + path[:45]},
        {"bracket/before.checkpoint": files["bracket/after.checkpoint"]},
        {stamp: files[stamp][:-30] + bytes(30)},
        {stamp.replace(".tsr", ".checkpoint"): files["bracket/after.checkpoint"]},
        {"bracket/other.checkpoint": b""},
    ):
        codes, said = judge(signed_again(intake, data, **changes))
        assert codes == (1, 1), (list(changes), said)
    lacking = {name: content for name, content in files.items() if name != "bracket/after.checkpoint"}
    assert judge(archive.pack(lacking))[0] == (2, 2)
    line = files["bracket/after.checkpoint"]
    forged = line[:-20] + (b"A" if line[-20:-19] != b"A" else b"B") + line[-19:]
    changed = signed_again(intake, data, **{"bracket/after.checkpoint": forged})
    assert judge(changed, "--policy", tmp_path / "policy")[0] == (1, 1)

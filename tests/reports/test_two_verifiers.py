"""Both verifiers, as commands, on bundles made by a running ledger: they agree, and what is sound is good."""

import base64
from contextlib import closing
from datetime import UTC, datetime

import pytest

from service.db import Database, migrate
from service.intake.epoch import epoch
from service.intake.rotation import end_overlap, rotate_log
from service.ledger import standalone
from service.reports.evidence import bundle
from tests.intake.forgotten import Clock, House, consent
from tests.ledger.commands import Runner
from tests.running import claim, keys, withdrawal

ANA = "ana@example.org"
AT = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def runner():
    with Runner() as runner:
        yield runner


@pytest.fixture
def judge(runner, tmp_path):
    """Hand a bundle to both programs; return both exit codes and all that they say."""
    (tmp_path / "verify.py").write_bytes(standalone.source())
    (tmp_path / "directory").write_bytes(base64.b64encode(keys().directory))

    def both(data, *more, key=None):
        (tmp_path / "p.zip").write_bytes(data)
        given = [str(tmp_path / "p.zip"), "--key", key or keys().log.vkey, *map(str, more)]
        ours = runner.ours(given, tmp_path / "ours")
        alone = runner.alone(tmp_path / "verify.py", given, tmp_path / "alone")
        return (ours, alone), (tmp_path / "ours").read_text() + (tmp_path / "alone").read_text()

    return both


@pytest.fixture
def ana(intake):
    intake.record([claim(ANA), claim("bo@example.org"), withdrawal(ANA)])
    return intake


@pytest.mark.parametrize("address", [ANA, "nobody@example.org"])
@pytest.mark.parametrize("held", [True, False], ids=["with directory key", "without"])
def test_both_call_a_real_bundle_good(ana, judge, tmp_path, address, held):
    more = ["--directory-key", tmp_path / "directory"] if held else []
    codes, said = judge(bundle(ana, address, at=AT), *more)
    assert codes == (0, 0), said
    disclosed, said = judge(bundle(ana, address, at=AT, disclose_key=True))
    assert disclosed == (0, 0), said


def test_both_follow_a_key_that_was_handed_over(judge, tmp_path):
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    migrate(url)
    with closing(Database(url)) as db, House(folder=tmp_path, clock=Clock()).open(db) as intake:
        first = intake.keys.log.vkey
        consent(intake, ANA)
        epoch(intake)
        rotate_log(intake)
        overlapping = bundle(intake, ANA, at=AT)
        end_overlap(intake)
        after, last = bundle(intake, ANA, at=AT), intake.keys.log.vkey
    for data in (overlapping, after):
        for key in (first, last):
            codes, said = judge(data, key=key)
            assert codes == (0, 0), said


def test_an_old_bundle_is_good_where_both_keys_are_given(judge, tmp_path):
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    migrate(url)
    with closing(Database(url)) as db, House(folder=tmp_path, clock=Clock()).open(db) as intake:
        consent(intake, ANA)
        old, first = bundle(intake, ANA, at=AT), intake.keys.log.vkey
        rotate_log(intake)
        end_overlap(intake)
        last = intake.keys.log.vkey
    assert judge(old, key=last)[0] == (1, 1)
    (tmp_path / "first").write_text(f"{first}\n")
    codes, said = judge(old, "--key", tmp_path / "first", key=last)
    assert codes == (0, 0), said


def test_both_say_where_completeness_is_not_shown_and_can_be_told_to_require_it(ana, judge, tmp_path):
    data = bundle(ana, ANA, at=AT)
    codes, said = judge(data)
    assert (codes, said.count("good (completeness not shown): ")) == ((0, 0), 2)
    assert judge(data, "--require-complete")[0] == (2, 2)
    held = ["--directory-key", tmp_path / "directory"]
    codes, said = judge(data, "--require-complete", *held)
    assert (codes, "not shown" in said) == ((0, 0), False), said


def test_both_tell_a_wrong_call_from_an_incomplete_bundle(ana, judge, tmp_path):
    for more in (["--since", tmp_path / "absent"], ["--nonsense"], ["--policy", tmp_path / "absent"]):
        codes, said = judge(b"", *more)
        assert codes == (64, 64), said


def test_both_compare_a_receipt_of_an_entry_that_the_bundle_holds(intake, judge, tmp_path):
    intake.record([claim("bo@example.org")])
    (kept,) = intake.record([claim(ANA)])
    intake.record([claim("cy@example.org"), claim("di@example.org")])
    epoch(intake)
    (tmp_path / "p.tlog-proof").write_bytes(kept.receipt())
    codes, said = judge(bundle(intake, ANA, at=AT), "--since", tmp_path / "p.tlog-proof")
    assert codes == (0, 0), said

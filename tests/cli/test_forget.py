"""Erasure, rotation and freezing from the command line."""

import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from service import app, settings
from service.cli import group
from service.db import payload, subject
from service.errors import KeptOut, Malformed, Unsafe
from service.ledger import anchors
from service.ledger.handover import final_checkpoint, lost_checkpoint
from service.ledger.note import Verifier
from service.ledger.proof import open_checkpoint
from tests.anchor.authority import LocalAuthority, authority_server
from tests.running import claim

EMAIL = "ana@example.org"


@pytest.fixture
def chosen(tmp_path, monkeypatch):
    monkeypatch.setenv("CONSENT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("CONSENT_DATABASE_URL", f"sqlite:///{tmp_path / 'ledger.db'}")
    with app.running(settings.load()) as parts:
        parts.intake.record([claim(EMAIL)])
    return tmp_path


def run(*arguments: str) -> str:
    result = CliRunner().invoke(group, arguments)
    if result.exception is not None:
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def public_key() -> str:
    return run("key", "show").strip()


def test_an_erasure_writes_a_certificate_that_verifies_without_the_ledger(chosen):
    told = run("erase", EMAIL, "--reason", "request", "-o", str(chosen / "certificate"))
    assert "says so" in told
    assert EMAIL not in told
    assert run("verify-erasure", str(chosen / "certificate"), "--key", public_key()).startswith("good")
    (chosen / "log.vkey").write_text(public_key() + "\n")
    named = run("verify-erasure", str(chosen / "certificate"), "--key", str(chosen / "log.vkey"))
    assert named.startswith("good")
    with pytest.raises(KeptOut):
        run("erase", EMAIL, "--reason", "request", "-o", str(chosen / "second"))
    index = told.split("entry ")[1].split()[0]
    run("erase", "--again", index, "-o", str(chosen / "again"))
    assert (chosen / "again").read_bytes() == (chosen / "certificate").read_bytes()
    with pytest.raises(Malformed):
        run("erase", "-o", str(chosen / "third"))


def test_keys_are_rotated_one_command_each_and_everything_verifies(chosen):
    first = public_key()
    run("bundle", EMAIL, "--purpose", "file 7", "-o", str(chosen / "before.zip"))
    for command in (
        ("key", "rotate", "ingest"),
        ("key", "rotate", "log"),
        ("key", "rotate", "log", "--end-overlap"),
        ("key", "rotate", "kek"),
        ("key", "rotate", "kek", "--forget-former"),
        ("rekey-directory",),
    ):
        run(*command)
    assert public_key() != first
    run("bundle", EMAIL, "--purpose", "file 7", "-o", str(chosen / "after.zip"))
    for name in ("before.zip", "after.zip"):
        assert "good" in run("verify", str(chosen / name), "--key", first)


def test_an_export_holds_for_who_has_only_the_first_key_during_an_overlap_and_after_it(chosen):
    first = public_key()
    for number, command in enumerate([("key", "rotate", "log"), ("key", "rotate", "log", "--end-overlap")]):
        run(*command)
        folder = str(chosen / f"export{number}")
        run("export", folder)
        for key in (first, public_key()):
            assert run("verify", folder, "--key", key, "--processes", "1").startswith("good")
            alone = [sys.executable, "-I", f"{folder}/verify.py", folder, "--key", key]
            assert subprocess.run(alone, capture_output=True, check=True).stdout.startswith(b"good")


def test_a_log_is_published_and_stamped_before_its_key_changes(chosen, tmp_path, monkeypatch):
    authority = LocalAuthority(tmp_path / "authority")
    policies = tmp_path / "policies"
    shutil.copytree(settings.HERE / "policies", policies)
    (policies / "root.pem").write_bytes(authority.chain)
    monkeypatch.setenv("CONSENT_POLICIES_DIR", str(policies))
    with authority_server(authority) as url:
        lines = f'[[authority]]\nname = "tsa"\nurl = "{url}"\ncertificates = "root.pem"\n'
        (policies / "log.toml").write_text(lines)
        old = Verifier.from_vkey(public_key())
        run("key", "rotate", "log")
    with app.running(settings.load()) as parts, parts.db.read() as tx:
        (stamp,) = anchors.time_stamps(tx)
        assert stamp.size == parts.intake.store.size(tx) - 1, (
            "all but the entry that says that the key changed"
        )
    assert open_checkpoint(stamp.note, [old]).size == stamp.size
    assert authority.judge(stamp.reply, stamp.note)


def test_a_frozen_log_gives_its_final_checkpoint(chosen):
    final = run("log", "freeze", "--yes", "-o", str(chosen / "final"))
    assert (chosen / "final").read_text() in final
    with pytest.raises(Malformed, match="frozen already"):
        run("log", "freeze", "--yes")


def test_a_person_is_erased_from_a_frozen_log_whose_proofs_go_on_verifying(chosen):
    run("log", "freeze", "--yes")
    run("export", str(chosen / "before"))
    told = run("erase", EMAIL, "--reason", "request", "-o", str(chosen / "certificate"))
    assert "erase the person in the successor as well" in told
    assert not (chosen / "certificate").exists()
    with pytest.raises(KeptOut):
        run("erase", EMAIL, "--reason", "request", "-o", str(chosen / "certificate"))
    with app.running(settings.load()) as parts, parts.db.read() as tx:
        assert tx.scalars(select(subject.c.sub)).all() == []
        assert tx.scalars(select(payload.c.idx)).all() == []
        assert len(parts.intake.erasures.read().persons) == 1
    assert "good" in run("verify", str(chosen / "before"), "--key", public_key(), "--processes", "1")


def test_a_frozen_log_goes_on_in_its_successor(chosen, monkeypatch):
    run("log", "freeze", "--yes")
    successor = {
        "CONSENT_ORIGIN": "ledger.localhost/demo-2",
        "CONSENT_DATABASE_URL": f"sqlite:///{chosen / 'second.db'}",
        "CONSENT_STATE_DIR": str(chosen / "second"),
    }
    options = [f"--{name.removeprefix('CONSENT_').lower().replace('_', '-')}" for name in successor]
    arguments = [part for pair in zip(options, successor.values(), strict=True) for part in pair]
    assert "1 persons were carried over" in run("log", "continue", *arguments)
    for name, value in successor.items():
        monkeypatch.setenv(name, value)
    run("bundle", EMAIL, "--purpose", "file 7", "-o", str(chosen / "second.zip"))
    assert "good" in run("verify", str(chosen / "second.zip"), "--key", public_key())


def test_a_log_whose_newest_database_was_lost_goes_on_in_a_successor_that_says_so(chosen, monkeypatch):
    first, database = public_key(), chosen / "ledger.db"
    shutil.copyfile(database, chosen / "yesterday.db")
    with app.running(settings.load()) as parts:
        parts.intake.record([claim("bob@example.org")])
        with parts.db.read() as tx:
            newest = parts.intake.store.head(tx)
    shutil.copyfile(chosen / "yesterday.db", database)
    arguments = [
        *("--origin", "ledger.localhost/demo-2", "--database-url", f"sqlite:///{chosen / 'second.db'}"),
        *("--state-dir", str(chosen / "second")),
    ]
    with pytest.raises(Unsafe, match="continued with --lost"):
        run("log", "continue", *arguments)
    told = run("log", "continue", "--lost", *arguments)
    assert "1 persons were carried over" in told
    assert "the fence knows 5 entries, here are 3" in told
    with app.running(settings.load()) as parts, parts.db.read() as tx:
        assert (parts.intake.trouble is not None, parts.intake.store.size(tx)) == (True, 3)
        restored = parts.intake.store.head(tx)
    successor = ("ORIGIN", "DATABASE_URL", "STATE_DIR")
    for name, value in zip(successor, arguments[1::2], strict=True):
        monkeypatch.setenv(f"CONSENT_{name}", value)
    keys = [Verifier.from_vkey(first)]
    with app.running(settings.load()) as parts, parts.db.read() as tx:
        assert parts.intake.trouble is None
        genesis = parts.intake.store.entries(tx, [0])[0]
    assert final_checkpoint(genesis, keys) == open_checkpoint(restored, keys)
    assert lost_checkpoint(genesis, keys) == open_checkpoint(newest, keys)
    folder = str(chosen / "export")
    run("export", folder)
    assert run("verify", folder, "--key", public_key(), "--processes", "1").startswith("good")
    alone = [sys.executable, "-I", f"{folder}/verify.py", folder, "--key", public_key()]
    assert subprocess.run(alone, capture_output=True, check=True).stdout.startswith(b"good")
    assert "clean" in run("scrub")


def test_a_log_that_lost_nothing_is_not_continued_as_lost(chosen):
    arguments = ["--origin", "ledger.localhost/demo-2", "--database-url", f"sqlite:///{chosen / 'second.db'}"]
    with pytest.raises(Unsafe, match="freeze it first instead"):
        run("log", "continue", "--lost", *arguments, "--state-dir", str(chosen / "second"))

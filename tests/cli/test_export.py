"""`consent-ledger export` as an operator runs it."""

import os
import shutil
import subprocess
import sys
import time
from contextlib import closing

import pytest
from click.testing import CliRunner

from service.cli.export import export
from service.db import Database
from service.ledger import standalone
from service.ledger.cosignature import read_vkey
from service.ledger.proof import open_checkpoint
from service.settings import HERE, load
from service.vault.keys import open_keys
from tests.anchor.witness import Witness, witness_server
from tests.ledger.commands import Runner
from tests.running import ORIGIN


@pytest.fixture
def run(tmp_path):
    """How to call a command of a service that keeps all it has in the test's folder."""
    told = {name: value for name, value in os.environ.items() if not name.startswith("CONSENT_")}
    told["CONSENT_STATE_DIR"] = str(tmp_path / "state")
    told["CONSENT_DATABASE_URL"] = f"sqlite:///{tmp_path / 'state' / 'ledger.db'}"

    def call(*arguments):
        command = [sys.executable, "-m", "service", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, env=told, cwd=HERE, check=False, timeout=60
        )

    return call


def test_a_folder_is_filled_once_and_then_only_what_is_new_is_added(run, tmp_path):
    folder = tmp_path / "export"
    first = run("export", folder)
    assert first.returncode == 0, first.stderr
    assert first.stdout == f"1 entries in {folder}, 1 of them new; 7 files written\n"
    assert "exported 100 %: 1\n" in first.stderr
    again = run("export", folder)
    assert again.stdout == f"1 entries in {folder}, 0 of them new; 0 files written\n"
    keys = [
        line.split()[1]
        for line in (folder / "keys.txt").read_text().splitlines()
        if line.startswith("checkpoint")
    ]
    for key in keys:
        assert open_checkpoint((folder / "checkpoint").read_bytes(), [read_vkey(key)]).size == 1


def test_a_folder_that_was_tampered_with_ends_in_exit_code_6(run, tmp_path):
    folder = tmp_path / "export"
    run("export", folder)
    (folder / "tile/0/000.p/1").write_bytes(b"short")
    refused = run("export", folder)
    assert refused.returncode == 6
    assert "tile/0/000.p/1 has 5 bytes" in refused.stderr


@pytest.fixture
def watched(tmp_path):
    """How to call a command of a service whose policy asks for one witness, which runs or is away."""
    settings = load(
        database_url=f"sqlite:///{tmp_path / 'ledger.db'}", state_dir=tmp_path / "state", origin=ORIGIN
    )
    with closing(Database(f"sqlite:///{tmp_path / 'witness.db'}")) as db:
        witness = Witness("w.example", db, {ORIGIN: open_keys(settings).log.verifier}, time.time)
        with witness_server(witness) as url:

            def call(name, *arguments, at=url):
                shutil.rmtree(tmp_path / "policies", ignore_errors=True)
                shutil.copytree(HERE / "policies", tmp_path / "policies")
                lines = f"witness w {witness.vkey} {at}\nquorum w\n"
                (tmp_path / "policies" / "log.toml").write_text(f"policy = '''\n{lines}'''\n")
                told = {
                    "CONSENT_DATABASE_URL": settings.database_url,
                    "CONSENT_STATE_DIR": str(tmp_path / "state"),
                    "CONSENT_POLICIES_DIR": str(tmp_path / "policies"),
                    "CONSENT_ORIGIN": ORIGIN,
                }
                return CliRunner(env=told).invoke(name, [str(one) for one in arguments])

            yield call, open_keys(settings).log.vkey


def test_an_export_of_a_witnessed_log_has_its_cosignatures_at_once(watched, tmp_path):
    call, key = watched
    done = call(export, tmp_path / "out")
    assert (done.exit_code, "warning" in done.output) == (0, False), done.output
    (tmp_path / "verify.py").write_bytes(standalone.source())
    given = [str(tmp_path / "out"), "--key", key]
    with Runner() as runner:
        ours = runner.ours(given, tmp_path / "ours")
        alone = runner.alone(tmp_path / "verify.py", given, tmp_path / "alone")
    assert (ours, alone) == (0, 0), (tmp_path / "ours").read_text() + (tmp_path / "alone").read_text()


def test_an_export_while_the_witness_is_away_says_so_and_succeeds(watched, tmp_path):
    call, _key = watched
    done = call(export, tmp_path / "out", at="http://127.0.0.1:9/w")
    assert done.exit_code == 0
    assert "not enough witnesses have cosigned this checkpoint yet" in done.output

"""`consent-ledger export` as an operator runs it."""

import os
import subprocess
import sys

import pytest

from service.ledger.cosignature import read_vkey
from service.ledger.proof import open_checkpoint
from service.settings import HERE


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

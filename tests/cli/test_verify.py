"""The command that an auditor runs far away, with the log's public key and perhaps the directory's."""

import base64
from dataclasses import replace

import pytest
from click.testing import CliRunner

from service.cli.verify import verify
from service.errors import Malformed
from service.ledger import bundle
from tests.ledger.evidence import DIRECTORY_KEY, LOG, complete


@pytest.fixture
def file(tmp_path):
    """A bundle that shows its completeness and does not hold the directory key."""
    whole = complete()
    assert whole.completeness is not None
    closed = replace(whole, completeness=replace(whole.completeness, directory_key=None))
    path = tmp_path / "bundle.zip"
    path.write_bytes(bundle.write(closed, LOG))
    return path


def run(*arguments):
    return CliRunner().invoke(verify, [str(one) for one in arguments])


def test_without_the_directory_key_it_says_what_is_not_shown(file):
    found = run(file, "--key", LOG.vkey)
    assert found.exit_code == 0
    assert "complete for the person shown" in found.output
    assert "Not shown: completeness for the address" in found.output


def test_with_the_auditors_directory_key_it_says_complete(file, tmp_path):
    held = tmp_path / "directory.key"
    held.write_bytes(base64.b64encode(DIRECTORY_KEY) + b"\n")
    found = run(file, "--key", LOG.vkey, "--directory-key", held)
    assert found.exit_code == 0
    assert "complete: all 1 entries about this address" in found.output


def test_another_directory_key_makes_it_bad(file, tmp_path):
    other = tmp_path / "directory.key"
    other.write_bytes(base64.b64encode(bytes([7]) * 32))
    found = run(file, "--key", LOG.vkey, "--directory-key", other)
    assert found.exit_code == 1
    assert "the directory key is not the one that the log committed to" in found.output


@pytest.mark.parametrize("content", [b"", b"not base64", base64.b64encode(bytes(31))])
def test_a_file_that_holds_no_directory_key_is_refused(file, tmp_path, content):
    broken = tmp_path / "directory.key"
    broken.write_bytes(content)
    found = run(file, "--key", LOG.vkey, "--directory-key", broken)
    assert isinstance(found.exception, Malformed)


def test_a_file_that_is_missing_was_not_checked_and_is_not_called_incomplete():
    found = run("missing.zip", "--key", LOG.vkey)
    assert found.exit_code == 64
    assert "nothing was checked" in found.output
    assert "incomplete" not in found.output


@pytest.mark.parametrize("key", ["garbage", "gar+ba+ge", "a+00000000+AAAA"])
def test_a_key_that_is_none_is_told_to_be_none(file, key):
    found = run(file, "--key", key)
    assert found.exit_code == 64
    assert "no public key" in found.output


def test_a_file_that_holds_no_public_key_is_told_to_hold_none(file, tmp_path):
    (tmp_path / "log.vkey").write_text("garbage")
    found = run(file, "--key", tmp_path / "log.vkey")
    assert found.exit_code == 64
    assert "no public key" in found.output

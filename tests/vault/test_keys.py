"""The key files: created once, private, whole, and belonging together."""

import base64
import multiprocessing
import stat
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from service import settings
from service.errors import Misconfigured
from service.settings import Settings
from service.vault.keys import create_keys, open_keys

POSTGRESQL = "postgresql+psycopg://ledger@db/ledger"


def told(folder: Path, **changes: object) -> Settings:
    return settings.load(secrets_dir=folder / "none", state_dir=folder / "state", **changes)


@pytest.fixture
def ours(tmp_path) -> Settings:
    return told(tmp_path)


def test_the_first_run_creates_private_files_and_the_second_opens_them(ours):
    first, second = open_keys(ours), open_keys(ours)
    assert first.log.vkey == second.log.vkey
    assert (first.kek, first.directory, first.token) == (second.kek, second.directory, second.token)
    for path in (ours.kek_path, ours.keys_path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(ours.state_dir.stat().st_mode) == 0o700


def test_two_installations_never_share_a_key(tmp_path):
    first, second = open_keys(told(tmp_path / "a")), open_keys(told(tmp_path / "b"))
    for name in ("kek", "directory", "dedupe", "token", "mirror"):
        assert getattr(first, name) != getattr(second, name)
    assert first.log.vkey != second.log.vkey


def test_no_key_is_like_another(ours):
    keys = open_keys(ours)
    secrets = {
        keys.kek,
        keys.directory,
        keys.dedupe,
        keys.token,
        keys.mirror,
        keys.log.public,
        keys.ingest.public,
    }
    assert len(secrets) == 7


def test_neither_file_tells_a_key_by_itself(ours):
    keys = open_keys(ours)
    stored = ours.keys_path.read_bytes() + ours.kek_path.read_bytes()
    for name in ("directory", "dedupe", "token", "mirror"):
        value = getattr(keys, name)
        assert value not in stored
        assert base64.b64encode(value) not in stored


def test_keys_are_not_printed(ours):
    keys = open_keys(ours)
    shown = repr(keys)
    assert not any(
        part in shown for part in (keys.kek.hex(), repr(keys.kek), base64.b64encode(keys.kek).decode())
    )


@pytest.mark.parametrize("name", ["kek_path", "keys_path"])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_can_read_or_write_is_refused_with_the_command_that_helps(ours, name, mode):
    open_keys(ours)
    path = getattr(ours, name)
    path.chmod(mode)
    with pytest.raises(Misconfigured, match=f"chmod 600 {path}"):
        open_keys(ours)


def test_another_key_encryption_key_is_refused(ours, tmp_path):
    open_keys(ours)
    other = told(tmp_path / "other")
    open_keys(other)
    with pytest.raises(Misconfigured, match="does not open with this key-encryption key"):
        open_keys(told(tmp_path, kek_file=other.kek_path))


@pytest.mark.parametrize("spoiled", [b"", b"short", base64.b64encode(bytes(31)), b"\xff\xfe", b"=" * 44])
def test_a_damaged_key_encryption_key_is_refused(ours, spoiled):
    open_keys(ours)
    ours.kek_path.write_bytes(spoiled)
    with pytest.raises(Misconfigured, match="32 bytes as base64"):
        open_keys(ours)


def test_a_damaged_keys_file_is_refused_at_every_byte(ours):
    open_keys(ours)
    whole = ours.keys_path.read_bytes()
    for position in range(0, len(whole), 7):
        spoiled = bytearray(whole)
        spoiled[position] ^= 1
        ours.keys_path.write_bytes(spoiled)
        with pytest.raises(Misconfigured, match="does not open"):
            open_keys(ours)
    ours.keys_path.write_bytes(whole[:20])
    with pytest.raises(Misconfigured, match="does not open"):
        open_keys(ours)


@pytest.mark.parametrize("opened", [open_keys, create_keys])
def test_a_missing_key_encryption_key_is_never_replaced_while_keys_are_sealed_under_it(ours, opened):
    open_keys(ours)
    ours.kek_path.unlink()
    with pytest.raises(Misconfigured, match="put the file back"):
        opened(ours)
    assert not ours.kek_path.exists()


def test_a_missing_file_is_not_created_in_production(tmp_path):
    production = told(tmp_path, database_url=POSTGRESQL)
    with pytest.raises(Misconfigured, match="CONSENT_KEK_FILE"):
        open_keys(production)
    create_keys(production)
    production.keys_path.unlink()
    with pytest.raises(Misconfigured, match="CONSENT_KEYS_FILE"):
        open_keys(production)


def test_keys_can_be_created_once_for_production_and_stay_as_they_are(tmp_path):
    production = told(tmp_path, database_url=POSTGRESQL)
    create_keys(production)
    before = production.kek_path.read_bytes(), production.keys_path.read_bytes()
    create_keys(production)
    assert (production.kek_path.read_bytes(), production.keys_path.read_bytes()) == before
    assert open_keys(production).log.name == production.origin


def test_keys_of_another_log_are_refused_with_both_names(ours, tmp_path):
    open_keys(ours)
    with pytest.raises(Misconfigured, match=rf"{ours.origin}, not to b\.example/log"):
        open_keys(told(tmp_path, origin="b.example/log"))


def test_a_path_that_is_no_file_is_refused(ours):
    ours.kek_path.mkdir(parents=True, mode=0o700)
    with pytest.raises(Misconfigured, match="cannot be read"):
        open_keys(ours)


def test_the_name_of_the_key_encryption_key_tells_nothing_about_it(ours):
    keys = open_keys(ours)
    assert len(keys.kek_id) == 16
    assert keys.kek_id not in keys.kek.hex()


def name_of_keys(folder: Path) -> str:
    return open_keys(told(folder)).log.vkey


def test_processes_that_start_at_the_same_moment_end_with_the_same_keys(tmp_path):
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert len(set(pool.map(name_of_keys, [tmp_path] * 8))) == 1
    assert not list((tmp_path / "state").glob("*.new"))

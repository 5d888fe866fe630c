"""A keys file from before checkpoints were published gets the key that it lacks, once."""

import threading

import msgspec
import pytest

from service import settings
from service.errors import Misconfigured
from service.vault import keyfile
from service.vault.keys import create_keys, open_keys


@pytest.fixture
def embedded(tmp_path):
    return settings.load(state_dir=tmp_path / "state", database_url=f"sqlite:///{tmp_path / 'ledger.db'}")


def production(chosen):
    return settings.load(
        database_url="postgresql+psycopg://nobody@nowhere/consent",
        kek_file=chosen.kek_path,
        keys_file=chosen.keys_path,
        state_dir=chosen.state_dir,
    )


@pytest.fixture
def older(embedded):
    """The settings of a service whose keys file has no ML-DSA key."""
    made = open_keys(embedded)
    stored = keyfile.unseal(embedded.keys_path, made.kek)
    embedded.keys_path.write_bytes(keyfile.seal(msgspec.structs.replace(stored, log_pq=b""), made.kek))
    return embedded, made


def test_the_embedded_default_adds_the_key_and_keeps_it(older):
    chosen, before = older
    first, second = open_keys(chosen), open_keys(chosen)
    assert first.log_pq.vkey == second.log_pq.vkey != before.log_pq.vkey
    assert (first.log.vkey, first.directory) == (before.log.vkey, before.directory)
    assert chosen.keys_path.stat().st_mode & 0o777 == 0o600


def test_in_production_the_operator_is_told_to_add_it(older):
    chosen, _ = older
    with pytest.raises(Misconfigured, match="run `consent-ledger key init`"):
        open_keys(production(chosen))
    create_keys(production(chosen))
    assert open_keys(production(chosen)).log_pq.vkey == open_keys(chosen).log_pq.vkey


def test_processes_that_start_at_once_end_up_with_one_key(older):
    chosen, _ = older
    found = []
    threads = [threading.Thread(target=lambda: found.append(open_keys(chosen).log_pq.vkey)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [path.name for path in chosen.keys_path.parent.glob("*.new")] == []

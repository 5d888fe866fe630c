"""The key-encryption key in the custody of AWS KMS, answered on loopback by its community's own server."""

import base64
import socket
import threading
from contextlib import closing

import boto3
import pytest
from moto.server import ThreadedMotoServer
from sqlalchemy import select

from service.db import Database, subject_key
from service.errors import Misconfigured, Unavailable
from service.intake import Intake
from service.intake.rotation import rotate_kek
from service.settings import Settings, load
from service.vault.keys import KeySource, open_keys
from service.vault.kms import KmsCustody
from tests import running

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "made-up",
    "AWS_SECRET_ACCESS_KEY": "made-up",
    "AWS_REGION": "eu-central-1",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture(scope="module")
def endpoint():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    server.stop()


@pytest.fixture
def key(endpoint, monkeypatch) -> str:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("kms", endpoint_url=endpoint)
    return client.create_key(Description="a test")["KeyMetadata"]["KeyId"]


def told(folder, **changes) -> Settings:
    settings = {
        "secrets_dir": folder / "none",
        "state_dir": folder / "state",
        "database_url": f"sqlite:///{folder / 'ledger.db'}",
        "origin": running.ORIGIN,
    }
    return load(**{**settings, **changes})


@pytest.fixture
def chosen(tmp_path, endpoint, key) -> Settings:
    return told(tmp_path, kms_key=key, kms_endpoint_url=endpoint)


@pytest.fixture
def silent_endpoint():
    """A port on which nobody answers."""
    with closing(socket.socket()) as unheard:
        unheard.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{unheard.getsockname()[1]}"


def test_the_file_holds_a_wrapped_key_and_kms_opens_it(chosen):
    keys = open_keys(chosen)
    written = chosen.kek_path.read_bytes()
    assert written.startswith(b"aws-kms ")
    assert keys.kek not in base64.b64decode(written.split()[1])
    assert open_keys(chosen).kek == keys.kek


def test_a_key_wrapped_for_one_log_is_not_opened_for_another(chosen, tmp_path, endpoint, key):
    open_keys(chosen)
    other = told(tmp_path, kms_key=key, kms_endpoint_url=endpoint, origin="ledger.example/other-1")
    with pytest.raises(Misconfigured, match="refuses"):
        open_keys(other)


def test_a_key_in_the_clear_is_never_used_instead(tmp_path, endpoint, key):
    open_keys(told(tmp_path))
    with pytest.raises(Misconfigured, match="holds no key that KMS wrapped"):
        open_keys(told(tmp_path, kms_key=key, kms_endpoint_url=endpoint))


def test_a_wrapped_key_is_no_key_without_kms(chosen, tmp_path):
    open_keys(chosen)
    with pytest.raises(Misconfigured, match="CONSENT_KMS_KEY"):
        open_keys(told(tmp_path))


def test_a_kms_that_does_not_answer_is_an_outage_and_a_refusal_is_not(
    chosen, tmp_path, endpoint, silent_endpoint
):
    open_keys(chosen)
    with pytest.raises(Unavailable, match="cannot be reached"):
        open_keys(told(tmp_path, kms_key=chosen.kms_key, kms_endpoint_url=silent_endpoint))
    unknown = KmsCustody("alias/nobody-made-this", context=running.ORIGIN, endpoint_url=endpoint)
    with pytest.raises(Misconfigured, match="check CONSENT_KMS_KEY"):
        unknown.seal(bytes(32))


def test_during_an_outage_events_are_refused_with_503_and_afterwards_taken_again(
    chosen, sqlite_url, endpoint, silent_endpoint, figures
):
    custody = KmsCustody(chosen.kms_key, context=chosen.origin, endpoint_url=endpoint)
    away = KmsCustody(chosen.kms_key, context=chosen.origin, endpoint_url=silent_endpoint)
    custody.lease_s = 0.0
    source = KeySource(chosen, custody)
    with (
        closing(Database(sqlite_url)) as database,
        Intake(database, source.open(), running.policies(), origin=running.ORIGIN, source=source) as intake,
    ):
        assert not isinstance(intake.record([running.claim()])[0], Exception)
        custody._client, client = away._client, custody._client
        with database.read() as tx:
            size = intake.store.size(tx)
        [refused] = intake.record([running.claim()])
        assert isinstance(refused, Unavailable)
        assert refused.status == 503
        with database.read() as tx:
            assert intake.store.size(tx) == size
        assert "Nothing is recorded meanwhile" in str(refused)
        custody._client = client
        waited = threading.Event()
        waited.wait(1.1)
        assert not isinstance(intake.record([running.claim()])[0], Exception)
    figures("KMS away", refused_with_503=1, recorded_meanwhile=0, local_keys_used=0)


def test_a_new_kek_is_wrapped_by_kms_before_it_wraps_anybody(chosen, sqlite_url):
    source = KeySource(chosen)
    with (
        closing(Database(sqlite_url)) as database,
        Intake(database, source.open(), running.policies(), origin=running.ORIGIN, source=source) as intake,
    ):
        intake.record([running.claim()])
        before = chosen.kek_path.read_bytes()
        assert rotate_kek(intake) == 2
        assert chosen.kek_path.read_bytes() != before
        assert chosen.kek_path.read_bytes().startswith(b"aws-kms ")
        with database.read() as tx:
            assert set(tx.scalars(select(subject_key.c.kek_id))) == {intake.keys.kek_id}
    assert open_keys(chosen).kek == intake.keys.kek

"""The stored connection to Zoho: sealed, bound to where it is sent, and outdone by the environment."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr
from sqlalchemy import select, update

from service import app
from service.db import zoho_connection
from service.errors import Misconfigured
from service.intake.rotation import rotate_kek
from service.settings import Settings
from service.vault import connection
from service.vault.connection import Connection
from service.vault.keys import create_keys
from tests import running

KEPT = Connection(
    accounts_url="https://accounts.zoho.in",
    crm_url="https://www.zohoapis.in",
    campaigns_url="https://campaigns.zoho.in",
    client_id="1000.CLIENT",
    client_secret=SecretStr("the client's secret"),
    refresh_token=SecretStr("1000.refresh.token"),
    organisation="Example Publishing",
    zgid="7000000001",
    scopes=["ZohoCRM.org.READ", "ZohoCRM.users.READ"],
    connected_at=datetime(2026, 5, 10, 12, tzinfo=UTC),
)


def test_what_is_written_is_read_and_only_the_newest_is_kept(begin):
    with begin() as tx:
        assert connection.read(tx, running.keys()) is None
        assert not connection.exists(tx)
        connection.write(tx, running.keys(), replace(KEPT, client_id="1000.OTHER"))
        connection.write(tx, running.keys(), KEPT)
    with begin() as tx:
        assert connection.read(tx, running.keys()) == KEPT
        assert connection.forget(tx)
        assert not connection.forget(tx)
        assert not connection.exists(tx)


def test_nothing_secret_stands_in_the_row_or_in_a_repr(begin):
    with begin() as tx:
        connection.write(tx, running.keys(), KEPT)
        row = repr(tx.execute(select(*zoho_connection.c)).one())
    for text in (row, repr(KEPT)):
        assert "the client's secret" not in text
        assert "1000.refresh.token" not in text


@pytest.mark.parametrize("column", ["accounts_url", "crm_url", "campaigns_url", "client_id"])
def test_a_row_that_was_turned_towards_somebody_else_does_not_open(begin, column):
    with begin() as tx:
        connection.write(tx, running.keys(), KEPT)
        tx.execute(update(zoho_connection).values({column: "https://elsewhere.example"}))
        with pytest.raises(Misconfigured, match="connect --replace"):
            connection.read(tx, running.keys())


def test_keys_of_another_service_do_not_open_it(begin):
    with begin() as tx:
        connection.write(tx, running.keys(), KEPT)
        with pytest.raises(Misconfigured):
            connection.read(tx, replace(running.keys(), mirror=running.secret("another")))


def test_a_new_key_encryption_key_leaves_it_open(tmp_path, sqlite_url):
    settings = Settings(state_dir=tmp_path / "state", database_url=sqlite_url)
    create_keys(settings)
    with app.running(settings) as parts, parts.db.begin() as tx:
        connection.write(tx, parts.intake.keys, KEPT)
    with app.running(settings) as parts:
        rotate_kek(parts.intake)
    with app.running(settings) as parts:
        assert parts.connected
        assert parts.zoho_settings().zoho_refresh_token == KEPT.refresh_token


def test_an_empty_environment_takes_everything_from_it():
    found = connection.applied(Settings(), KEPT)
    assert found.zoho_accounts_url == "https://accounts.zoho.in"
    assert found.zoho_crm_url == "https://www.zohoapis.in"
    assert found.zoho_campaigns_url == "https://campaigns.zoho.in"
    assert found.zoho_client_id == "1000.CLIENT"
    assert (found.zoho_client_secret, found.zoho_refresh_token) == (KEPT.client_secret, KEPT.refresh_token)
    assert connection.applied(Settings(), None) == Settings()


@pytest.mark.parametrize(
    "environment", [{"zoho_refresh_token": "1000.mine"}, {"zoho_client_id": "1000.ANOTHER"}]
)
def test_an_environment_with_credentials_of_its_own_leaves_it_aside(environment):
    settings = Settings(**environment)
    assert connection.applied(settings, KEPT) == settings


def test_a_secret_or_host_in_the_environment_wins_alone():
    settings = Settings(
        zoho_client_id="1000.CLIENT", zoho_client_secret="newer", zoho_crm_url="http://127.0.0.1:9"
    )
    found = connection.applied(settings, KEPT)
    assert found.zoho_client_secret.get_secret_value() == "newer"
    assert found.zoho_crm_url == "http://127.0.0.1:9"
    assert found.zoho_refresh_token == KEPT.refresh_token
    assert found.zoho_accounts_url == KEPT.accounts_url

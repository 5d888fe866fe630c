"""One access token for all processes: each client below stands for a process of its own on one database."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import select, update

from service.db import Database, zoho_token
from service.errors import QuotaExhausted, ZohoDenied
from service.vault import connection
from service.zoho.mapping import Zoho, connect, shared_token
from service.zoho.pace import TOKENS_LEFT
from service.zoho.shared import SharedQuota
from service.zoho.tokens import CLAIM, SharedToken
from tests import running
from tests.zoho.conftest import settings_for
from tests.zoho.stub import Said

TOKEN = "POST /oauth/v2/token"


@pytest.fixture
def db(database_url) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def process(db, time, mapping) -> Iterator[Callable[..., Zoho]]:
    """Return how to start another process that talks to `url`."""
    with ExitStack() as stack:

        def start(url: str, *, refresh_token: str = "1000.simulator.refresh", **pace) -> Zoho:
            settings = settings_for(url).model_copy(update={"zoho_refresh_token": SecretStr(refresh_token)})
            clients = connect(
                settings,
                mapping,
                pace=replace(time.pace(), **pace),
                quota=SharedQuota(db, clock=lambda: time.now),
                keeper=keeper(db, settings),
            )
            return stack.enter_context(clients)

        yield start


def keeper(db, settings) -> SharedToken:
    return shared_token(db, running.keys(), settings)


def says(**fields) -> Said:
    return Said(json.dumps(fields).encode())


def test_twenty_processes_in_a_row_take_one_token(process, sim):
    values = {process(sim.url).oauth.token().value for _ in range(20)}
    assert len(values) == 1
    assert sim.control("/meter")["calls"]["oauth"] == 1


def test_twenty_processes_at_a_time_take_one_token(process, stub):
    stub.says(TOKEN, Said(b'{"access_token":"1000.one","expires_in":3600}', delay_s=0.1), says())
    clients = [process(stub.url, sleep=lambda _s: None) for _ in range(20)]
    with ThreadPoolExecutor(20) as pool:
        assert {one.value for one in pool.map(lambda one: one.oauth.token(), clients)} == {"1000.one"}
    assert len(stub.calls(TOKEN)) == 1


def test_a_revoked_token_is_replaced_once_and_not_by_each(process, sim):
    clients = [process(sim.url) for _ in range(5)]
    stale = {one.oauth.token().value for one in clients}
    sim.control("clock", {"advance_s": 3_700})
    assert {one.crm.org().zgid for one in clients} != set()
    fresh = {one.oauth.token().value for one in clients}
    assert len(stale) == len(fresh) == 1
    assert stale != fresh
    assert sim.control("/meter")["calls"]["oauth"] == 2


def test_a_token_that_ends_is_renewed_by_one_process(process, stub, time):
    stub.says(TOKEN, says(access_token="1000.a"), says(access_token="1000.b"), says(error="invalid_code"))
    clients = [process(stub.url) for _ in range(3)]
    assert {one.oauth.token().value for one in clients} == {"1000.a"}
    assert not process(stub.url).oauth.lacks_token
    time.now += timedelta(minutes=55)
    assert process(stub.url).oauth.lacks_token
    assert {one.oauth.token().value for one in clients} == {"1000.b"}


def test_another_refresh_token_has_another_access_token(process, stub):
    stub.says(TOKEN, says(access_token="1000.a"), says(access_token="1000.b"))
    assert process(stub.url).oauth.token().value == "1000.a"
    assert process(stub.url, refresh_token="1000.other").oauth.token().value == "1000.b"
    assert process(stub.url).oauth.token().value == "1000.a"


def test_who_died_while_fetching_is_waited_for_a_minute_and_no_longer(process, stub, db, time):
    dead = keeper(db, settings_for(stub.url))
    assert dead.claim(lambda _one: True, time.now) is True
    stub.says(TOKEN, says(access_token="1000.a"))
    assert process(stub.url).oauth.token().value == "1000.a"
    assert sum(time.slept) == pytest.approx(CLAIM.total_seconds(), abs=1)


def test_who_got_no_token_lets_the_next_one_try_at_once(process, stub, time):
    stub.says(TOKEN, says(error="invalid_client"), says(access_token="1000.a"))
    with pytest.raises(ZohoDenied):
        process(stub.url).oauth.token()
    assert process(stub.url).oauth.token().value == "1000.a"
    assert time.slept == []


def test_commands_leave_three_of_nine_tokens_to_the_worker(process, sim):
    command = process(sim.url, spare_tokens=TOKENS_LEFT)
    token = command.oauth.token()
    for _ in range(5):
        token = command.oauth.renew(token)
    with pytest.raises(QuotaExhausted, match=r"wait until 12:10:00 UTC"):
        command.oauth.renew(token)
    worker = process(sim.url)
    for _ in range(3):
        token = worker.oauth.renew(token)
    with pytest.raises(QuotaExhausted):
        worker.oauth.renew(token)
    assert command.oauth.renew(command_had(token)).value == token.value


def command_had(token):
    """Return the kind of token that is refused: any but the one that is kept."""
    return type(token)(value="1000.stale", api_domain=None, renew_at=token.renew_at)


def test_nothing_of_the_token_stands_in_the_row_and_another_row_opens_nothing(process, stub, db):
    stub.says(TOKEN, says(access_token="1000.visible.secret"), says(access_token="1000.next"))
    process(stub.url).oauth.token()
    with db.begin() as tx:
        row = tx.execute(select(*zoho_token.c)).one()
        assert b"visible" not in row.sealed
        assert "1000" not in repr(row)
        tx.execute(update(zoho_token).values(sealed=row.sealed[:-1] + bytes([row.sealed[-1] ^ 1])))
    assert process(stub.url).oauth.token().value == "1000.next"


def test_who_takes_the_connection_back_takes_its_access_token_along(process, stub, db):
    stub.says(TOKEN, says(access_token="1000.a"))
    process(stub.url).oauth.token()
    with db.begin() as tx:
        connection.forget(tx)
        assert tx.execute(select(zoho_token.c.fingerprint)).all() == []


@pytest.mark.parametrize("body", [b"", b"<html>Too Many Requests</html>"])
def test_a_throttle_without_json_locks_all_processes_out_until_it_says(process, stub, time, body):
    stub.says(TOKEN, Said(body, status=429, headers={"Retry-After": "120"}), says(access_token="1000.a"))
    for _ in range(3):
        with pytest.raises(QuotaExhausted) as caught:
            process(stub.url).oauth.token()
        assert caught.value.until == time.now + timedelta(minutes=2)
    assert len(stub.calls(TOKEN)) == 1
    time.now += timedelta(minutes=2)
    assert process(stub.url).oauth.token().value == "1000.a"


def test_a_throttle_that_says_nothing_lasts_ten_minutes(process, stub, time):
    stub.says(TOKEN, Said(b"", status=429))
    for _ in range(2):
        with pytest.raises(QuotaExhausted) as caught:
            process(stub.url).oauth.token()
        assert caught.value.until == time.now + timedelta(minutes=10)
    assert len(stub.calls(TOKEN)) == 1

import pytest
from sqlalchemy import select

from service.db import Database, account, api_key
from service.errors import Forbidden, Malformed, NotFound, Unauthenticated
from service.web import auth
from service.web.auth import (
    EVENTS_WRITE,
    HISTORY_READ,
    KeyRing,
    check_password,
    create_account,
    create_key,
    revoke_key,
)

from .conftest import PASSWORD, Clock, Site, give_account


def header(key: str) -> str:
    return f"Bearer {key}"


def test_a_key_opens_what_it_was_made_for_and_nothing_else(database: Database, clock: Clock):
    ring = KeyRing(database, clock)
    program = ring.look_up(header(create_key(database, "shop", [EVENTS_WRITE])))
    program.require(EVENTS_WRITE)
    for scope in (HISTORY_READ, "events", "events:write:all", ""):
        with pytest.raises(Forbidden):
            program.require(scope)


def test_the_database_does_not_hold_the_secret_of_a_key(database: Database):
    key = create_key(database, "shop", [EVENTS_WRITE])
    with database.read() as tx:
        row = tx.execute(select(api_key)).one()
    assert not any(key.split("_", 2)[2] in str(value) for value in row)
    assert len(row.secret_sha256) == 32


def test_keys_that_are_not_ours_are_refused(database: Database, clock: Clock):
    key = create_key(database, "shop", [EVENTS_WRITE])
    other = create_key(database, "other", [EVENTS_WRITE])
    mixed = f"cl_{key.split('_')[1]}_{other.split('_', 2)[2]}"
    ring = KeyRing(database, clock)
    for wrong in (f"{key}x", key[:-1], mixed, "cl__", "", "cl_x", key.removeprefix("cl_")):
        with pytest.raises(Unauthenticated):
            ring.look_up(header(wrong))
    with pytest.raises(Unauthenticated):
        ring.look_up(f"Basic {key}")


def test_a_revoked_key_dies_within_two_seconds(database: Database, clock: Clock):
    key = create_key(database, "shop", [EVENTS_WRITE])
    ring = KeyRing(database, clock)
    ring.look_up(header(key))
    revoke_key(database, key.split("_")[1])
    with pytest.raises(Unauthenticated):
        ring.look_up(header(key))
    clock.advance(seconds=2)
    assert ring.recall(header(key)) is None


def test_a_key_is_remembered_so_that_the_next_request_need_not_ask(database: Database, clock: Clock):
    key = create_key(database, "shop", [EVENTS_WRITE])
    ring = KeyRing(database, clock)
    assert ring.recall(header(key)) is None
    assert ring.recall(header(key)) is None
    assert ring.look_up(header(key)) == ring.recall(header(key))


def test_revoking_a_key_that_does_not_exist_says_so(database: Database):
    with pytest.raises(NotFound):
        revoke_key(database, "nothing")


@pytest.mark.parametrize("scopes", [[], ["events"], [EVENTS_WRITE, "all"]])
def test_a_key_is_made_only_for_scopes_that_exist(database: Database, scopes: list[str]):
    with pytest.raises(Malformed) as caught:
        create_key(database, "shop", scopes)
    assert caught.value.field == "scopes"


@pytest.mark.parametrize("name", ["cyd@example.com", "", "A", "a" * 65, "a b", "-a"])
def test_names_that_are_signed_into_the_ledger_may_not_be_addresses(database: Database, name: str):
    with pytest.raises(Malformed):
        create_key(database, name, [EVENTS_WRITE])
    with pytest.raises(Malformed):
        create_account(database, name, PASSWORD, "auditor")


def test_an_account_needs_a_known_role_a_long_password_and_a_free_name(database: Database):
    for password, role in ((PASSWORD, "auditors"), (PASSWORD, "Auditor"), ("short", "auditor")):
        with pytest.raises(Malformed):
            create_account(database, "ada", password, role)
    create_account(database, "ada", PASSWORD, "auditor")
    with pytest.raises(Malformed):
        create_account(database, "ada", PASSWORD, "auditor")


def test_only_the_right_password_opens_an_account(database: Database, clock: Clock):
    create_account(database, "ada", PASSWORD, "auditor")
    assert check_password(database, "ada", PASSWORD, clock()) == "ada"
    for name, password in (("ada", f"{PASSWORD}x"), ("bob", PASSWORD), ("ada", ""), ("", "")):
        with pytest.raises(Unauthenticated):
            check_password(database, name, password, clock())


def test_an_account_is_locked_after_five_failures_and_opens_again(database: Database, clock: Clock):
    give_account(database, "ada", "auditor")
    for _ in range(5):
        with pytest.raises(Unauthenticated):
            check_password(database, "ada", "wrong", clock())
    with pytest.raises(Unauthenticated):
        check_password(database, "ada", PASSWORD, clock())
    clock.advance(minutes=16)
    assert check_password(database, "ada", PASSWORD, clock()) == "ada"


def test_a_success_forgets_the_failures_before_it(database: Database, clock: Clock):
    give_account(database, "ada", "auditor")
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            check_password(database, "ada", "wrong", clock())
    check_password(database, "ada", PASSWORD, clock())
    with database.read() as tx:
        assert tx.scalar(select(account.c.failures)) == 0


def test_unknown_names_wrong_passwords_and_locked_accounts_get_one_text(database: Database, clock: Clock):
    give_account(database, "ada", "auditor")
    told = set()
    for name, password in [("bob", PASSWORD), *[("ada", "wrong")] * 5, ("ada", PASSWORD)]:
        with pytest.raises(Unauthenticated) as caught:
            check_password(database, name, password, clock())
        told.add(str(caught.value))
    assert len(told) == 1


def test_the_hash_for_nobody_costs_as_much_as_any_other():
    assert not auth._HASHER.check_needs_rehash(auth._NOBODY)


def test_a_program_without_a_key_is_asked_for_one(site: Site):
    answer = site.client.post("/api/events", json={})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_key_for_events_cannot_read_histories_and_the_other_way_round(site: Site):
    body = {"email": "cyd@example.com", "purpose_of_lookup": "a test"}
    for path in ("/api/history", "/api/standing", "/api/bundle"):
        answer = site.client.post(path, json=body, headers={"Authorization": f"Bearer {site.writer}"})
        assert answer.status_code == 403
    answer = site.client.post("/api/events", json={}, headers={"Authorization": f"Bearer {site.reader}"})
    assert answer.status_code == 403

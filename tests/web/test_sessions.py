from datetime import timedelta
from http.cookies import SimpleCookie

import pytest
from litestar.testing import TestClient
from sqlalchemy import delete, func, select

from service.db import Database, account, session
from service.errors import Forbidden
from service.web.auth import create_account
from service.web.sessions import close_session, find_session, open_session, require_token
from service.web.site import create_site

from .conftest import PASSWORD, Clock, Site, form_token, give_account, log_in


def cookies(answer) -> dict:
    jar = SimpleCookie()
    for line in answer.headers.get_list("set-cookie"):
        jar.load(line)
    return jar


def test_a_session_ends_after_eight_hours_and_is_then_forgotten(database: Database, clock: Clock):
    give_account(database, "ada", "auditor")
    token = open_session(database, "ada", clock())
    assert find_session(database, token, clock()).role == "auditor"
    clock.advance(hours=8)
    assert find_session(database, token, clock()) is None
    open_session(database, "ada", clock())
    with database.read() as tx:
        assert tx.scalar(select(func.count()).select_from(session)) == 1


def test_a_session_ends_with_its_account(database: Database, clock: Clock):
    give_account(database, "ada", "auditor")
    token = open_session(database, "ada", clock())
    with database.begin() as tx:
        tx.execute(delete(account))
    assert find_session(database, token, clock()) is None


def test_a_closed_session_is_over(database: Database, clock: Clock):
    give_account(database, "ada", "auditor")
    token = open_session(database, "ada", clock())
    close_session(database, token)
    assert find_session(database, token, clock() + timedelta(seconds=1)) is None


def test_the_database_does_not_hold_the_cookie(database: Database, clock: Clock):
    give_account(database, "ada", "auditor")
    token = open_session(database, "ada", clock())
    with database.read() as tx:
        assert token not in str(tx.execute(select(session)).one())


@pytest.mark.parametrize(("expected", "given"), [("", ""), ("a", ""), ("a", "b"), ("", "a"), ("a", "é")])
def test_a_form_without_its_token_is_refused(expected: str, given: str):
    with pytest.raises(Forbidden):
        require_token(expected, given)


def test_on_loopback_the_session_cookie_is_kept_from_scripts_and_other_sites(site: Site):
    create_account(site.edge.db, "ada", PASSWORD, "auditor")
    found = cookies(log_in(site.client, "ada", PASSWORD))["session"]
    assert found["httponly"]
    assert found["samesite"].lower() == "lax"
    assert not found["domain"]


def test_over_https_the_session_cookie_is_bound_to_the_host(make_edge):
    edge = make_edge("https://ledger.example")
    create_account(edge.db, "ada", PASSWORD, "auditor")
    with TestClient(create_site(edge), base_url="https://ledger.example") as client:
        found = cookies(log_in(client, "ada", PASSWORD))["__Host-session"]
        assert client.get("/").status_code == 200
    assert found["secure"]
    assert found["path"] == "/"


def test_a_wrong_password_and_an_unknown_name_get_the_same_page(site: Site):
    create_account(site.edge.db, "ada", PASSWORD, "auditor")
    pages = []
    for name in ("ada", "bob"):
        answer = log_in(site.client, name, "not the password")
        assert answer.status_code == 401
        pages.append(answer.text.replace(form_token(answer.text), ""))
    assert pages[0] == pages[1]


def test_logging_in_takes_the_token_of_the_page(site: Site):
    create_account(site.edge.db, "ada", PASSWORD, "auditor")
    site.client.get("/login")
    fields = {"name": "ada", "password": PASSWORD, "form_token": "made up"}
    assert site.client.post("/login", data=fields).status_code == 403


def test_logging_out_ends_the_session_here_and_in_the_browser(auditor: Site):
    token = form_token(auditor.client.get("/").text)
    cookie = auditor.client.cookies["session"]
    assert (
        auditor.client.post("/logout", data={"form_token": token}, follow_redirects=False).status_code == 303
    )
    assert find_session(auditor.edge.db, cookie, auditor.clock()) is None
    assert "session" not in auditor.client.cookies


def test_logging_out_takes_the_token_of_the_page(auditor: Site):
    assert auditor.client.post("/logout", data={"form_token": "made up"}).status_code == 403
    assert auditor.client.get("/", follow_redirects=False).status_code == 200


def test_a_changed_cookie_is_no_session(auditor: Site):
    auditor.client.cookies["session"] += "x"
    answer = auditor.client.get("/", follow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/login")

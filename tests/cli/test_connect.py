"""Connecting a Zoho organisation from the command line: every way in, what is refused, what is kept."""

import json
import logging
import os
import re
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx
import pytest
from click.testing import CliRunner

from service import app, settings
from service.cli import exit_code, group
from service.cli.connect_asking import at
from service.cli.connect_browser import catching
from service.errors import Misconfigured, ServiceError, Unavailable, ZohoDenied
from service.settings import Settings
from service.zoho.scopes import ASKED
from service.zoho.simulator import names, running

SECRETS = re.compile(r"1000\.[0-9a-f]{32}\.[0-9a-f]{32}|simulator-secret")


@pytest.fixture(scope="module")
def land():
    with running(contacts=60, seed=3, centres=("us", "in")) as simulator:
        yield simulator


@pytest.fixture
def zoho(land):
    land.control("replant", {})
    return land


@pytest.fixture
def told(tmp_path, begun, zoho):
    """An environment that knows where the simulated Zoho is, and nothing of its client."""
    return {
        "HOME": str(tmp_path),
        "CONSENT_STATE_DIR": str(begun.state_dir),
        "CONSENT_DATABASE_URL": begun.database_url,
        "CONSENT_FENCE_FILE": str(begun.fence_file),
        **{f"CONSENT_ZOHO_{name}_URL": zoho.url for name in ("ACCOUNTS", "CRM", "CAMPAIGNS")},
    }


@pytest.fixture
def client(told):
    return told | {
        "CONSENT_ZOHO_CLIENT_ID": names.CLIENT_ID,
        "CONSENT_ZOHO_CLIENT_SECRET": names.CLIENT_SECRET,
    }


def call(environment, *arguments, told=None):
    clean = {name: None for name in os.environ if name.startswith("CONSENT_")}
    done = CliRunner().invoke(group, list(arguments), env=clean | environment, input=told)
    if isinstance(done.exception, ServiceError):
        return exit_code(done.exception), done.output, str(done.exception)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output, done.stderr


def code_of(zoho, scope=ASKED, minutes=3):
    return zoho.control("oauth/code", {"scope": scope, "minutes": minutes})["code"]


def rows(environment):
    with closing(sqlite3.connect(environment["CONSENT_DATABASE_URL"].removeprefix("sqlite:///"))) as db, db:
        return db.execute("SELECT * FROM zoho_connection").fetchall()


def connected(environment, zoho):
    code, out, err = call(environment, "connect", told=code_of(zoho) + "\n")
    assert code == 0, err
    return out


def reached(environment):
    """Return the organisation that a service with these settings reaches."""
    chosen = {name.removeprefix("CONSENT_").lower(): value for name, value in environment.items()}
    with app.running(settings.load(**{n: v for n, v in chosen.items() if n != "home"})) as parts:
        assert parts.connected
        with parts.zoho() as clients:
            return clients.crm.org().company_name


def test_a_pasted_code_connects_and_the_organisation_is_named(client, zoho):
    out = connected(client, zoho)
    assert "connected Example Publishing (organisation 7000000001)" in out
    assert ASKED in out
    assert "unsubscribe, set Do-Not-Mail" in out
    assert reached(client) == "Example Publishing"
    without_client = {name: value for name, value in client.items() if "CLIENT" not in name}
    assert reached(without_client) == "Example Publishing"


def test_everything_secret_is_sealed_and_nothing_of_it_printed_or_logged(client, zoho, caplog, tmp_path):
    caplog.set_level(logging.DEBUG)
    out = connected(client | {"CONSENT_LOG_LEVEL": "DEBUG"}, zoho)
    (token,) = zoho.world.tokens.refresh
    assert not SECRETS.search(out)
    assert not SECRETS.search(caplog.text)
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or token.encode() not in path.read_bytes()
    assert names.CLIENT_SECRET not in repr(rows(client))


def test_client_and_code_are_asked_for_without_showing_what_is_secret(told, zoho):
    answers = "\n".join([names.CLIENT_ID, names.CLIENT_SECRET, code_of(zoho), ""])
    code, out, err = call(told, "connect", told=answers)
    assert code == 0, err
    assert names.CLIENT_ID in out
    assert not SECRETS.search(out)
    assert reached(told) == "Example Publishing"


def test_a_file_of_the_api_console_needs_nobody_to_answer(told, zoho, tmp_path):
    file = tmp_path / "self_client.json"
    console = {"client_id": names.CLIENT_ID, "client_secret": names.CLIENT_SECRET, "code": code_of(zoho)}
    file.write_text(json.dumps(console | {"grant_type": "authorization_code", "expiry_time": 0}))
    file.chmod(0o644)
    code, _, err = call(told, "connect", "--from", str(file), "--json")
    assert (code, "chmod 600" in err) == (5, True)
    file.chmod(0o600)
    code, out, err = call(told, "connect", "--from", str(file), "--json")
    assert code == 0, err
    said = json.loads(out)
    assert (said["organisation"], said["missing"], said["replaced"]) == ("Example Publishing", [], False)


def test_standard_input_is_a_file_too_and_a_program_is_never_asked(told, zoho):
    code, _, err = call(told, "connect", "--from", "-", told=json.dumps({"client_id": names.CLIENT_ID}))
    assert code == 5
    assert "nobody answered (client secret)" in err
    assert call(told, "connect", "--from", "-", told="no json")[0] == 3
    whole = {"client_id": names.CLIENT_ID, "client_secret": names.CLIENT_SECRET, "code": code_of(zoho)}
    assert call(told, "connect", "--from", "-", told=json.dumps(whole))[0] == 0


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"code": "1000.no.such"}, "invalid_code"),
        ({"client_secret": "wrong"}, "check the client secret"),
        ({"client_id": "1000.OTHER"}, "check the client id"),
    ],
)
def test_what_zoho_refuses_is_said_with_what_to_do_and_nothing_is_stored(told, zoho, changed, words):
    whole = {"client_id": names.CLIENT_ID, "client_secret": names.CLIENT_SECRET, "code": code_of(zoho)}
    code, _, err = call(told, "connect", "--from", "-", told=json.dumps(whole | changed))
    assert code == 4
    assert words in err
    assert rows(told) == []


def test_an_expired_code_is_refused_and_a_new_one_is_asked_for(client, zoho):
    code = code_of(zoho)
    zoho.control("clock", {"advance_s": 200})
    found, _, err = call(client, "connect", told=code + "\n")
    assert (found, "make a new one" in err) == (4, True)


def test_a_token_without_a_needed_scope_is_named_not_stored_and_taken_back(client, zoho):
    scopes = ASKED.replace("ZohoCampaigns.contact.UPDATE,", "").replace(
        "modules.ALL", "modules.contacts.READ"
    )
    code, _, err = call(client, "connect", told=code_of(zoho, scopes) + "\n")
    assert code == 4
    assert "ZohoCampaigns.contact.UPDATE (unsubscribe" in err
    assert "ZohoCRM.modules.ALL" in err
    assert rows(client) == []
    assert zoho.world.tokens.refresh == {}


def test_a_token_that_does_not_name_its_scopes_is_tried(client, zoho):
    zoho.control("switches", {"oauth.scope_in_token": False})
    scopes = ASKED.replace("ZohoCRM.coql.READ,", "").replace(",ZohoCampaigns.campaign.READ", "")
    code, _, err = call(client, "connect", told=code_of(zoho, scopes) + "\n")
    assert code == 4
    assert "lacks ZohoCRM.coql.READ; ZohoCampaigns.campaign.READ." in err
    out = connected(client, zoho)
    assert "writes cannot be" in out


def test_a_scope_that_can_be_done_without_is_only_mentioned(client, zoho):
    scopes = ASKED.replace("ZohoCRM.bulk.READ,", "")
    code, out, err = call(client, "connect", told=code_of(zoho, scopes) + "\n")
    assert code == 0, err
    assert "without ZohoCRM.bulk.READ: full reads take many more calls" in out


def test_a_second_connection_must_be_meant_and_takes_the_first_one_back(client, zoho):
    connected(client, zoho)
    (first,) = zoho.world.tokens.refresh
    code, _, err = call(client, "connect", told=code_of(zoho) + "\n")
    assert (code, "--replace" in err) == (3, True)
    code, _, err = call(client, "connect", "--replace", "--json", told=code_of(zoho) + "\n")
    assert code == 0, err
    assert first in zoho.world.tokens.revoked
    assert list(zoho.world.tokens.refresh) != [first]
    assert len(rows(client)) == 1


def test_taking_it_back_ends_the_token_at_zoho_and_the_row_here(client, zoho):
    connected(client, zoho)
    zoho.control("break", {"match": "POST /oauth/v2/token/revoke", "how": "status", "status": 503})
    code, _, err = call(client, "connect", "--revoke")
    assert (code, len(rows(client))) == (4, 1), err
    code, out, err = call(client, "connect", "--revoke", "--json")
    assert (code, json.loads(out)["revoked"]) == (0, True), err
    assert zoho.world.tokens.refresh == {}
    assert rows(client) == []
    assert call(client, "connect", "--revoke")[0] == 3
    with pytest.raises(Misconfigured, match="consent-ledger connect"):
        reached(client)


def test_codes_tokens_and_revocations_stand_in_the_budget_of_all_nodes(client, zoho):
    connected(client, zoho)
    connected_again = call(client, "connect", "--replace", told=code_of(zoho) + "\n")
    assert connected_again[0] == 0, connected_again[2]
    out = call(client, "connect", "--revoke")[1]
    assert "0 credits, and 1 call of Zoho Accounts; as estimated" in out
    with closing(sqlite3.connect(client["CONSENT_DATABASE_URL"].removeprefix("sqlite:///"))) as db:
        booked = db.execute(
            "SELECT account, sum(units) FROM quota_block WHERE account LIKE 'oauth:%' GROUP BY account"
        ).fetchall()
    assert dict(booked) == {
        "oauth:POST /oauth/v2/token": 2,
        "oauth:POST /oauth/v2/token (code)": 2,
        "oauth:POST /oauth/v2/token/revoke": 2,
    }


def test_the_environment_wins_over_what_is_stored_and_connect_says_so(client, zoho):
    environment = client | {"CONSENT_ZOHO_REFRESH_TOKEN": "1000.of.the.environment"}
    out = connected(environment, zoho)
    assert "CONSENT_ZOHO_REFRESH_TOKEN is set and wins" in out
    with pytest.raises(ZohoDenied, match="invalid_code"):
        reached(environment)
    assert reached(client) == "Example Publishing"


def test_a_row_that_was_turned_towards_another_host_does_not_open(client, zoho):
    connected(client, zoho)
    path = client["CONSENT_DATABASE_URL"].removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE zoho_connection SET accounts_url = 'https://elsewhere.example'")
    with pytest.raises(Misconfigured, match="changed by hand"):
        reached(client)
    assert call(client, "connect", "--replace", told=code_of(zoho) + "\n")[0] == 0


def test_two_data_centres_at_once_are_refused(client, zoho):
    code, _, err = call(client, "connect", "--data-centre", "us")
    assert (code, "names another data centre" in err) == (5, True)


def test_the_scopes_can_be_listed_without_a_database(tmp_path):
    code, out, _ = call({"CONSENT_STATE_DIR": str(tmp_path / "none")}, "connect", "--list-scopes", "--json")
    assert code == 0
    assert json.loads(out)["line"] == ASKED
    assert not (tmp_path / "none").exists()


def browse(environment, visit, *arguments):
    """Run the command with --browser in a process of its own; `visit` is the browser."""
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "connect", "--browser", "--port", "0", "--json", *arguments],
        env={"PATH": os.environ["PATH"], **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    guard = threading.Timer(60, process.kill)
    guard.start()
    try:
        for line in process.stderr:
            if line.startswith("http"):
                visit(httpx.URL(line.strip()))
                break
        out, err = process.communicate()
    finally:
        guard.cancel()
    return process.returncode, out, err


def test_a_browser_that_agrees_connects_and_moves_to_the_persons_data_centre(client, zoho):
    zoho.control("switches", {"dc.home": "us"})
    seen = []

    def agree(url):
        back = url.params["redirect_uri"]
        with httpx.Client(trust_env=False) as browser:
            seen.append(browser.get(back, params={"state": "forged", "code": "x"}).status_code)
            seen.append(browser.get(back.replace("/callback", "/favicon.ico")).status_code)
            seen.append(browser.get(back, headers={"Host": "evil.example:1"}).status_code)
            found = browser.get(url, follow_redirects=True)
            seen.append((found.status_code, "close this window" in found.text))

    code, out, err = browse(client, agree)
    assert code == 0, err
    assert seen == [400, 404, 404, (200, True)]
    said = json.loads(out)
    assert said["accounts_url"] == zoho.centres["us"]
    assert not SECRETS.search(out + err)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"error": "access_denied"}, "agree to all scopes"),
        ({}, "agree to all scopes"),
    ],
)
def test_a_browser_that_brings_no_code_connects_nothing(told, words):
    with catching(0, "our state") as catcher, ThreadPoolExecutor(1) as pool:
        pool.submit(httpx.get, catcher.redirect_uri, params={"state": "our state", **told}, trust_env=False)
        with pytest.raises(ZohoDenied, match=words):
            catcher.wait(10)


def test_nobody_waits_for_a_browser_for_ever():
    with catching(0, "our state") as catcher, pytest.raises(Unavailable, match="no browser came back"):
        catcher.wait(0.05)


def test_a_port_that_is_taken_is_said_at_once():
    with catching(0, "a") as catcher:
        second = catching(httpx.URL(catcher.redirect_uri).port, "b")
        with pytest.raises(Misconfigured, match="choose another with --port"):
            second.__enter__()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("https://accounts.zoho.eu", "https://evil.example"),
        ("https://accounts.zoho.eu", "http://127.0.0.1:9"),
        ("http://127.0.0.1:9", "https://accounts.zoho.eu"),
        ("http://127.0.0.1:9", "https://evil.example"),
    ],
)
def test_secrets_go_to_no_host_that_a_browser_brings_unless_it_is_one_of_zohos(ours, theirs):
    with pytest.raises(ZohoDenied, match="nothing was sent there"):
        at(Settings(zoho_accounts_url=ours), theirs)


def test_the_data_centre_that_a_browser_brings_is_taken_with_all_its_hosts():
    found = at(Settings(zoho_accounts_url="https://accounts.zoho.com"), "https://accounts.zohocloud.ca")
    assert found.zoho_crm_url == "https://www.zohoapis.ca"
    assert found.zoho_campaigns_url == "https://campaigns.zohocloud.ca"

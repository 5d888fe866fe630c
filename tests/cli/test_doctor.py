"""Doctor: every failure is injected where it would arise, and found beside all others."""

import json
import os
import shutil
import socket
import sqlite3
import threading
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from aiosmtpd.controller import Controller
from click.testing import CliRunner
from sqlalchemy import insert, text

from service import app
from service.cli import group
from service.cli.doctor import examine
from service.cli.doctor.finding import Blocked, Look, Outcome, fine, run
from service.db import Database, canary, channel
from service.errors import Unavailable
from service.settings import HERE, Settings
from service.vault.keys import create_keys
from service.zoho.oauth import ENDPOINT
from service.zoho.shared import SharedQuota
from service.zoho.simulator import names, running
from tests import servers

CHECKS = {
    "keys",
    "database",
    "log",
    "credentials",
    "scopes",
    "permissions",
    "CRM fields",
    "Campaigns fields",
    "withdrawals",
    "polarity",
    "plan",
    "clock",
    "webhooks",
    "mail",
}


@pytest.fixture(scope="module")
def land():
    with running(contacts=60, seed=3) as simulator:
        yield simulator


@pytest.fixture
def zoho(land):
    land.control("replant", {})
    return land


@pytest.fixture
def chosen(begun, zoho):
    """Settings of a sound installation on SQLite that is connected with the simulated organisation."""
    return Settings(
        state_dir=begun.state_dir,
        database_url=begun.database_url,
        fence_file=begun.fence_file,
        zoho_accounts_url=zoho.url,
        zoho_crm_url=zoho.url,
        zoho_campaigns_url=zoho.url,
        zoho_client_id=names.CLIENT_ID,
        zoho_client_secret=names.CLIENT_SECRET,
        zoho_refresh_token=names.REFRESH_TOKEN,
        mail_to="law@acme.example",
        mail_from="ledger@acme.example",
    )


def examined(settings, now=app.now):
    """Return what was found, by check and outcome."""
    found = list(examine(settings, now))
    assert {one.check for one in found} == CHECKS, "a failing check hides another"
    wanting = [one for one in found if one.outcome is not Outcome.PASS]
    assert all(one.todo for one in wanting), "nobody is told what to do"
    assert [one for one in wanting if not one.where] == [], "nobody is told where"
    return found


def only(found, check, outcome=None):
    return [one for one in found if one.check == check and outcome in (None, one.outcome)]


def failure(settings, check, now=app.now):
    """Return the one failure of a check; the same check must have been without any before."""
    (one,) = only(examined(settings, now), check, Outcome.FAIL)
    return one


@contextmanager
def answering(body=b'{"status":"alive"}', status=200):
    """Yield the address of a web server that answers everything alike."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def breaks(zoho, line, body, status=200, times=9):
    told = body if isinstance(body, str) else json.dumps(body)
    zoho.control("break", {"match": line, "how": "status", "status": status, "body": told, "times": times})


def fields_of(zoho, module="Contacts", **changed):
    """Return the answer about a module's fields, with Email_Opt_Out changed, or without it."""
    token = zoho.world.tokens.issue("t", ("ZohoCRM.settings.ALL",), zoho.world.clock.now())
    answer = zoho.client.get(
        f"/crm/v8/settings/fields?module={module}", headers={"Authorization": f"Zoho-oauthtoken {token}"}
    ).json()
    fields = [f for f in answer["fields"] if changed or f["api_name"] != "Email_Opt_Out"]
    for field in fields:
        if field["api_name"] == "Email_Opt_Out":
            field.update(changed)
    return {"fields": fields}


def test_a_sound_installation_fails_nothing(chosen):
    with answering() as url:
        found = examined(chosen.model_copy(update={"public_url": url}))
    assert only(found, "webhooks", Outcome.PASS)
    assert [one for one in found if one.outcome is Outcome.FAIL] == []
    assert not any(only(found, check, Outcome.WARN) for check in CHECKS - {"polarity", "webhooks", "mail"})


def test_nothing_is_made_where_there_is_nothing(tmp_path, zoho):
    empty = Settings(state_dir=tmp_path / "none", database_url=f"sqlite:///{tmp_path / 'none' / 'ledger.db'}")
    found = examined(empty)
    assert {one.check for one in found if one.outcome is Outcome.FAIL} >= {"keys", "database", "credentials"}
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []
    assert "consent-ledger connect" in only(found, "credentials")[0].todo


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"zoho_client_id": "1000.OTHER"}, "invalid_client"),
        ({"zoho_client_secret": "wrong"}, "invalid_client_secret"),
        ({"zoho_refresh_token": "1000.wrong"}, "invalid_code"),
        ({"zoho_refresh_token": ""}, "not connected"),
    ],
)
def test_credentials_that_open_nothing_fail_and_what_needs_them_says_so(chosen, changed, words):
    found = examined(Settings(**{**chosen.model_dump(), **changed}))
    (one,) = only(found, "credentials")
    assert (one.outcome, words in one.seen) == (Outcome.FAIL, True)
    for check in ("scopes", "permissions", "CRM fields", "Campaigns fields", "plan"):
        assert "credentials failed" in only(found, check)[0].seen


def test_a_token_kept_from_before_the_grant_was_revoked_fails_once_and_names_the_remedy(chosen, zoho):
    assert only(examined(chosen), "credentials")[0].outcome is Outcome.PASS
    zoho.client.post("/oauth/v2/token/revoke", params={"token": names.REFRESH_TOKEN}).raise_for_status()
    zoho.world.tokens.live.clear()
    found = examined(chosen)
    (one,) = only(found, "credentials")
    assert (one.outcome, "connect --replace" in one.seen + one.todo) == (Outcome.FAIL, True)
    assert not [one for one in found if one.outcome is Outcome.FAIL and "revoked" in one.seen][1:]
    assert "credentials failed" in only(found, "plan")[0].seen
    with closing(Database(chosen.database_url)) as db, closing(SharedQuota(db)) as quota:
        while quota.gate("oauth").reserve(ENDPOINT) is None:
            pass
    found = examined(chosen)
    assert "used up" in only(found, "credentials")[0].seen
    assert "credentials failed" in only(found, "plan")[0].seen


def test_hosts_of_two_data_centres_fail(chosen, zoho):
    away = {"zoho_accounts_url": "https://accounts.zoho.com", "zoho_crm_url": "https://www.zohoapis.eu"}
    from service.cli.doctor.access import _hosts  # noqa: PLC0415  # no test reaches the real hosts

    found = list(_hosts(Settings(**{**chosen.model_dump(), **away})))
    assert [one.where for one in found] == ["CONSENT_ZOHO_CRM_URL", "CONSENT_ZOHO_CAMPAIGNS_URL"]
    assert found[0].todo == "set it to https://www.zohoapis.com"


def test_a_missing_scope_fails_and_one_that_can_be_done_without_warns(chosen, zoho):
    scopes = zoho.world.switches["oauth.scopes"]
    fewer = scopes.replace("ZohoCampaigns.contact.ALL", "ZohoCampaigns.contact.READ").replace(
        "ZohoCRM.bulk.ALL ", ""
    )
    zoho.control("switches", {"oauth.scopes": fewer})
    found = examined(chosen)
    (one,) = only(found, "scopes", Outcome.FAIL)
    assert "ZohoCampaigns.contact.UPDATE" in one.seen
    assert one.where == "API console > Self Client > Generate Code"
    assert "ZohoCRM.bulk.READ" in only(found, "scopes", Outcome.WARN)[0].seen


def test_scopes_that_are_not_named_are_tried(chosen, zoho):
    scopes = zoho.world.switches["oauth.scopes"].replace("ZohoCRM.coql.READ ", "")
    zoho.control("switches", {"oauth.scopes": scopes, "oauth.scope_in_token": False})
    assert "ZohoCRM.coql.READ is refused (OAUTH_SCOPE_MISMATCH)" in failure(chosen, "scopes").seen


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "Contacts has no field Email_Opt_Out"),
        ({"data_type": "text"}, "of type text, not boolean"),
        ({"read_only": True}, "cannot be written through the API"),
        ({"operation_type": {"api_update": False}}, "cannot be written through the API"),
        (
            {"profiles": [{"id": "5725767000000026011", "name": "A", "permission_type": "read_only"}]},
            "profile A may not write",
        ),
    ],
)
def test_an_opt_out_field_that_cannot_be_written_fails_with_its_page(chosen, zoho, changed, words):
    breaks(zoho, "GET /crm/v8/settings/fields", fields_of(zoho, **changed), times=1)
    one = failure(chosen, "CRM fields")
    assert words in one.seen
    assert one.where == "CRM: Setup > Customization > Modules and Fields > Contacts"


def test_another_profiles_restriction_is_no_failure(chosen, zoho):
    profiles = [{"id": "1", "name": "Interns", "permission_type": "hidden"}]
    breaks(zoho, "GET /crm/v8/settings/fields", fields_of(zoho, profiles=profiles), times=1)
    assert only(examined(chosen), "CRM fields", Outcome.FAIL) == []


def test_a_second_opt_out_field_is_pointed_at(chosen, zoho):
    answer = fields_of(zoho, read_only=False)
    answer["fields"].append({**answer["fields"][-1], "api_name": "Email_Opt_out1", "custom_field": True})
    breaks(zoho, "GET /crm/v8/settings/fields", answer, times=1)
    (one,) = only(examined(chosen), "CRM fields", Outcome.WARN)
    assert "Email_Opt_out1" in one.seen


def mapped(chosen, tmp_path, old, new, file="zoho.toml"):
    """Return the settings with a policy file in which one word was changed."""
    folder = tmp_path / "policies"
    shutil.copytree(HERE / "policies", folder)
    mapping = (folder / file).read_text()
    assert old in mapping
    (folder / file).write_text(mapping.replace(old, new))
    return chosen.model_copy(update={"policies_dir": folder})


@pytest.mark.parametrize(
    ("changed", "where", "words"),
    [
        (('"Marketing Permission"', '"Marketing permission"'), "Contact Fields", "letter by letter"),
        (("3z0a1b2c", "3z000000"), "For Developers", "no list with the key of 'newsletter'"),
        (
            ("80696000000061003", "80696000000069999"),
            "Segments",
            "no segment 80696000000069999 for refused",
        ),
    ],
)
def test_a_wrong_name_of_campaigns_fails_with_its_page(chosen, tmp_path, changed, where, words):
    one = failure(mapped(chosen, tmp_path, *changed), "Campaigns fields")
    assert words in one.seen
    assert where in one.where


@pytest.mark.parametrize(
    ("named", "outcome", "words"),
    [("newsletter", Outcome.PASS, "stops 200 by one call"), ("fairs", Outcome.FAIL, "names the list fairs")],
)
def test_a_workflow_of_the_mapping_is_told_and_its_list_must_be_mapped(
    chosen, tmp_path, named, outcome, words
):
    before = "# Every list that belongs"
    table = f'[campaigns.workflow]\nkey = "3za"\ntrigger_key = "3zb"\nlist = "{named}"\n'
    (one,) = only(examined(mapped(chosen, tmp_path, before, table + before)), "withdrawals")
    assert (one.outcome, words in one.seen) == (outcome, True)


def test_a_module_that_does_not_exist_fails_and_the_others_are_looked_at(chosen, tmp_path):
    found = examined(mapped(chosen, tmp_path, 'name = "Leads"', 'name = "Ledas"'))
    assert "INVALID_MODULE" in only(found, "CRM fields", Outcome.FAIL)[0].seen
    assert "Contacts" in only(found, "CRM fields", Outcome.PASS)[0].seen
    assert "Edit Ledas" in only(found, "permissions", Outcome.FAIL)[0].seen


def test_a_profile_that_may_not_edit_fails_with_its_page(chosen, zoho):
    rights = [{"name": "Crm_Implied_View_Contacts", "enabled": True}]
    profile = {"id": "5725767000000026011", "name": "Standard", "permissions_details": rights}
    breaks(zoho, "GET /crm/v8/settings/profiles", {"profiles": [profile]})
    one = failure(chosen, "permissions")
    assert "may not Edit Contacts, View Leads, Edit Leads" in one.seen
    assert one.where == "CRM: Setup > Users and Control > Security Control > Profiles > Standard"


def canaries(chosen, zoho, **states):
    """Let these records of Contacts be canaries: by state, whether CRM has them as opted out."""
    now = datetime.now(UTC)
    with closing(Database(chosen.database_url)) as db, db.begin() as tx:
        for state, opted_out in states.items():
            (number,) = zoho.world.db.execute(
                "SELECT id FROM crm_Contacts WHERE Email_Opt_Out = ? LIMIT 1", (int(opted_out),)
            ).fetchone()
            row = {"state": state, "address_index": state.encode(), "address": b"", "module": "Contacts"}
            tx.execute(insert(canary).values(**row, record_id=str(number), mapping=b"", made_at=now))


def test_canaries_the_right_way_round_pass(chosen, zoho):
    canaries(chosen, zoho, granted=False, refused=True)
    found = only(examined(chosen), "polarity")
    assert [one.outcome for one in found] == [Outcome.WARN, Outcome.PASS, Outcome.PASS]
    assert "no canary for: unsubscribed, pending, expired" in found[0].seen
    assert "no canary in Leads for: granted, refused" in found[0].seen


def test_without_canaries_doctor_says_what_to_set_and_what_to_run(chosen):
    (one,) = only(examined(chosen), "polarity")
    assert one.outcome is Outcome.WARN
    assert one.where == "policies/enforcement.toml > [canaries]"
    assert "set domain" in one.todo
    assert "consent-ledger canaries create" in one.todo


def test_a_canary_the_wrong_way_round_fails_before_anybody_is_mailed(chosen, zoho):
    canaries(chosen, zoho, granted=True, refused=True)
    assert "the granted canary is opted out in Contacts: the mapping may be inverted" in (
        failure(chosen, "polarity").seen
    )


def test_a_canary_that_is_gone_fails(chosen, zoho):
    canaries(chosen, zoho, refused=True)
    with closing(Database(chosen.database_url)) as db, db.begin() as tx:
        tx.execute(text("UPDATE canary SET record_id = '1'"))
    assert "the refused canary is gone" in failure(chosen, "polarity").seen


def test_few_credits_left_and_a_small_edition_warn(chosen, zoho):
    zoho.world.meter.spend(58_000, allowance=60_000, now=zoho.world.clock.now())
    (one,) = only(examined(chosen), "plan", Outcome.WARN)
    assert "credits are left" in one.seen
    org = {"zgid": "1", "license_details": {"paid": False, "trial_type": None}}
    zoho.control("reset", {})
    breaks(zoho, "GET /crm/v8/org", {"org": [org]})
    (one,) = only(examined(chosen), "plan", Outcome.WARN)
    assert "edition free" in one.seen


def test_a_policy_that_reckons_with_more_credits_than_there_are_warns(chosen, tmp_path):
    changed = mapped(chosen, tmp_path, "credits_per_day = 0", "credits_per_day = 70_000", "enforcement.toml")
    (one,) = only(examined(changed), "plan", Outcome.WARN)
    assert "70,000" in one.seen


def test_no_credits_at_all_fail_and_say_until_when(chosen, zoho):
    body = {"code": "TOO_MANY_REQUESTS", "details": {}, "message": "too many", "status": "error"}
    breaks(zoho, "GET /crm/v8/org", body, status=429, times=99)
    one = failure(chosen, "plan")
    assert "TOO_MANY_REQUESTS" in one.seen


@pytest.mark.parametrize(
    ("ahead_s", "outcome"), [(0, Outcome.PASS), (12, Outcome.WARN), (-400, Outcome.FAIL)]
)
def test_a_clock_that_differs_from_zohos_is_told(chosen, ahead_s, outcome):
    found = examined(chosen, lambda: datetime.now(UTC) + timedelta(seconds=ahead_s))
    (one,) = only(found, "clock")
    assert one.outcome is outcome
    assert outcome is Outcome.PASS or "NTP" in one.todo


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:1", "does not answer (ConnectError)"),
        ("ftp://example.org", "is no address of the web"),
    ],
)
def test_a_public_address_that_does_not_answer_fails(chosen, url, words):
    assert words in failure(chosen.model_copy(update={"public_url": url}), "webhooks").seen


@pytest.mark.parametrize(("body", "status"), [(b"<html>parked</html>", 200), (b'{"status":"alive"}', 502)])
def test_a_public_address_where_somebody_else_answers_fails(chosen, body, status):
    with answering(body, status) as url:
        one = failure(chosen.model_copy(update={"public_url": url}), "webhooks")
    assert f"not as this service (HTTP {status})" in one.seen
    assert one.where == "CONSENT_PUBLIC_URL"


def test_channels_that_zoho_never_used_or_that_ended_warn(chosen):
    now = datetime.now(UTC)
    rows = {
        "1": {"expires_at": now + timedelta(days=1), "heard_at": now},
        "2": {"expires_at": now + timedelta(days=1), "heard_at": None},
        "3": {"expires_at": now - timedelta(days=1), "heard_at": now},
        "4": {"expires_at": now + timedelta(days=1), "heard_at": now, "trouble": "NOT_SUBSCRIBED"},
    }
    with closing(Database(chosen.database_url)) as db, db.begin() as tx:
        for name, row in rows.items():
            rest = {"notify_url": "", "events": "", "token_sha256": b"", "made_at": now, "renewed_at": now}
            tx.execute(insert(channel).values(channel_id=name, **rest, **row))
    found = [one for one in only(examined(chosen), "webhooks") if "channel" in one.seen]
    assert [one.outcome for one in found] == [Outcome.PASS, Outcome.WARN, Outcome.WARN, Outcome.WARN]
    assert "never heard of" in found[1].seen


def test_key_files_that_others_can_read_fail_with_the_command_that_helps(chosen):
    chosen.kek_path.chmod(0o644)
    found = examined(chosen)
    one = only(found, "keys", Outcome.FAIL)[0]
    assert one.todo == f"chmod 600 {chosen.kek_path}"
    assert "keys failed" in only(found, "log")[0].seen


def test_a_folder_in_which_others_can_replace_keys_fails(chosen):
    chosen.state_dir.chmod(0o777)
    assert "others can replace files" in only(examined(chosen), "keys", Outcome.FAIL)[0].seen


def test_keys_that_do_not_belong_together_or_are_missing_fail(chosen, tmp_path):
    other = Settings(state_dir=tmp_path / "other")
    create_keys(other)
    shutil.copyfile(other.kek_path, chosen.kek_path)
    assert "does not open with this key-encryption key" in failure(chosen, "keys").seen
    chosen.kek_path.unlink()
    assert "does not exist" in failure(chosen, "keys").seen


def test_keys_of_an_older_generation_than_the_ledger_fail(chosen):
    with closing(sqlite3.connect(chosen.database_url.removeprefix("sqlite:///"))) as db, db:
        db.execute("UPDATE log_state SET generation = generation + 1")
    assert "of generation 0, the ledger of 1" in failure(chosen, "keys").seen


def test_a_folder_that_takes_no_mail_and_example_addresses_are_told(chosen):
    outbox = chosen.state_dir / "outbox"
    outbox.write_text("in the way")
    example = chosen.model_copy(update={"mail_to": Settings.model_fields["mail_to"].default})
    one = failure(example, "mail")
    assert one.where == "CONSENT_SMTP_URL"
    outbox.unlink()
    found = only(examined(example), "mail", Outcome.WARN)
    assert [one.where for one in found] == ["CONSENT_SMTP_URL", "CONSENT_MAIL_TO"]


class Silent:
    """A mail server that counts what it is asked to deliver."""

    delivered = 0

    async def handle_DATA(self, _server, _session, _envelope):  # noqa: N802  # the library's name
        Silent.delivered += 1
        return "250 OK"


def test_a_mail_server_is_greeted_and_nothing_is_sent(chosen):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = Controller(Silent(), hostname="127.0.0.1", port=port)
    server.start()
    try:
        chosen = Settings(**{**chosen.model_dump(), "smtp_url": f"smtp://127.0.0.1:{port}"})
        (one,) = only(examined(chosen), "mail")
    finally:
        server.stop()
    assert (one.outcome, Silent.delivered) == (Outcome.PASS, 0)
    assert "greets us" in one.seen
    assert "does not let us in" in failure(chosen, "mail").seen


def test_a_mail_servers_password_is_never_told(chosen):
    chosen = Settings(**{**chosen.model_dump(), "smtp_url": "smtp://ana:pa55word@127.0.0.1:1"})
    assert "pa55word" not in repr(examined(chosen))


def test_a_wall_that_was_taken_down_fails(chosen):
    with closing(sqlite3.connect(chosen.database_url.removeprefix("sqlite:///"))) as db, db:
        db.execute("DROP TRIGGER leaf_no_delete")
    assert "trigger leaf_no_delete" in failure(chosen, "database").seen


def test_an_older_schema_fails_and_what_needs_the_newest_is_still_looked_at(chosen):
    with closing(sqlite3.connect(chosen.database_url.removeprefix("sqlite:///"))) as db, db:
        db.execute("UPDATE alembic_version SET version_num = '0007'")
    one = failure(chosen, "database")
    assert (one.seen.split(",")[0], "consent-ledger migrate" in one.todo) == (
        "the database has schema 0007",
        True,
    )


def test_a_log_that_nobody_publishes_fails(chosen):
    later = datetime.now(UTC) + timedelta(days=2)
    found = examined(chosen, lambda: later)
    (one,) = only(found, "log", Outcome.FAIL)
    assert "is 48 h old" in one.seen


def test_a_database_that_is_older_than_its_fence_fails(chosen, tmp_path):
    path = chosen.database_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    shutil.copyfile(path, tmp_path / "older.db")
    with app.running(chosen) as parts, parts.db.begin() as tx:
        parts.intake.announce(tx, "policy.adopted", {})
    for suffix in ("", "-wal", "-shm"):
        (chosen.state_dir / f"ledger.db{suffix}").unlink(missing_ok=True)
    shutil.copyfile(tmp_path / "older.db", path)
    assert "were lost, as after restoring an older backup" in failure(chosen, "log").seen


def test_a_fence_in_the_databases_own_folder_fails_while_no_witness_is_named(chosen):
    inside = chosen.model_copy(update={"fence_file": chosen.state_dir / "fence"})
    (one,) = only(examined(inside), "log", Outcome.FAIL)
    assert "in the database's own folder, and no witness is named" in one.seen
    assert "CONSENT_FENCE_FILE" in one.todo


def test_a_check_that_breaks_halfway_keeps_what_it_had_found():
    def half():
        yield fine("one thing")
        raise Unavailable("the other thing is away; wait for it")

    first, second = run("half", half, where="page")
    assert (first.outcome, second.outcome) == (Outcome.PASS, Outcome.FAIL)
    assert (second.seen, second.todo, second.where) == ("the other thing is away", "wait for it", "page")


def test_what_a_driver_says_is_not_repeated():
    def driver() -> list[Look]:
        raise OSError(5, "Input/output error", "/home/ana@example.org")

    def blocked() -> list[Look]:
        raise Blocked("keys")

    (one,) = run("driver", driver)
    assert one.seen == "OSError (Input/output error)"
    (one,) = run("blocked", blocked)
    assert (one.outcome, one.seen) == (Outcome.WARN, "not looked at: keys failed")


def test_the_command_exits_1_on_failures_and_prints_json_or_words(chosen):
    told = {
        **{name: None for name in os.environ if name.startswith("CONSENT_")},
        "CONSENT_STATE_DIR": str(chosen.state_dir),
        "CONSENT_DATABASE_URL": chosen.database_url,
    }
    done = CliRunner().invoke(group, ["doctor", "--json"], env=told)
    assert done.exit_code == 1, done.stderr
    said = json.loads(done.stdout)
    assert said["fail"] == sum(one["outcome"] == "fail" for one in said["findings"]) > 0
    assert set(said["findings"][0]) == {"check", "outcome", "seen", "todo", "where"}
    done = CliRunner().invoke(group, ["doctor"], env=told)
    assert "fail credentials  Zoho is not connected\n     run `consent-ledger connect`" in done.stdout
    assert f"{said['fail']} fail" in done.stdout.splitlines()[-1]


@pytest.fixture
def served(chosen, postgresql_url):
    """The same installation on PostgreSQL, begun by the owner and run by the role that the service has."""
    owner = Settings(**{**chosen.model_dump(), "database_url": postgresql_url})
    chosen.fence_path.unlink()
    with app.running(owner) as parts:
        parts.publisher().publish()
    return owner.model_copy(update={"database_url": postgresql_url.replace(servers.OWNER, servers.APP)})


def test_a_role_that_can_only_add_passes_and_more_rights_fail(served, postgresql_url):
    found = examined(served)
    assert only(found, "database", Outcome.FAIL) == []
    assert "can add to the ledger and not change it" in repr(only(found, "database", Outcome.PASS))
    assert len(only(found, "clock", Outcome.PASS)) == 2
    with closing(Database(postgresql_url)) as db, db.begin() as tx:
        tx.execute(text(f"GRANT UPDATE ON leaf TO {servers.APP}"))
        tx.execute(text(f"REVOKE INSERT ON node FROM {servers.APP}"))
    one = failure(served, "database")
    assert one.seen == "the service's role may UPDATE leaf, not INSERT node"
    assert "consent_app" in one.todo


def test_the_owner_of_the_tables_is_no_role_for_a_service(served, postgresql_url):
    owner = served.model_copy(update={"database_url": postgresql_url})
    assert "is the owner of the tables" in failure(owner, "database").seen


def test_a_clock_that_differs_from_the_databases_is_told(served):
    found = examined(served, lambda: datetime.now(UTC) + timedelta(seconds=90))
    assert any("the database differ by 90 s" in one.seen for one in only(found, "clock", Outcome.FAIL))


def test_a_database_that_does_not_answer_fails_and_hides_nothing_else(chosen):
    away = {"database_url": "postgresql+psycopg://nobody@127.0.0.1:1/x"}
    found = examined(Settings(**{**chosen.model_dump(), **away}))
    (one,) = only(found, "database")
    assert (one.outcome, one.seen) == (Outcome.FAIL, "the database does not answer")
    assert only(found, "CRM fields", Outcome.PASS)
    assert only(found, "credentials", Outcome.PASS)

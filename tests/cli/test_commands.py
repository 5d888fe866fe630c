"""The commands as an operator types them: what they print, write and end with."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from service import app, settings
from service.cli import exit_code, group
from service.errors import ServiceError
from service.zoho.simulator import names, running
from tests.running import claim

EMAIL = "ana@example.org"


@pytest.fixture(scope="module")
def zoho():
    with running(contacts=200) as simulator:
        yield simulator


@pytest.fixture
def told(tmp_path):
    """Return an environment of the embedded default in the test's own folder, with nothing else in it."""
    state = tmp_path / "state"
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "CONSENT_STATE_DIR": str(state),
        "CONSENT_DATABASE_URL": f"sqlite:///{state / 'ledger.db'}",
    }


@pytest.fixture
def connected(told, zoho):
    """Return the same environment, pointed at the simulated Zoho."""
    return told | {
        "CONSENT_ZOHO_ACCOUNTS_URL": zoho.url,
        "CONSENT_ZOHO_CRM_URL": zoho.url,
        "CONSENT_ZOHO_CAMPAIGNS_URL": zoho.url,
        "CONSENT_ZOHO_CLIENT_ID": names.CLIENT_ID,
        "CONSENT_ZOHO_CLIENT_SECRET": names.CLIENT_SECRET,
        "CONSENT_ZOHO_REFRESH_TOKEN": names.REFRESH_TOKEN,
    }


def start(environment, *arguments):
    command = [sys.executable, "-m", "service", *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def call(environment, *arguments, told=None):
    """Run a command in this process; return what it would end with, print and complain."""
    clean = {name: None for name in os.environ if name.startswith("CONSENT_")}
    done = CliRunner().invoke(group, [*map(str, arguments)], env=clean | environment, input=told)
    if isinstance(done.exception, ServiceError):
        return exit_code(done.exception), done.stdout, f"{done.exception.title}: {done.exception}"
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def entries(environment):
    with sqlite3.connect(environment["CONSENT_DATABASE_URL"].removeprefix("sqlite:///")) as db:
        return db.execute("SELECT count(*) FROM leaf").fetchone()[0]


def test_reconcile_writes_nothing_anywhere_until_it_is_told_to_apply(connected, zoho):
    zoho.control("replant", {"contacts": 200, "seed": 3})
    before = zoho.control("state")
    code, out, err = call(connected, "reconcile", "--json")
    assert code == 0, err
    dry = json.loads(out)
    assert dry["plan"]["people"] > 0
    assert dry["applied"] is None
    assert zoho.control("state") == before
    held = entries(connected)
    assert held == 1  # the genesis
    code, out, err = call(connected, "reconcile", "--apply", "--json")
    assert code == 0, err
    assert sum(json.loads(out)["applied"].values()) == dry["plan"]["people"]
    assert zoho.control("state") != before
    assert entries(connected) > held


def test_a_read_that_cannot_be_believed_ends_in_exit_code_1_and_says_that_nothing_was_written(
    connected, zoho
):
    zoho.control("replant", {"contacts": 200, "seed": 4})
    assert call(connected, "reconcile", "--apply")[0] == 0
    zoho.control("replant", {"contacts": 50, "seed": 4})
    code, _, err = call(connected, "reconcile", "--apply")
    assert code == 1
    assert err.splitlines()[-1].startswith("nothing was written: CRM: crm returned")


def test_a_plan_is_listed_shown_approved_with_a_password_and_applied(connected, zoho):
    zoho.control("replant", {"contacts": 60, "seed": 5})
    (email,) = zoho.control("truth/opted_out_both")["emails"][:1]
    url, folder = connected["CONSENT_DATABASE_URL"], Path(connected["CONSENT_STATE_DIR"])
    with app.running(settings.load(database_url=url, state_dir=folder)) as parts:
        parts.intake.record([claim(email)])
    code, out, err = call(connected, "reconcile", "--apply", "--json")
    assert code == 0, err
    plan = json.loads(out)["plan"]
    number = str(json.loads(out)["run"])
    assert plan["permits"] == 2
    assert "waits for approval" in call(connected, "plan", "list")[1]
    shown = call(connected, "plan", "show", number)[1]
    assert plan["digest"] in shown
    assert email not in shown
    assert json.loads(call(connected, "plan", "show", number, "--json")[1])["digest"] == plan["digest"]
    password = "correct horse battery\n"
    assert call(connected, "user", "add", "ana", "--role", "approver", told=password)[0] == 0
    approve = ("plan", "approve", number, "--digest", plan["digest"], "--as", "ana")
    assert call(connected, *approve, told="wrong password here\n")[0] == 3
    code, out, err = call(connected, *approve, told=password)
    assert code == 0, err
    assert "approved by ana (1 of 1)" in out
    assert call(connected, "plan", "apply")[0] == 0


def test_history_bundle_and_verify_answer_an_auditor_and_record_that_they_were_asked(told, tmp_path):
    code, out, err = call(told, "history", EMAIL, "--purpose", "file 7")
    assert code == 0, err
    assert EMAIL in out
    assert entries(told) == 2  # the genesis and the look-up
    file = tmp_path / "ana.zip"
    code, out, err = call(told, "bundle", EMAIL, "-o", file, "--purpose", "file 8")
    assert code == 0, err
    assert entries(told) == 4  # the look-up, and the index that the bundle shows
    assert oct(file.stat().st_mode & 0o777) == "0o600"
    assert zipfile.ZipFile(file).testzip() is None
    assert call(told, "verify", file)[0] == 0
    file.write_bytes(file.read_bytes()[:-1])
    assert call(told, "verify", file)[0] == 1


@pytest.mark.parametrize("reason", [(), ("--purpose", ""), ("--purpose", "  "), ("--purpose", " ab ")])
def test_whoever_does_not_say_why_they_ask_is_told_nothing_and_takes_nothing_out(told, tmp_path, reason):
    file = tmp_path / "taken"
    for command in (
        ("history", EMAIL),
        ("bundle", EMAIL, "-o", file),
        ("whois", "p-0123456789abcdef"),
        ("suppression", "export", file),
    ):
        code, out, err = call(told, *command, *reason)
        assert (code in {2, 3}, out) == (True, "")
        assert "say why" in err or "--purpose" in err
    assert not file.exists()
    assert not Path(told["CONSENT_STATE_DIR"]).exists()  # nothing was opened, let alone recorded


def test_a_bundle_without_a_folder_to_lie_in_is_refused_before_anything_is_recorded(told, tmp_path):
    assert call(told, "key", "show")[0] == 0
    code, _, err = call(told, "bundle", EMAIL, "-o", tmp_path / "missing" / "ana.zip", "--purpose", "file 7")
    assert code == 3
    assert "there is no folder" in err
    assert entries(told) == 1


def test_accounts_and_keys_are_made_and_revoked_from_the_command_line(told):
    code, out, err = call(told, "user", "add", "ada", told="correct horse battery\n")
    assert (code, out) == (0, "ada may log in as auditor\n"), err
    code, out, _ = call(told, "key", "add", "shop", "--scope", "events:write")
    assert code == 0
    identity = out.split("_")[1]
    assert call(told, "key", "revoke", identity)[1] == f"the key {identity} is revoked\n"


def test_the_drift_report_is_printed_without_sending_and_sent_once(told):
    code, out, err = call(told, "report", "drift", "--print")
    assert code == 0, err
    assert out.startswith("Consent drift ")
    assert call(told, "report", "drift")[1].strip().endswith(".eml")
    assert call(told, "report", "drift")[1] == "this night's mail was sent already\n"


@pytest.mark.parametrize(
    ("setting", "value", "code", "words"),
    [
        ("CONSENT_DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:1/x", 5, "key-encryption key"),
        ("CONSENT_DATABASE_URL", "foo", 5, "CONSENT_DATABASE_URL"),
        ("CONSENT_PORT", "many", 5, "CONSENT_PORT"),
        ("CONSENT_POLICIES_DIR", "/nonexistent", 5, "purposes.toml"),
    ],
)
def test_a_wrong_setting_is_one_clear_line_and_exit_code_5(told, setting, value, code, words):
    found, _, err = call(told | {setting: value}, "key", "show")
    assert found == code
    assert words in err
    assert len(err.splitlines()) == 1


def test_an_error_of_ours_ends_the_command_with_its_line_and_code_and_no_traceback(told):
    process = start(told | {"CONSENT_PORT": "many"}, "key", "show")
    out, err = process.communicate(timeout=90)
    assert (process.returncode, out) == (5, "")
    assert err.startswith("The service is not configured: ")
    assert len(err.splitlines()) == 1


def test_a_database_that_does_not_answer_is_unavailable_in_one_line(told):
    away = told | {"CONSENT_DATABASE_URL": "postgresql+psycopg://nobody@127.0.0.1:1/x"}
    assert call(away, "key", "init")[0] == 0
    code, _, err = call(away, "key", "show")
    assert code == 4
    assert "the database does not answer" in err
    assert len(err.splitlines()) == 1


def test_new_keys_are_never_made_beside_a_ledger_that_has_lost_its_own(told, tmp_path):
    assert call(told, "key", "show")[0] == 0
    kept = {name: (tmp_path / "state" / name).rename(tmp_path / name) for name in ("kek", "keys")}
    code, _, err = call(told, "key", "show")
    assert code == 5
    assert "put back the copy that you keep" in err
    assert not (tmp_path / "state" / "keys").exists()
    for name, path in kept.items():
        path.rename(tmp_path / "state" / name)
    assert call(told, "key", "show")[0] == 0


def test_a_database_that_was_only_migrated_holds_no_ledger_and_gets_its_keys(told, tmp_path):
    assert call(told, "migrate")[0] == 0
    assert not (tmp_path / "state" / "keys").exists()
    assert call(told, "key", "show")[0] == 0


def test_two_services_that_start_together_on_a_new_folder_both_come_up(told):
    both = [start(told, "key", "show") for _ in range(3)]
    answers = [process.communicate(timeout=90) for process in both]
    assert [process.returncode for process in both] == [0, 0, 0], answers
    assert len({out for out, _ in answers}) == 1


def test_serve_says_where_it_listens_once_it_does_and_refuses_a_taken_port(told):
    process = start(told, "serve", "--port", "0")
    try:
        line = process.stderr.readline()
        port = int(line.rsplit(":", 1)[1])
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        code, _, err = call(told, "serve", "--port", port)
        assert code == 5
        assert "cannot be listened on" in err
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 0


def test_the_demonstration_hears_nothing_of_the_callers_settings(told, tmp_path):
    deaf = told | {
        "CONSENT_SMTP_URL": "smtp://mail.invalid",
        "CONSENT_MAIL_TO": "real@legal.example",
        "CONSENT_ORIGIN": "ledger.real.example/one",
        "CONSENT_KEK_FILE": str(tmp_path / "real-kek"),
        "CONSENT_FENCE_FILE": str(tmp_path / "real-fence"),
    }
    command = [sys.executable, "-m", "service", "demo", "--contacts", "200", "--once", "--json"]
    done = subprocess.run(command, cwd=tmp_path, env=deaf, capture_output=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr.decode()
    mail = tmp_path / json.loads(done.stdout)["mail_path"]
    assert b"real@legal.example" not in mail.read_bytes()
    assert not (tmp_path / "real-kek").exists()
    assert not (tmp_path / "real-fence").exists()


def test_the_demonstration_refuses_a_port_on_which_somebody_listens(told, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, "-m", "service", "demo", "--once", "--port", str(taken.getsockname()[1])]
        done = subprocess.run(
            command, cwd=tmp_path, env=told, capture_output=True, text=True, check=False, timeout=60
        )
    assert done.returncode == 5
    assert "is taken" in done.stderr


def test_whois_records_the_look_up_before_it_names_anybody(told):
    chosen = settings.load(
        database_url=told["CONSENT_DATABASE_URL"], state_dir=Path(told["CONSENT_STATE_DIR"])
    )
    with app.running(chosen) as parts:
        parts.intake.record([claim(EMAIL)])
        pseudonym = f"p-{parts.intake.vault.address_index(EMAIL)[:8].hex()}"
    code, out, err = call(told, "whois", pseudonym, "--purpose", "drift of May")
    assert (code, out.strip()) == (0, EMAIL), err
    _, history, _ = call(told, "history", EMAIL, "--purpose", "file 7")
    assert "drift of May" in history

"""The whole story once, as a newcomer sees it: `consent-ledger demo --once --json`."""

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from email import policy
from email.parser import BytesParser
from pathlib import Path

import pytest

from service.reconciler.natures import STATES

ADDRESS = re.compile(rb"[a-z0-9._%+-]+@[a-z0-9.-]*example\.(?:com|org|net)", re.IGNORECASE)
OURS = {b"legal@example.org", b"consent-ledger@example.org"}
"""Mailboxes of the organisation itself: whom the nightly mail goes to and comes from."""
CLEAR = {"bundle.zip"}
"""What is made for the auditor, who asked by address, and therefore names the person."""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Return what the demonstration said about itself, and the folder it ran in."""
    folder = tmp_path_factory.mktemp("story")
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, "-m", "service", "demo", "--contacts", "400", "--once", "--json"],
        cwd=folder,
        env=environment,
        capture_output=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout), folder


def test_the_demonstration_says_what_it_saw_in_one_json_object(told):
    said, _ = told
    assert list(said) == [
        "planted",
        "found",
        "applied",
        "remaining",
        "api_calls",
        "crm_credits",
        "ledger_size",
        "bundle_verified",
        "mail_path",
        "seconds",
    ]
    assert said["api_calls"] > 0
    assert said["crm_credits"] > 0
    assert said["ledger_size"] > 0


def test_what_was_planted_is_found_nothing_more_and_nothing_less(told):
    said, _ = told
    assert said["planted"]
    assert said["found"] == said["planted"]


def test_everything_that_must_stop_is_stopped_and_stays_so(told):
    said, _ = told
    lags = {"list_lag_missing", "list_lag_stale"}
    assert said["applied"] == {kind: count for kind, count in said["planted"].items() if kind not in lags}
    assert not any(said["remaining"].values())


def test_the_bundle_verifies_and_legals_mail_lies_in_the_outbox(told):
    said, folder = told
    assert said["bundle_verified"] is True
    mail = BytesParser(policy=policy.default).parsebytes((folder / said["mail_path"]).read_bytes())
    assert mail["Subject"].startswith("Consent drift")
    assert {part.get_content_type() for part in mail.walk()} >= {
        "text/plain",
        "text/html",
        "image/png",
        "text/csv",
    }


def test_canaries_of_every_state_are_read_back_right_after_each_run(told):
    _, folder = told
    (ledger,) = folder.rglob("ledger.db")
    with closing(sqlite3.connect(ledger)) as db:
        troubles = dict(db.execute("SELECT state, trouble FROM canary"))
    assert set(troubles) == {*STATES, *(f"{state} in Leads" for state in STATES)}
    assert {state for state, trouble in troubles.items() if trouble} == {"bounced"}


def test_legals_mail_has_the_audit_of_the_sync_point_by_point(told):
    said, folder = told
    mail = BytesParser(policy=policy.default).parsebytes((folder / said["mail_path"]).read_bytes())
    _, _, audit = mail.get_body(("plain",)).get_content().partition("SYNC AUDIT")
    points = re.findall(r"^ +(pass|warn|fail) +([1-7])\. ", audit, re.MULTILINE)
    assert [number for _, number in points] == list("1234567")


def test_no_address_is_in_the_clear_in_any_file_that_the_service_wrote(told):
    _, folder = told
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in CLEAR]
    assert {path.name for path in files} >= {"ledger.db", "serve.log", "worker.log"}
    seen = {path.name: set(ADDRESS.findall(path.read_bytes())) - OURS for path in files}
    assert not {name: sorted(found)[:3] for name, found in seen.items() if found}


def test_keys_and_database_are_for_their_owner_alone(told):
    _, folder = told
    private = [path for path in folder.rglob("*") if path.name in {"kek", "keys", "ledger.db", "bundle.zip"}]
    assert len(private) == 4
    assert {oct(path.stat().st_mode & 0o077) for path in private} == {"0o0"}


def test_nothing_is_left_outside_the_folder_that_the_demonstration_names(told):
    _, folder = told
    assert {path.name for path in Path(folder).iterdir()} <= {".consent", ".cache", ".config"}

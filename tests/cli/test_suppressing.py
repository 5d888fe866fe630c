"""The suppression list at the command line: the drill after everything was lost."""

from contextlib import closing

import pytest
from click.testing import CliRunner

from service import app
from service.cli import suppressing
from service.db import Database, migrate
from service.intake.suppression import kept_out
from tests.running import claim, withdrawal
from tests.web.conftest import PASSWORD, give_account

ANA, BO = "ana@example.org", "bo@example.org"


@pytest.fixture
def installed(begun, monkeypatch):
    use(begun, monkeypatch)
    with app.running(begun) as parts:
        parts.intake.record([claim(ANA), claim(BO), withdrawal(BO)])
        for name, role in (("lea", "legal"), ("adam", "admin")):
            give_account(parts.db, name, role)
    return begun


def use(chosen, monkeypatch):
    for name in ("state_dir", "database_url", "fence_file"):
        monkeypatch.setenv(f"CONSENT_{name.upper()}", str(getattr(chosen, name)))


def lost(installed, monkeypatch, tmp_path):
    """The same keys beside a database in which nothing is."""
    url = f"sqlite:///{tmp_path / 'new.db'}"
    migrate(url)
    chosen = installed.model_copy(update={"database_url": url, "fence_file": tmp_path / "new" / "fence"})
    use(chosen, monkeypatch)
    return chosen


def run(*arguments, told=PASSWORD):
    return CliRunner().invoke(suppressing.suppression, [*map(str, arguments)], input=f"{told}\n")


@pytest.mark.parametrize("name", ["stops.csv", "stops.jsonl"])
def test_the_drill_restores_every_stop_without_any_address_leaving_the_house(
    installed, monkeypatch, tmp_path, name
):
    file = tmp_path / name
    assert "1 stops of 1 addresses" in run("export", file, "--purpose", "drill").output
    assert "example.org" not in file.read_text()
    chosen = lost(installed, monkeypatch, tmp_path)
    told = run("import", file, "--yes")
    assert "1 more kept out" in told.output
    with app.running(chosen) as parts, parts.db.read() as tx:
        assert parts.intake.vault.find(tx, BO) is None
        [token] = kept_out(tx, [parts.intake.vault.address_index(BO)]).values()
    assert token.reason == "restored:consent.withdrawn"


def test_a_list_with_addresses_needs_a_person_who_may_have_them(installed, tmp_path):
    file = tmp_path / "stops.csv"
    for account, error in ((None, "name your account"), ("adam", "may not take addresses out")):
        who = () if account is None else ("--as", account)
        refused = run("export", file, "--purpose", "move", "--addresses", *who)
        assert error in str(refused.exception)
        assert not file.exists()
    assert run("export", file, "--purpose", "move", "--addresses", "--as", "lea").exit_code == 0
    assert BO in file.read_text()
    assert ANA not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0


def test_that_a_list_was_taken_out_stands_in_the_ledger_with_the_reason(installed, tmp_path):
    run("export", tmp_path / "stops.csv", "--purpose", "yearly drill")
    with app.running(installed) as parts, parts.db.read() as tx:
        last = parts.intake.store.size(tx) - 1
        told = parts.intake.vault.open_payload(tx, last).fields
    assert (told["asked_for"], told["purpose_of_lookup"], told["stops"]) == (
        "suppression list",
        "yearly drill",
        1,
    )


def test_a_list_that_was_cut_off_or_is_of_other_keys_is_refused_whole(installed, tmp_path):
    file = tmp_path / "stops.csv"
    run("export", file, "--purpose", "drill")
    whole = file.read_text()
    file.write_text(whole.splitlines(keepends=True)[0] + "".join(whole.splitlines(keepends=True)[1:]) * 2)
    assert "cut off or changed" in str(run("import", file, "--yes").exception)
    row = whole.splitlines()[1].split(",")
    file.write_text(whole.replace(row[1], "0" * 16))
    assert "keys of another installation" in str(run("import", file, "--yes").exception)
    with closing(Database(installed.database_url)) as db, db.read() as tx:
        assert not list(suppressing.stops(tx))[1:]


def test_a_dry_run_shows_the_effect_and_changes_nothing(installed, monkeypatch, tmp_path):
    file = tmp_path / "stops.csv"
    run("export", file, "--purpose", "drill")
    chosen = lost(installed, monkeypatch, tmp_path)
    assert "consent.withdrawn               1" in run("import", file, "--dry-run").output
    with app.running(chosen) as parts, parts.db.read() as tx:
        assert not list(suppressing.stops(tx))

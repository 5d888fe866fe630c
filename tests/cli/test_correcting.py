"""Corrections at the command line."""

from click.testing import CliRunner

from service import app
from service.cli import correcting
from service.consent import State
from tests.running import claim, withdrawal
from tests.web.conftest import PASSWORD, give_account

EMAIL = "ana@example.org"


def run(*arguments, told: str = PASSWORD):
    return CliRunner().invoke(correcting.correct, [*map(str, arguments)], input=f"{told}\n")


def test_a_mistake_is_proposed_listed_approved_by_two_and_undone(begun, monkeypatch):
    for name in ("state_dir", "database_url", "fence_file"):
        monkeypatch.setenv(f"CONSENT_{name.upper()}", str(getattr(begun, name)))
    with app.running(begun) as parts:
        for name, role in (("lea", "legal"), ("ada", "approver"), ("bea", "approver")):
            give_account(parts.db, name, role)
        wrong = withdrawal(EMAIL, source="api:desk", evidence={"control": "phone"})
        entry = parts.intake.record([claim(EMAIL), wrong])[1].index
    proposed = run("propose", EMAIL, "--entry", entry, "--reason", "another Ana", "--as", "lea")
    assert f"entry {entry} would not count any more; agreed to by nobody yet (0 of 2)" in proposed.output
    number = proposed.output.split("proposed by entry ")[1].split(":")[0]
    listed = run("list").output
    assert "another Ana" in listed
    assert EMAIL not in listed
    assert "ada (1 of 2)" in run("approve", number, "--as", "ada").output
    assert "agreed to by ada, bea" in run("approve", number, "--as", "bea").output
    assert run("list").output == "no correction waits for anybody\n"
    with app.running(begun) as parts, parts.db.read() as tx:
        [found] = parts.intake.standings(tx, parts.intake.vault.find(tx, EMAIL))
    assert found.state is State.PERMITTED

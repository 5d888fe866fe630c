"""Importing a file: judged whole before anything is recorded, safe to repeat, silent about addresses."""

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from service import app, settings
from service.cli import group
from service.errors import Malformed
from tests.running import claim, withdrawal

EMAIL = "ana@example.org"
WHEN = "2024-05-01T09:00:00+02:00"
LATER = "2024-06-01T09:00:00+02:00"
GRANT = {"kind": "grant", "email": EMAIL, "purpose": "marketing", "occurred_at": WHEN}
WITHDRAWAL = {"kind": "withdraw", "email": "bo@example.org", "occurred_at": WHEN, "import_batch": "old shop"}
SUPPRESSION = {"kind": "suppress", "email": "cyd@example.org", "occurred_at": WHEN, "country": "DE"}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSENT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("CONSENT_DATABASE_URL", f"sqlite:///{tmp_path / 'ledger.db'}")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(group, ["import", *map(str, arguments)])


def ndjson(folder: Path, *rows: object) -> Path:
    path = folder / "people.ndjson"
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


def table(folder: Path, *rows: dict[str, str]) -> Path:
    path = folder / "people.csv"
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    return path


def standings(email: str) -> dict[str, str]:
    with app.running(settings.load()) as parts, parts.db.read() as tx:
        sub = parts.intake.vault.find(tx, email)
        found = [] if sub is None else parts.intake.standings(tx, sub)
    return {one.purpose: one.state.value for one in found}


def size() -> int:
    with app.running(settings.load()) as parts, parts.db.read() as tx:
        return parts.intake.store.size(tx)


@pytest.mark.parametrize("write", [ndjson, table])
def test_each_kind_of_line_is_recorded_as_imported(tmp_path, write):
    told = run(write(tmp_path, GRANT, WITHDRAWAL, SUPPRESSION), "--yes")
    assert told.exit_code == 0, told.output
    assert "3 events can be recorded" in told.output
    assert standings(EMAIL)["marketing"] == "unknown"  # an assertion without evidence permits nothing
    assert standings("bo@example.org")["marketing"] == "refused"
    with app.running(settings.load()) as parts, parts.db.read() as tx:
        sub = parts.intake.vault.find(tx, "bo@example.org")
        assert [event.provenance for event in parts.intake.events(tx, sub)][1] == "import"


def test_the_same_file_again_records_nothing(tmp_path):
    path = ndjson(tmp_path, GRANT, WITHDRAWAL)
    run(path, "--yes")
    before = size()
    again = run(path, "--yes")
    assert again.exit_code == 0
    assert "known already" in again.output
    assert size() == before


def test_a_dry_run_shows_the_effect_and_records_nothing(tmp_path):
    before = size()
    told = run(ndjson(tmp_path, GRANT, WITHDRAWAL), "--dry-run")
    assert "1 of them stop mail" in told.output
    assert size() == before


def test_nothing_is_recorded_before_somebody_says_yes(tmp_path):
    before = size()
    assert run(ndjson(tmp_path, GRANT)).exit_code == 1
    assert size() == before


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ({**GRANT, "kind": "opt-in"}, "kind"),
        ({**GRANT, "occurred_at": ""}, "occurred_at"),
        ({**GRANT, "occurred_at": "2024-05-01T09:00:00"}, "occurred_at"),
        ({**GRANT, "email": "nobody at home"}, "email"),
        ({**GRANT, "purpose": "politics"}, "purpose"),
        ({**GRANT, "provenance": "live"}, "provenance"),
        ('{"kind": "grant", "kind": "withdraw"}', "stands twice"),
        ("[]", "one JSON object"),
    ],
)
def test_one_wrong_line_is_named_and_keeps_the_whole_file_out(tmp_path, line, why):
    before = size()
    told = run(ndjson(tmp_path, WITHDRAWAL, line), "--yes")
    assert isinstance(told.exception, Malformed)
    assert "line 2: " in told.output
    assert why in told.output
    assert "home" not in told.output
    assert size() == before


def test_the_other_lines_are_recorded_where_the_caller_says_so(tmp_path):
    told = run(ndjson(tmp_path, WITHDRAWAL, "{", GRANT), "--yes", "--skip-wrong")
    assert told.exit_code == 0
    assert standings("bo@example.org")["marketing"] == "refused"
    assert standings(EMAIL)


def test_a_file_with_an_unknown_column_or_ragged_rows_is_refused(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text(f"kind,email,occurred_at,shoe_size\nwithdraw,{EMAIL},{WHEN},43\n")
    assert "shoe_size" in run(path, "--yes").output
    path.write_text(f"kind,email,occurred_at\nwithdraw,{EMAIL}\n")
    assert "2 cells" in run(path, "--yes").output
    path.write_text("kind,occurred_at\n")
    assert isinstance(run(path, "--yes").exception, Malformed)


def test_an_older_refusal_does_not_undo_what_the_person_said_since(tmp_path):
    with app.running(settings.load()) as parts:
        parts.intake.record([claim(EMAIL)])
    told = run(ndjson(tmp_path, {**WITHDRAWAL, "email": EMAIL}), "--yes")
    assert "1 lines are about people who are known already" in told.output
    assert standings(EMAIL)["marketing"] == "permitted"


def test_several_processes_record_each_their_share_of_the_people(tmp_path):
    rows = [{**GRANT, "email": f"p{number}@example.org"} for number in range(40)]
    rows += [
        {**WITHDRAWAL, "email": f"p{number}@example.org", "occurred_at": LATER} for number in range(0, 40, 2)
    ]
    assert (
        "recorded                       60" in run(ndjson(tmp_path, *rows), "--yes", "--processes", 2).output
    )
    assert [standings(f"p{number}@example.org")["marketing"] for number in (0, 1)] == ["refused", "unknown"]


def test_the_effect_on_who_may_be_mailed_is_shown_before_anything_is_recorded(tmp_path: Path):
    with app.running(settings.load()) as parts:
        told = [claim(EMAIL), claim("bo@example.org"), withdrawal("bo@example.org")]
        parts.intake.record(told)
    back = {**GRANT, "email": "bo@example.org"}
    ends = {**WITHDRAWAL, "email": EMAIL}
    shown = run(ndjson(tmp_path, back, ends, SUPPRESSION), "--dry-run").output
    assert "  1 stops are about people who may be mailed until now" in shown
    assert "  1 consents are about people who must not be mailed; an import lifts nothing" in shown
    assert standings("bo@example.org") == {"marketing": "refused"}
    assert " 0 " not in run(ndjson(tmp_path, GRANT), "--dry-run").output


def test_consents_that_would_let_nobody_be_mailed_are_counted_by_the_rule_before_anything_is_recorded(
    tmp_path: Path,
):
    implied = {**GRANT, "basis": "implied", "fact": "purchase", "fact_at": "2026-05-01", "country": "Canada"}
    ticked = {**GRANT, "email": "bo@example.org", "prechecked": True}
    unknown = {**implied, "email": "cyd@example.org", "country": "Atlantis"}
    shown = run(ndjson(tmp_path, GRANT, ticked, implied, unknown, SUPPRESSION), "--dry-run").output
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "4 consents do not count, and let nobody be mailed, by" in lines
    assert {
        "enforcement.weakest_grade 1",
        "enforcement.forbidden_evidence 1",
        "ca.casl.implied_purchase 1",
        "no rule lets what it rests on count where they are 1",
    } <= set(lines)


def test_an_import_cannot_bring_back_who_unsubscribed(tmp_path: Path):
    with app.running(settings.load()) as parts:
        parts.intake.record([claim(EMAIL), withdrawal(EMAIL)])
    run(ndjson(tmp_path, {**GRANT, "occurred_at": "2026-01-01T00:00:00+00:00"}), "--yes")
    assert standings(EMAIL) == {"marketing": "refused"}

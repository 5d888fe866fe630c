"""The commands of those who decide the rules, against a real ledger in a folder."""

import json
import shutil

import pytest
from click.testing import CliRunner

from service import app, settings
from service.cli.policy import policy
from service.consent import Category
from service.db import standing
from service.errors import Misconfigured, Refused
from service.settings import HERE
from tests.policy.switching import switch_on
from tests.running import claim, withdrawal


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy of the policies, which is the service's own, beside an embedded ledger of three people."""
    copy = shutil.copytree(HERE / "policies", tmp_path / "policies")
    for name, value in (
        ("DATABASE_URL", f"sqlite:///{tmp_path / 'ledger.db'}"),
        ("STATE_DIR", str(tmp_path / "state")),
        ("POLICIES_DIR", str(copy)),
    ):
        monkeypatch.setenv(f"CONSENT_{name}", value)
    with app.running(settings.load()) as parts:
        parts.intake.record(
            [claim("a@firma.de"), claim("b@acme.example", country="US"), withdrawal("c@shop.ca")]
        )
    return copy


@pytest.fixture
def stricter(folder, tmp_path):
    """Another set, in which a rule was switched on."""
    copy = shutil.copytree(folder, tmp_path / "stricter")
    switch_on(copy, "de.doi.burden")
    return copy


def run(*arguments, **more):
    return CliRunner().invoke(policy, [str(one) for one in arguments], **more)


def ledger(ask):
    with app.running(settings.load()) as parts, parts.db.read() as tx:
        return ask(parts, tx)


def test_a_good_set_is_called_good_with_its_rules_and_its_digest():
    found = run("check", HERE / "policies")
    assert found.exit_code == 0
    assert found.output.startswith("good: 108 rules (0 active, 108 draft, 0 retired)")


def test_what_is_wrong_is_printed_with_file_and_line(folder):
    law = folder / "jurisdictions" / "nz.toml"
    law.write_text(law.read_text().replace("business_days = 5", "business_days = 6", 1))
    found = run("check")
    assert found.exit_code == 1
    assert found.output.startswith(f"{law}:")
    assert "nz.uema.withdrawn: the rule answers in_time, the example expects late" in found.output


def test_a_difference_counts_first_and_names_nobody(folder, stricter):
    found = run("diff", folder, stricter)
    assert found.exit_code == 0
    assert "1  would no longer be mailable" in found.output
    assert "0  would become mailable" in found.output
    assert "de.doi.burden" in found.output
    assert "firma" not in found.output


def test_names_are_shown_to_whoever_says_why_and_each_is_recorded(folder, stricter):
    size = ledger(lambda parts, tx: parts.intake.store.size(tx))
    found = run("diff", folder, stricter, "--names", "counsel asks before adoption")
    assert found.output.count("a@firma.de") == 1
    assert "b@acme.example" not in found.output
    assert ledger(lambda parts, tx: parts.intake.store.size(tx)) == size + 1
    assert run("diff", folder, stricter, "--names", "why", "--json").exit_code == 2


def test_a_difference_says_why_people_turn(folder, stricter):
    assert "1  permitted -> pending by de.doi.burden" in run("diff", folder, stricter).output


def test_a_difference_as_json_has_everybody(folder, stricter):
    found = json.loads(run("diff", "adopted", stricter, "--json").stdout)
    assert (found["people"], found["become_unmailable"], found["become_mailable"]) == (3, 1, 0)
    [turned] = found["turned"]
    assert (turned["mailable"], turned["rule"], len(turned["subject"])) == (False, "de.doi.burden", 64)
    assert (found["withdrawals"], found["deadlines_moved"]) == (1, 0)


def test_a_set_with_anything_wrong_is_neither_compared_nor_adopted(folder, stricter):
    law = stricter / "jurisdictions" / "de.toml"
    law.write_text(law.read_text().replace('verified_by = "A. Counsel, 2026-03-01"', 'verified_by = ""'))
    for arguments in (("diff", folder, stricter), ("adopt", stricter, "--by", "counsel", "--yes")):
        found = run(*arguments)
        assert isinstance(found.exception, Misconfigured)
        assert "verified_by" in str(found.exception)


def test_adopting_shows_the_difference_appends_the_entry_and_folds_again(folder, stricter):
    found = run("adopt", stricter, "--by", "counsel", "--yes")
    assert found.exit_code == 0
    assert "1  would no longer be mailable" in found.output
    assert "3 people's standings folded again" in found.output
    assert "start serve and worker again" in found.stderr
    states = ledger(lambda _parts, tx: sorted(row.state for row in tx.execute(standing.select())))
    assert states == ["pending", "permitted", "refused"]


def test_whoever_says_no_changes_nothing(folder, stricter):
    before = ledger(lambda parts, tx: parts.intake.store.size(tx))
    found = run("adopt", stricter, "--by", "counsel", input="n\n")
    assert isinstance(found.exception, Refused)
    assert ledger(lambda parts, tx: parts.intake.store.size(tx)) == before


def test_the_log_says_which_set_was_adopted(folder, stricter):
    run("adopt", stricter, "--by", "counsel", "--yes")

    def categories(parts, tx):
        entries = parts.intake.store.entries(tx, range(parts.intake.store.size(tx)))
        return [entries[index] for index in sorted(entries)][-1]

    assert Category.POLICY_ADOPTED.value.encode() in ledger(categories)

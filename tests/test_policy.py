"""The shipped policies, what is refused in others, and deadlines by worked examples."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service import policy
from service.errors import Misconfigured, NotFound
from service.policy import Deadline, Jurisdiction, PolicySet
from service.policy.calendars import Calendar
from service.settings import HERE

SHIPPED = HERE / "policies"
FRIDAY = datetime(2026, 7, 3, 18, 30, tzinfo=UTC)  # the day on which the USA keep Independence Day of 2026


@pytest.fixture(scope="module")
def rules() -> PolicySet:
    return policy.load(SHIPPED)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A copy of the shipped set, to be spoiled."""
    return Path(shutil.copytree(SHIPPED, tmp_path / "policies"))


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def only(folder: Path, country: str) -> None:
    """Leave the law of one country."""
    for file in (folder / "jurisdictions").glob("*.toml"):
        if file.stem != country:
            file.unlink()


def test_the_shipped_set_loads(rules):
    assert "marketing" in rules.purposes
    assert rules.form("newsletter").purpose == "marketing"
    assert {"US", "EU", "mailbox"} <= rules.jurisdictions.keys()
    assert len(rules.digest) == 32


def test_a_notice_is_named_by_the_hash_of_its_text(rules):
    form = rules.form("newsletter")
    assert len(form.notice_sha256) == 64
    assert form.notice_sha256 != rules.form("newsletter").notice


def test_a_form_that_is_not_declared_is_not_found_and_its_name_not_repeated(rules):
    with pytest.raises(NotFound) as refused:
        rules.form("<script>")
    assert "<script>" not in str(refused.value)


def test_the_rules_of_the_fold_come_from_the_policy(folder):
    change(folder / "purposes.toml", "double_opt_in = false", "double_opt_in = true")
    change(folder / "enforcement.toml", "soft_bounce_limit = 3", "soft_bounce_limit = 5")
    found = policy.load(folder).rules("marketing")
    assert (found.double_opt_in, found.soft_bounce_limit, found.weakest_grade) == (True, 5, "C")


@pytest.mark.parametrize("name", ["purposes.toml", "zoho.toml", "enforcement.toml"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(Misconfigured, match=f"policies/{name} is missing"):
        policy.load(folder)


@pytest.mark.parametrize("name", ["purposes.toml", "zoho.toml", "enforcement.toml", "jurisdictions/us.toml"])
def test_an_unknown_key_is_refused_with_the_files_name(folder, name):
    file = folder / name
    file.write_text("surprise = 1\n" + file.read_text())
    with pytest.raises(Misconfigured, match=rf"policies/{name}.*surprise"):
        policy.load(folder)


@pytest.mark.parametrize("spoiled", [b"this is no toml", b"code = '\xff'"])
def test_a_file_that_cannot_be_read_is_named(folder, spoiled):
    (folder / "jurisdictions" / "us.toml").write_bytes(spoiled)
    with pytest.raises(Misconfigured, match=r"policies/jurisdictions/us\.toml"):
        policy.load(folder)


def test_a_form_for_a_purpose_that_is_not_declared_is_refused_with_both_names(folder):
    change(folder / "purposes.toml", 'purpose = "marketing"', 'purpose = "astrology"')
    with pytest.raises(Misconfigured, match=r"form newsletter.*'astrology'.*purposes\.toml"):
        policy.load(folder)


def test_a_mapping_for_a_purpose_that_is_not_declared_is_refused(folder):
    change(folder / "zoho.toml", 'governs = "marketing"', 'governs = "astrology"')
    with pytest.raises(Misconfigured, match=r"zoho\.toml governs.*'astrology'"):
        policy.load(folder)


def test_what_happens_without_consent_needs_a_default(folder):
    change(folder / "enforcement.toml", "[without_consent.default]", "[without_consent.US]")
    with pytest.raises(Misconfigured, match=r"without_consent\.default"):
        policy.load(folder)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("business_days = 10", "business_days = 10\nhours = 3"),
        ("business_days = 10", ""),
        ('calendar = "US"', 'calendar = "Atlantis"'),
        ('confidence = "primary"', 'confidence = "hearsay"'),
    ],
)
def test_a_law_that_could_not_be_applied_is_refused_at_the_start(folder, old, new):
    change(folder / "jurisdictions" / "us.toml", old, new)
    with pytest.raises(Misconfigured, match=r"policies/jurisdictions/us\.toml"):
        policy.load(folder)


def test_a_grade_that_does_not_exist_is_refused(folder):
    change(folder / "enforcement.toml", 'weakest_grade = "C"', 'weakest_grade = "Z"')
    with pytest.raises(Misconfigured, match=r"policies/enforcement\.toml"):
        policy.load(folder)


def test_a_set_without_any_deadline_that_counts_is_refused(folder):
    only(folder, "us")
    change(folder / "jurisdictions" / "us.toml", 'confidence = "primary"', 'confidence = "memory"')
    with pytest.raises(Misconfigured, match="no deadline that counts"):
        policy.load(folder)


def test_the_digest_changes_with_any_byte_and_any_name(folder):
    before = policy.load(folder).digest
    law = folder / "jurisdictions" / "us.toml"
    law.write_bytes(law.read_bytes() + b"\n")
    changed = policy.load(folder).digest
    law.rename(law.with_name("usa.toml"))
    assert len({before, changed, policy.load(folder).digest}) == 3


def test_the_digest_does_not_depend_on_where_the_files_lie(folder, rules):
    assert policy.load(folder).digest == rules.digest


@pytest.mark.parametrize("told", ["US", "us", " United States ", "USA", "u.s.a."])
def test_a_country_is_known_by_any_of_its_names(rules, told):
    assert rules.jurisdiction(told) == "US"


@pytest.mark.parametrize("told", [None, "", "  ", "Atlantis"])
def test_a_country_that_nobody_knows_is_unknown(rules, told):
    assert rules.jurisdiction(told) == "unknown"


def test_business_days_pass_over_weekends_and_public_holidays(rules):
    # From Friday 3 July 2026, itself a holiday in the USA, ten business days end with Friday the 17th.
    ends, rule = rules.stop_by(FRIDAY, "US")
    assert (ends, rule.id) == (datetime(2026, 7, 18, 4, tzinfo=UTC), "us.canspam.optout_deadline")


def test_a_holiday_within_the_days_is_passed_over(rules):
    # From Wednesday 23 December 2026: 24, (25 Christmas), 28 .. 31, (1 January), 4 .. 8 = ten days.
    ends, _ = rules.stop_by(datetime(2026, 12, 23, 15, tzinfo=UTC), "US")
    assert ends == datetime(2027, 1, 9, 5, tzinfo=UTC)  # midnight in New York


def test_each_country_follows_its_own_calendar(rules):
    # Wednesday 1 July 2026 is Canada Day, and an ordinary day in Australia.
    start = datetime(2026, 6, 30, 9, tzinfo=UTC)
    canada = next(d for d in rules.jurisdictions["CA"].deadlines if d.business_days == 10)
    assert canada.ends(start, Calendar(country="CA")) == canada.ends(start, Calendar()) + timedelta(days=1)


def test_hours_and_days_run_on_through_the_weekend():
    told = {"law": "l", "citation": "c", "confidence": "primary", "status": "active"}
    assert Deadline(id="h", hours=48, **told).ends(FRIDAY, Calendar(country="US")) == FRIDAY + timedelta(
        hours=48
    )
    assert Deadline(id="d", days=2, **told).ends(FRIDAY, Calendar(country="US")) == FRIDAY + timedelta(days=2)


@pytest.mark.parametrize("country", ["unknown", "EU", "GB"])
def test_where_no_number_of_days_is_known_the_strictest_rule_applies(rules, country):
    ends, rule = rules.stop_by(FRIDAY, country)
    assert ends == FRIDAY + timedelta(hours=48)
    assert rule.id in {"gmail.unsub_deadline", "yahoo.unsub_deadline"}


@pytest.mark.parametrize("domain", ["gmail.com", "GMAIL.com", "ymail.com"])
def test_mailbox_providers_rules_apply_on_their_domains_in_any_country(rules, domain):
    ends, _ = rules.stop_by(FRIDAY, "US", address=f"ana@{domain}")
    assert ends == FRIDAY + timedelta(hours=48)


def test_mailbox_providers_rules_do_not_apply_elsewhere(rules):
    assert rules.stop_by(FRIDAY, "US", address="ana@notgmail.com")[1].id == "us.canspam.optout_deadline"


def test_the_country_may_be_stricter_than_the_mailbox(folder):
    change(folder / "jurisdictions" / "us.toml", "business_days = 10", "hours = 1")
    assert policy.load(folder).stop_by(FRIDAY, "US", address="ana@gmail.com")[0] == FRIDAY + timedelta(
        hours=1
    )


@pytest.mark.parametrize(
    ("old", "new"), [('confidence = "primary"', 'confidence = "memory"'), ('"draft"', '"retired"')]
)
def test_rules_from_memory_and_retired_ones_set_no_deadline(folder, old, new):
    change(folder / "jurisdictions" / "us.toml", old, new)
    # What is left knows no law of the country, so that the strictest of all applies.
    assert policy.load(folder).stop_by(FRIDAY, "US")[0] == FRIDAY + timedelta(hours=48)


def test_a_jurisdiction_tells_which_of_its_deadlines_count():
    told = {"hours": 1, "law": "l", "citation": "c"}
    good = Deadline(id="good", confidence="secondary", status="draft", **told)
    bad = Deadline(id="bad", confidence="memory", status="active", **told)
    assert Jurisdiction(code="X", title="X", deadlines=(good, bad)).counted == (good,)


def test_what_to_do_without_consent_depends_on_jurisdiction_and_state(folder):
    file = folder / "enforcement.toml"
    file.write_text(
        file.read_text() + '\n[without_consent.EU]\nunknown = "stop"\npending = "leave"\nexpired = "stop"\n'
    )
    found = policy.load(folder).enforcement
    assert (found.choice("EU", "unknown"), found.choice("EU", "pending")) == ("stop", "leave")
    assert found.choice("US", "unknown") == "report"

"""Everything that is wrong with a set is said at once, each with its file and its line."""

import shutil

import pytest

from service.errors import Misconfigured
from service.policy import files, load
from service.policy.checking import check
from service.policy.lines import line_of, path_in
from service.settings import HERE
from tests.policy.switching import switch_on

TEXT = '''\
code = "X"  # a comment with = in it

[table]
first = 1
text = """
second = 2
[table]
"""
third = 3

[[rules]]
id = "a"

[[rules.tests]]
expect = "in_time"

[[rules]]
id = "b"
dotted.key = 1

[[rules.tests]]
expect = "late"
[[rules.tests]]
expect = "late"
'''


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(HERE / "policies", tmp_path / "policies")


def change(file, old: str, new: str) -> int:
    """Change a file, and return the line on which the change stands."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    return text[: text.index(old)].count("\n") + 1


def told(folder) -> list[str]:
    return [str(problem) for problem in check(files.read(folder))]


def test_the_shipped_set_has_nothing_wrong():
    assert told(HERE / "policies") == []


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("code",), 1),
        (("table", "third"), 9),
        (("table", "second"), 3),
        (("rules", 0, "id"), 12),
        (("rules", 1, "id"), 18),
        (("rules", 1, "dotted", "key"), 19),
        (("rules", 1, "tests", 1, "expect"), 24),
        (("rules", 1, "missing"), 17),
        (("nowhere",), 1),
    ],
)
def test_a_path_leads_to_its_line_or_to_that_of_the_table_around_it(path, line):
    assert line_of(TEXT, path) == line


@pytest.mark.parametrize(
    ("message", "path"),
    [
        ("Expected `int`, got `str` - at `$.rules[3].months`", ("rules", 3, "months")),
        ("Object contains unknown field `surprise`", ("surprise",)),
        ("Object missing required field `law` - at `$.rules[0]`", ("rules", 0, "law")),
        ("Expected `str` - at `$.forms[...].title`", ("forms",)),
    ],
)
def test_the_path_in_a_message_is_found(message, path):
    assert path_in(message) == path


def test_text_that_is_no_toml_is_named_with_its_line(folder):
    line = change(folder / "jurisdictions" / "ca.toml", "business_days = 10", "business_days = = 10")
    [problem] = told(folder)
    assert problem.startswith(f"policies/jurisdictions/ca.toml:{line}: ")


def test_a_period_of_less_than_nothing_is_refused_on_its_line(folder):
    line = change(folder / "jurisdictions" / "us-ca.toml", "months = 24", "months = -3")
    (problem,) = told(folder)
    assert f"us-ca.toml:{line}: rule us.ca.record_retention" in problem
    assert ">= 0" in problem


def test_the_hash_of_a_quotation_that_is_none_is_refused_on_its_line(folder):
    old = 'url = "https://lawyours.news'
    line = change(folder / "jurisdictions" / "eu.toml", old, f'quote_hash = "the words"\n{old}')
    (problem,) = told(folder)
    assert f"eu.toml:{line}: rule eu.gdpr.erasure_exception_claims" in problem


def test_every_wrong_rule_is_named_with_its_line_and_id(folder):
    law = folder / "jurisdictions" / "ca.toml"
    lines = [
        change(law, "business_days = 10", 'business_days = "ten"'),
        change(law, "months = 6", "moons = 6"),
        change(law, 'forbids = ["login"]', 'forbids = "login"'),
    ]
    found = told(folder)
    assert [problem.split(": ")[0] for problem in found] == [
        f"policies/jurisdictions/ca.toml:{line}" for line in lines
    ]
    assert "rule ca.casl.implied_inquiry" in found[1]
    with pytest.raises(Misconfigured, match=rf"ca\.toml:{lines[0]}"):
        load(folder)


def test_files_are_judged_one_by_one(folder):
    change(folder / "enforcement.toml", 'weakest_grade = "C"', 'weakest_grade = "Z"')
    change(folder / "jurisdictions" / "nz.toml", 'calendar = "NZ"', 'calendar = "Atlantis"')
    assert [problem.split(":")[0] for problem in told(folder)] == [
        "policies/enforcement.toml",
        "policies/jurisdictions/nz.toml",
    ]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('zones = ["Asia/Singapore"]', 'zones = ["Asia/Atlantis"]', "there is no time zone 'Asia/Atlantis'"),
        ('calendar = "SG"', 'calendar = "SG"\nregions = ["Jurong"]', "no region 'Jurong' of 'SG'"),
        ('calendar = "SG"', 'calendar = "XX"', "calendar must be a two-letter country code"),
    ],
)
def test_business_days_that_nobody_can_count_are_refused_on_their_line(folder, old, new, words):
    law = folder / "jurisdictions" / "sg.toml"
    line = change(law, old, new) + new.count("\n")
    [problem] = told(folder)
    assert problem.startswith(f"policies/jurisdictions/sg.toml:{line}: {words}")
    with pytest.raises(Misconfigured, match=rf"sg\.toml:{line}"):
        load(folder)


def test_a_wrong_zone_is_told_beside_a_wrong_rule(folder):
    law = folder / "jurisdictions" / "sg.toml"
    rule = change(law, "business_days = 10", 'business_days = "ten"')
    zone = change(law, "Asia/Singapore", "Asia/Atlantis")
    assert [problem.split(":")[1] for problem in told(folder)] == [str(rule), str(zone)]


def test_business_days_without_zones_are_refused(folder):
    change(folder / "jurisdictions" / "sg.toml", 'zones = ["Asia/Singapore"]', "")
    problem = told(folder)[0]
    assert problem.startswith("policies/jurisdictions/sg.toml:")
    assert "business days need the calendar and the zones" in problem


def test_a_form_for_a_purpose_that_is_not_declared_is_named_where_it_says_so(folder):
    line = change(folder / "purposes.toml", 'purpose = "marketing"', 'purpose = "astrology"')
    assert told(folder)[0].startswith(f"policies/purposes.toml:{line}: form newsletter")


def test_everything_that_is_wrong_is_told_of_every_file_at_once(folder):
    files = ("enforcement.toml", "zoho.toml", "purposes.toml", "jurisdictions/au.toml")
    changes = {
        files[0]: [
            ('weakest_grade = "C"', 'weakest_grade = "Z"'),
            ("soft_bounce_days = 365", 'soft_bounce_days = "long"'),
            ("re_permission_share = 0.02", "re_permission_share = 2.0"),
            ('unknown = "report"', 'unknown = "shrug"'),
        ],
        files[1]: [
            ('opt_out_field = "Email_Opt_Out"', "opt_out_fields = 1"),
            ('key = "3z0', 'keys = "3z0'),
            ('direction = "crm_to_campaigns"', 'direction = "sideways"'),
        ],
        files[2]: [("double_opt_in = false", 'double_opt_in = "no"'), ("thanks = ", "thank = ")],
        files[3]: [("business_days = 5", "business_days = 5.5"), ("given = {", "givn = {")],
    }
    wrong = {
        f"policies/{name}:{change(folder / name, old, new)}"
        for name, pairs in changes.items()
        for old, new in pairs
    }
    found = {problem.partition(": ")[0].partition(" ")[0].rstrip(":") for problem in told(folder)}
    assert wrong <= found
    assert {one.rpartition(":")[0] for one in found} == {f"policies/{name}" for name in files}


def test_a_file_that_nothing_reads_is_named(folder):
    (folder / "log.toml").rename(folder / "logs.toml")
    [problem] = told(folder)
    assert problem.startswith("policies/logs.toml is read by nothing")


def test_an_example_that_does_not_hold_is_named_with_its_line(folder):
    law = folder / "jurisdictions" / "ca.toml"
    change(law, "months = 24", "months = 12")
    [problem] = told(folder)
    text = law.read_text().splitlines()
    line = int(problem.split(":")[1])
    assert text[line - 1] == "[[rules.tests]]"
    assert "answers expired, the example expects may_mail" in problem


def test_an_active_rule_without_a_signature_is_refused(folder):
    line = change(folder / "jurisdictions" / "us.toml", 'status = "draft"', 'status = "active"')
    [problem] = told(folder)
    assert problem.startswith(f"policies/jurisdictions/us.toml:{line}: rule us.canspam.optout_deadline")
    assert "verified_by" in problem


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('names = ["Canada"', 'names = ["Germany"', "country 'germany' stands in policies/jurisdictions/"),
        ('tlds = ["ca"]', 'tlds = ["de"]', "domain 'de' stands in policies/jurisdictions/"),
        ('id = "ca.casl.onus"', 'id = "ca.casl.records"', "rule 'ca.casl.records' stands in"),
        ('calendar = "CA"', 'calendar = "CA"\nwithin = "Narnia"', "no file has the code 'Narnia'"),
    ],
)
def test_what_stands_for_two_things_or_for_nothing_is_refused(folder, old, new, words):
    change(folder / "jurisdictions" / "ca.toml", old, new)
    assert any(words in problem for problem in told(folder))
    with pytest.raises(Misconfigured):
        load(folder)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(Misconfigured, match="there is no folder"):
        load(tmp_path / "nowhere")


def test_what_is_said_of_a_country_that_no_file_has_would_hold_for_nobody(folder):
    file = folder / "enforcement.toml"
    choices = 'unknown = "stop"\npending = "stop"\nexpired = "stop"\n'
    file.write_text(
        file.read_text() + f"\n[without_consent.CA]\n{choices}\n[without_consent.Germany]\n{choices}"
    )
    line = file.read_text().splitlines().index("[without_consent.Germany]") + 1
    [problem] = told(folder)
    assert problem.startswith(f"policies/enforcement.toml:{line}: ")
    assert "'Germany'" in problem


def test_a_rule_from_memory_is_not_switched_on_by_its_status(folder):
    switch_on(folder, "eu.eprivacy.soft_optin")
    [problem] = told(folder)
    assert problem.startswith("policies/jurisdictions/eu.toml:")
    assert "rule eu.eprivacy.soft_optin: read from memory it may only warn" in problem


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        (
            "jurisdictions/br.toml",
            'demands = ["notice_sha256", "control"]',
            'demands = ["shoe_size"]',
            "no evidence is called 'shoe_size'",
        ),
        (
            "jurisdictions/us-ca.toml",
            'forbids = ["opt_out_signal"]',
            'forbids = ["bad_mood"]',
            "no evidence is called 'bad_mood'",
        ),
        (
            "purposes.toml",
            'required_evidence = ["page_url", "control"]',
            'required_evidence = ["identity_check"]',
            "no post can bring 'identity_check'",
        ),
        (
            "purposes.toml",
            'required_evidence = ["page_url", "control"]',
            'required_evidence = []\nserves = ["XX"]',
            "form newsletter serves 'XX'",
        ),
    ],
)
def test_evidence_that_nobody_can_tell_and_places_that_no_file_knows_are_refused(
    folder, name, old, new, words
):
    file = folder / name
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    [wrong] = [one for one in check(files.read(folder)) if words in one.message]
    assert wrong.file == name
    assert wrong.line > 0


def test_a_form_that_can_never_bring_what_the_law_of_its_places_demands_is_refused(folder):
    law = folder / "jurisdictions" / "br.toml"
    law.write_text(law.read_text().replace('"notice_sha256", "control"', '"identity_check"', 1))
    switch_on(folder, "br.lgpd.consent")
    with pytest.raises(Misconfigured, match=r"br\.lgpd\.consent demands 'identity_check'"):
        load(folder)
    purposes = folder / "purposes.toml"
    purposes.write_text(
        purposes.read_text().replace("required_evidence =", 'serves = ["DE"]\nrequired_evidence =', 1)
    )
    assert load(folder).forms["newsletter"].serves == ("DE",)

"""What a run will cost is told without asking Zoho, and is what Zoho charges, to the credit."""

import json
import re
import shutil
import sqlite3
from contextlib import closing

import pytest

from service import app, settings
from service.cli import cost, estimating
from service.reconciler.watch import Watch
from service.settings import HERE
from service.zoho.scopes import ASKED
from service.zoho.simulator import names, running
from tests.cli.test_commands import call
from tests.running import claim


@pytest.fixture
def zoho():
    with running(contacts=200, seed=3) as simulator:
        yield simulator


@pytest.fixture
def connected(tmp_path, zoho):
    return {
        "CONSENT_STATE_DIR": str(tmp_path / "state"),
        "CONSENT_DATABASE_URL": f"sqlite:///{tmp_path / 'state' / 'ledger.db'}",
        "CONSENT_ZOHO_ACCOUNTS_URL": zoho.url,
        "CONSENT_ZOHO_CRM_URL": zoho.url,
        "CONSENT_ZOHO_CAMPAIGNS_URL": zoho.url,
        "CONSENT_ZOHO_CLIENT_ID": names.CLIENT_ID,
        "CONSENT_ZOHO_CLIENT_SECRET": names.CLIENT_SECRET,
        "CONSENT_ZOHO_REFRESH_TOKEN": names.REFRESH_TOKEN,
    }


def charged(zoho) -> tuple[int, dict[str, int]]:
    meter = zoho.control("meter")
    return meter["credits"], meter["calls"]


def charged_since(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {name: after[name] - before[name] for name in after if after[name] > before[name]}


def test_before_the_first_reading_an_estimate_wants_a_guess_and_asks_zoho_nothing(connected, zoho):
    code, _, err = call(connected, "reconcile", "--estimate")
    assert code == 3
    assert "--contacts" in err
    code, out, _ = call(connected, "reconcile", "--estimate", "--contacts", 50_000)
    assert code == 0
    assert "a guess" in out
    assert re.search(r"\d+\.\d+% of the 5,000 credits", out)
    assert sum(charged(zoho)[1].values()) == 0


def test_estimate_booked_and_charged_are_equal_to_the_credit_when_looking_and_when_writing(connected, zoho):
    assert call(connected, "reconcile", "--json")[0] == 0
    for options in ([], ["--apply"], []):
        before, calls_before = charged(zoho)
        _, out, _ = call(connected, "reconcile", "--json", "--estimate", *options)
        estimate = json.loads(out)
        assert charged(zoho) == (before, calls_before)
        _, out, _ = call(connected, "reconcile", "--json", *options)
        told = json.loads(out)
        after, calls_after = charged(zoho)
        assert (
            estimate["crm_credits"]
            == told["estimate"]["crm_credits"]
            == told["crm_credits"]
            == after - before
        )
        assert estimate["calls"]["crm"] == calls_after["crm"] - calls_before["crm"]
        assert estimate["calls"]["campaigns"] == calls_after["campaigns"] - calls_before["campaigns"]
        assert told["calls"] == charged_since(calls_before, calls_after)
        assert estimate["calls"]["oauth"] == told["calls"].get("oauth", 0)


def test_an_estimate_in_words_names_the_share_of_the_day_and_what_is_left(connected, zoho):
    call(connected, "reconcile")
    code, out, _ = call(connected, "reconcile", "--apply", "--estimate")
    assert code == 0
    assert "of the 60,000 credits of a day (enterprise)" in out
    used = charged(zoho)[0]
    assert f"{used:,} were used in the last 24 hours, {60_000 - used:,} are left" in out


def test_a_run_prints_what_was_booked_beside_the_estimate(connected, zoho):
    call(connected, "reconcile")
    before = charged(zoho)[0]
    _, out, _ = call(connected, "reconcile")
    spent = charged(zoho)[0] - before
    assert f"{spent:,} credits; as estimated\n" in out


def configured(environment):
    return {name.removeprefix("CONSENT_").lower(): value for name, value in environment.items()}


def consented(environment, emails):
    with app.running(settings.load(**configured(environment))) as parts:
        parts.intake.record([claim(email) for email in emails])


def told_and_charged(environment, zoho, *command, code=0):
    """Run a command after its estimate; both must be what it booked and what the simulator charged."""
    before, calls_before = charged(zoho)
    ended, told, err = call(environment, *command, "--estimate")
    assert ended == 0, err
    assert charged(zoho) == (before, calls_before), "an estimate asks Zoho nothing"
    ended, out, err = call(environment, *command)
    assert code is None or ended == code, err
    after, calls_after = charged(zoho)
    calls, spent = charged_since(calls_before, calls_after), after - before
    paid = cost.in_words(calls, spent)
    assert f"estimate: {paid}\n" in told or f"): {paid}\n" in told
    assert f"booked: {paid}; as estimated" in re.sub(r"\s+", " ", out + err)
    return calls


@pytest.mark.parametrize("options", [(), ("--last",)])
def test_an_audit_is_estimated_to_the_call(connected, zoho, options):
    call(connected, "reconcile")
    assert told_and_charged(connected, zoho, "audit", *options)["crm"] > 0


def test_looking_for_harm_is_estimated_to_the_call(connected, zoho):
    assert call(connected, "harm", "--estimate")[0] == 3
    call(connected, "reconcile")
    assert told_and_charged(connected, zoho, "harm")["campaigns"] > 2
    assert call(connected, "harm", "--last", "--estimate")[1].startswith("estimate: 0 calls of CRM, 0 of Ca")


def test_campaigns_that_were_never_read_make_the_estimate_of_harm_a_guess(connected, zoho):
    call(connected, "reconcile")
    assert "(a guess: campaigns that were never read count" in call(connected, "harm", "--estimate")[1]
    call(connected, "harm")
    assert "a guess" not in call(connected, "harm", "--estimate")[1]


def test_a_push_is_estimated_to_the_call(connected, zoho):
    consented(connected, zoho.control("truth/list_lag_missing")["emails"])
    call(connected, "reconcile")
    assert told_and_charged(connected, zoho, "push", "--apply", "--now")["campaigns"] > 0


def at_any_hour(environment, folder):
    """Return an environment whose policies have no off-hours: the test runs by day and by night."""
    shutil.copytree(HERE / "policies", folder)
    file = folder / "enforcement.toml"
    open_always = file.read_text().replace("off_hours = [20, 6]", "off_hours = [0, 0]")
    assert "off_hours = [0, 0]" in open_always
    file.write_text(open_always)
    return environment | {"CONSENT_POLICIES_DIR": str(folder)}


def with_second_list(zoho, folder, emails):
    """Govern a second list in the policies of this folder; it knows these people as gone."""
    second = (
        f'[[campaigns.lists]]\nname = "offers"\nkey = "{names.SIGNUP_LIST_KEY}"\npurpose = "marketing"\n\n'
    )
    file = folder / "zoho.toml"
    file.write_text(file.read_text().replace("[[campaigns.lists]]", second + "[[campaigns.lists]]", 1))
    for email in emails:
        zoho.world.db.execute(
            "INSERT INTO members (list_id, contact_id, status, added_at)"
            " SELECT lists.id, contacts.id, 'unsub', 0 FROM lists, contacts"
            " WHERE listkey = ? AND lower(email) = ?",
            (names.SIGNUP_LIST_KEY, email.lower()),
        )
    zoho.world.db.execute("UPDATE lists SET signup_form = 0")


@pytest.mark.parametrize("on_second", [None, 2])
def test_writing_what_was_approved_is_estimated_to_the_call(connected, zoho, on_second, tmp_path):
    emails = zoho.control("truth/opted_out_both")["emails"]
    connected = at_any_hour(connected, tmp_path / "policies")
    if on_second:
        with_second_list(zoho, tmp_path / "policies", emails[:on_second])
    consented(connected, emails)
    _, out, _ = call(connected, "reconcile", "--apply", "--json")
    plan = json.loads(out)["plan"]
    assert plan["permits"] == 2 * len(emails)
    number, password = json.loads(out)["run"], "correct horse battery\n"
    call(connected, "user", "add", "ana", "--role", "approver", told=password)
    approve = ("plan", "approve", number, "--digest", plan["digest"], "--as", "ana")
    assert call(connected, *approve, told=password)[0] == 0
    assert told_and_charged(connected, zoho, "plan", "apply")["crm"] == 1 + len(emails) + 1
    joined = "SELECT count(*) FROM members JOIN lists ON id = list_id WHERE listkey = ? AND status = 'active'"
    assert not on_second or zoho.world.db.execute(joined, (names.SIGNUP_LIST_KEY,)).fetchone()[0] >= on_second


def test_creating_canaries_is_estimated_to_the_call(connected, zoho, tmp_path):
    policies = tmp_path / "policies"
    shutil.copytree(HERE / "policies", policies)
    rules = policies / "enforcement.toml"
    text = rules.read_text()
    for name, domain in (("dead_domain", "dead.example.org"), ("domain", "ours.example.org")):
        text = re.sub(rf'^{name} = ".*"', f'{name} = "{domain}"', text, flags=re.MULTILINE)
    rules.write_text(text)
    chosen = connected | {"CONSENT_POLICIES_DIR": str(policies)}
    file = connected["CONSENT_DATABASE_URL"].removeprefix("sqlite:///")
    assert told_and_charged(chosen, zoho, "canaries", "create")["crm"] > 0
    assert told_and_charged(chosen, zoho, "canaries", "create") == {}
    zoho.world.db.execute("DELETE FROM crm_Leads WHERE Email LIKE 'consent-canary-%'")
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("DELETE FROM canary WHERE module = 'Leads'")  # as made when one module was enough
    assert "there is no canary in Leads for: granted" in call(chosen, "canaries", "show")[1]
    assert "campaigns" not in told_and_charged(chosen, zoho, "canaries", "create")
    call(chosen, "reconcile")
    assert told_and_charged(chosen, zoho, "reconcile")["crm"] > 0
    assert told_and_charged(chosen, zoho, "reconcile", "--apply")["crm"] > 0
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE canary SET mapping = x'00'")  # as after a change of the mapping
    twice = told_and_charged(chosen, zoho, "reconcile", "--apply")
    once = told_and_charged(chosen, zoho, "reconcile", "--apply")
    assert twice["crm"] == once["crm"] + len(("Contacts", "Leads"))
    assert twice["campaigns"] > once["campaigns"]


def test_shorter_pages_of_campaigns_are_found_out_once_and_reckoned_with(connected, zoho):
    zoho.control("switches", {"campaigns.range_over_max": "6502", "campaigns.largest_range": 40})
    assert call(connected, "reconcile")[0] == 0
    told_and_charged(connected, zoho, "reconcile")
    told_and_charged(connected, zoho, "audit")


def test_a_mapping_is_estimated_to_the_call(connected, zoho):
    assert told_and_charged(connected, zoho, "mapping")["crm"] > 0


def test_doctor_is_estimated_to_the_call(connected, zoho):
    call(connected, "reconcile")
    assert told_and_charged(connected, zoho, "doctor", code=None)["crm"] > 4


def test_doctor_without_an_organisation_has_nothing_to_estimate(connected):
    alone = {name: value for name, value in connected.items() if "ZOHO" not in name}
    code, _, err = call(alone, "doctor", "--estimate")
    assert code != 0
    assert "consent-ledger connect" in err


@pytest.mark.parametrize("options", [(), ("--replace",)])
def test_connecting_is_estimated_to_the_call(connected, zoho, options, tmp_path):
    unconnected = {name: value for name, value in connected.items() if "TOKEN" not in name}
    for more in ((), options):
        code = zoho.control("oauth/code", {"scope": ASKED, "minutes": 3})["code"]
        file = tmp_path / "code.json"
        file.write_text(json.dumps({"code": code}))
        file.chmod(0o600)
        spent = told_and_charged(unconnected, zoho, "connect", "--from", file, *more)
        assert spent == {"crm": 1, "oauth": 2 + len(more)}
        if not options:
            break
    assert "1 call of Zoho Accounts" in call(unconnected, "connect", "--revoke", "--estimate")[1]


def test_watching_is_estimated_to_the_call_a_look(connected, zoho):
    assert "nothing was read yet" in call(connected, "worker", "--estimate")[1]
    call(connected, "reconcile", "--apply")
    with app.running(settings.load(**configured(connected))) as parts, parts.zoho() as found:
        expected = estimating.of_watching(parts, seconds=15)
        watch = Watch(context=parts.context(found))
        watch.look()  # the first one finds what it compares with
        before, calls_before = charged(zoho)
        for _ in range(3):
            watch.look()
    after, calls_after = charged(zoho)
    assert expected.credits == after - before
    assert expected.calls["crm"] == calls_after["crm"] - calls_before["crm"]
    assert expected.calls["campaigns"] == calls_after["campaigns"] - calls_before["campaigns"]
    _, told, _ = call(connected, "worker", "--estimate")
    assert "34,560 calls of CRM" in told
    assert "nightly jobs, estimate: " in told
    assert sum(int(units) for units in re.findall(r"\d+", told.rpartition("hours: reconcile ")[2])) == after

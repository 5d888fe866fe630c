"""What a run will cost is told without asking Zoho, and is what Zoho charges, to the credit."""

import json
import re
import shutil

import pytest

from service.settings import HERE
from service.zoho.simulator import names, running
from tests.cli.test_commands import call


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
    assert f"{spent:,} credits; estimated" in out
    assert f"{spent:,} credits\n" in out


def test_an_audit_of_the_last_reading_is_estimated_to_the_call(connected, zoho):
    call(connected, "reconcile")
    _, told, _ = call(connected, "audit", "--last", "--estimate")
    before, calls_before = charged(zoho)
    assert call(connected, "audit", "--last")[0] == 0
    after, calls_after = charged(zoho)
    crm, campaigns = (calls_after[name] - calls_before[name] for name in ("crm", "campaigns"))
    assert f"{crm} calls of CRM, {campaigns} of Campaigns, {after - before} credits" in told


def test_looking_for_harm_is_estimated_within_a_few_calls(connected, zoho):
    assert call(connected, "harm", "--estimate")[0] == 3
    call(connected, "reconcile")
    before, calls_before = charged(zoho)
    code, told, _ = call(connected, "harm", "--estimate")
    assert code == 0
    assert charged(zoho) == (before, calls_before)
    assert call(connected, "harm")[0] == 0
    after, calls_after = charged(zoho)
    expected = int(re.search(r"([\d,]+) of Campaigns, 0 credits", told)[1])
    assert after == before
    assert 0 <= calls_after["campaigns"] - calls_before["campaigns"] - expected <= 5
    assert expected > 2


def test_creating_canaries_is_estimated_to_the_call(connected, zoho, tmp_path):
    policies = tmp_path / "policies"
    shutil.copytree(HERE / "policies", policies)
    rules = policies / "enforcement.toml"
    text = rules.read_text()
    for name, domain in (("dead_domain", "dead.example.org"), ("domain", "ours.example.org")):
        text = re.sub(rf'^{name} = ".*"', f'{name} = "{domain}"', text, flags=re.MULTILINE)
    rules.write_text(text)
    chosen = connected | {"CONSENT_POLICIES_DIR": str(policies)}
    before, calls_before = charged(zoho)
    code, told, _ = call(chosen, "canaries", "create", "--estimate")
    assert code == 0
    assert charged(zoho) == (before, calls_before)
    assert call(chosen, "canaries", "create")[0] == 0
    after, calls_after = charged(zoho)
    crm, campaigns = (calls_after[name] - calls_before[name] for name in ("crm", "campaigns"))
    assert f"{crm} calls of CRM, {campaigns} of Campaigns, {after - before} credits" in told
    assert "0 calls of CRM, 0 of Campaigns" in call(chosen, "canaries", "create", "--estimate")[1]


def test_a_mapping_is_estimated_to_the_call(connected, zoho):
    before, calls_before = charged(zoho)
    code, told, _ = call(connected, "mapping", "--estimate")
    assert code == 0
    assert charged(zoho) == (before, calls_before)
    assert call(connected, "mapping")[0] == 0
    after, calls_after = charged(zoho)
    crm, campaigns = (calls_after[name] - calls_before[name] for name in ("crm", "campaigns"))
    assert crm > 0
    assert f"{crm} calls of CRM, {campaigns} of Campaigns, {after - before} credits" in told

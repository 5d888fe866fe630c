"""Policies at work in the ledger: facts that set clocks, places and reasons, adopting and folding again."""

import json
import shutil
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select, update

from service import policy
from service.consent import Category, State
from service.db import Database, crm_address, crm_record, happening, policy_set, standing, task
from service.errors import Malformed, Tampered
from service.intake.policies import adopt, adopted, refold
from service.ledger.entry import check
from service.settings import HERE
from tests import running
from tests.policy.switching import switch_on
from tests.running import claim, one_standing, withdrawal

ANA = "ana@acme.example"
NOW = datetime.now(UTC)


def ago(days: int) -> str:
    return f"{NOW - timedelta(days=days):%Y-%m-%d}"


def implied(fact: str, days: int, **more):
    evidence = {"basis": "implied", "fact": fact, "fact_at": ago(days), "source_system": "shop"}
    return claim(ANA, **{"country": "Canada", "source": "api:shop", "evidence": evidence, **more})


@pytest.fixture(scope="module")
def signed(tmp_path_factory) -> policy.PolicySet:
    """The shipped set with Canada's implied consents switched on."""
    folder = shutil.copytree(HERE / "policies", tmp_path_factory.mktemp("policies") / "policies")
    for rule in ("ca.casl.implied_purchase", "ca.casl.implied_inquiry"):
        switch_on(folder, rule)
    return policy.load(folder)


@pytest.fixture
def canadian(sqlite_url, signed):
    with closing(Database(sqlite_url)) as database, running.start(database, policy=signed) as intake:
        yield intake


def opened(intake, index: int) -> dict:
    with intake.db.read() as tx:
        return dict(intake.vault.open_payload(tx, index).fields)


def put_in_crm(intake, address: str, *countries: str) -> None:
    with intake.db.begin() as tx:
        for number, country in enumerate(countries):
            where = {"module": "Contacts", "record_id": str(number)}
            told = {"opted_out": 0, "modified_at": NOW, "jurisdiction": country, "views": "", "seen_run": 1}
            tx.execute(insert(crm_record).values(**where, **told))
            index = intake.vault.address_index(address)
            tx.execute(insert(crm_address).values(**where, address_index=index, address=b"sealed"))


@pytest.mark.parametrize(
    ("fact", "days", "state"),
    [
        ("purchase", 700, "permitted"),
        ("purchase", 740, "expired"),
        ("inquiry", 170, "permitted"),
        ("inquiry", 190, "expired"),
    ],
)
def test_an_implied_consent_lasts_as_long_as_the_policy_says(canadian, fact, days, state):
    [found] = canadian.record([implied(fact, days)])
    row = one_standing(canadian, found.subject)
    assert (row.state, row.rule) == (state, f"ca.casl.implied_{fact}")
    assert row.policy == canadian.policy.digest
    assert f"ca.casl.implied_{fact}" in row.reason


def test_with_the_shipped_drafts_nothing_implied_permits(on_sqlite):
    [found] = on_sqlite.record([implied("purchase", 10)])
    row = one_standing(on_sqlite, found.subject)
    assert row.state == "unknown"
    assert "ca.casl.implied_purchase would let that count, but is not in force" in row.reason


def test_the_clock_runs_from_the_facts_in_the_ledger_not_from_the_day_they_were_told(canadian):
    [found] = canadian.record([implied("inquiry", 100)])
    with canadian.db.read() as tx:
        told = canadian.events(tx, found.subject)[-1].recorded_at
        states = [
            canadian.standings(tx, found.subject, told + timedelta(days=days, minutes=1))[0].state
            for days in (0, 70, 90)
        ]
    assert states == [State.PERMITTED, State.PERMITTED, State.EXPIRED]


@pytest.mark.parametrize("evidence", [{}, {"fact": "purchase"}, {"fact": "purchase", "fact_at": "in May"}])
def test_an_implied_consent_without_its_fact_or_day_is_refused(canadian, evidence):
    told = claim(ANA, evidence={"basis": "implied", **evidence})
    with pytest.raises(Malformed):
        canadian.submit(told)


def test_an_entry_says_whose_law_it_was_judged_under_and_why(canadian):
    put_in_crm(canadian, "bo@acme.example", "DE")
    people = {ANA: "Canada", "bo@acme.example": None, "cy@firma.fr": None, "di@acme.example": None}
    found = canadian.record([withdrawal(address, country=country) for address, country in people.items()])
    told = [opened(canadian, one.index) for one in found]
    assert [fields["jurisdiction"] for fields in told] == ["CA", "DE", "FR", "unknown"]
    reasons = ("the event tells", "CRM tells", "ends in .fr", "the strictest rules hold")
    assert all(words in fields["jurisdiction_reason"] for words, fields in zip(reasons, told, strict=True))
    assert {fields["policy"] for fields in told} == {canadian.policy.digest.hex()}


def test_records_that_tell_different_countries_make_the_strictest_rules_hold(canadian):
    put_in_crm(canadian, ANA, "CA", "DE", "unknown")
    [found] = canadian.record([implied("purchase", 10, country=None)])
    assert one_standing(canadian, found.subject).state == "unknown"
    assert "different countries" in opened(canadian, found.index)["jurisdiction_reason"]


def test_what_crm_tells_of_the_country_sets_the_clock_where_the_event_tells_none(canadian):
    put_in_crm(canadian, ANA, "CA", "unknown")
    [found] = canadian.record([implied("purchase", 10, country=None)])
    assert one_standing(canadian, found.subject).state == "permitted"


def test_a_withdrawal_is_due_by_the_law_of_the_domain_where_nothing_else_tells(canadian):
    canadian.record([withdrawal("a@shop.ca"), withdrawal("b@gmail.com")])
    with canadian.db.read() as tx:
        rules = list(tx.scalars(select(task.c.due_rule).order_by(task.c.id)))
    assert rules[0] == "ca.casl.unsub_deadline"
    assert rules[1] in {"gmail.unsub_deadline", "yahoo.unsub_deadline"}


def test_free_text_about_a_country_is_kept_nowhere_in_the_clear(canadian):
    [found] = canadian.record([claim(ANA, country="12 Elm Street, Springfield")])
    with canadian.db.read() as tx:
        kept = list(tx.scalars(select(happening.c.country).where(happening.c.sub == found.subject)))
    assert set(kept) == {None}


# --- adopting ---


def test_the_first_entrys_set_is_kept_and_is_the_adopted_one(on_sqlite):
    with on_sqlite.db.read() as tx:
        found = adopted(on_sqlite, tx)
    assert (found.index, found.policy.digest) == (0, on_sqlite.policy.digest)


def test_adopting_a_set_is_an_entry_that_names_both_digests(intake, signed):
    index = adopt(intake, signed, by="counsel")
    with intake.db.read() as tx:
        entry = check(intake.store.entries(tx, [index])[index], [intake.keys.ingest.verifier])
        found = adopted(intake, tx)
    assert entry.category == Category.POLICY_ADOPTED
    assert dict(entry.extra) == {"policy": signed.digest.hex(), "previous": intake.policy.digest.hex()}
    assert (found.index, found.by, found.policy.digest) == (index, "counsel", signed.digest)


def test_the_adopted_set_is_not_adopted_twice(on_sqlite, signed):
    first = adopt(on_sqlite, signed, by="counsel")
    assert adopt(on_sqlite, signed, by="somebody else") == first
    assert adopt(on_sqlite, on_sqlite.policy, by="counsel") > first


def test_files_that_were_changed_after_they_were_adopted_are_noticed(on_sqlite, signed):
    index = adopt(on_sqlite, signed, by="counsel")
    with on_sqlite.db.begin() as tx:
        files = json.loads(tx.scalar(select(policy_set.c.files).where(policy_set.c.idx == index)))
        files["enforcement.toml"] += "# changed\n"
        tx.execute(update(policy_set).where(policy_set.c.idx == index).values(files=json.dumps(files)))
    with on_sqlite.db.read() as tx, pytest.raises(Tampered, match=f"entry {index}"):
        adopted(on_sqlite, tx)


def test_standings_are_folded_again_under_the_adopted_set(intake, signed):
    told = [implied("purchase", 10), claim("bo@acme.example"), withdrawal("cy@acme.example")]
    ana, bo, cy = (one.subject for one in intake.record(told))
    assert one_standing(intake, ana).state == "unknown"
    assert refold(intake, signed) == 3
    assert [one_standing(intake, sub).state for sub in (ana, bo, cy)] == ["permitted", "permitted", "refused"]
    with intake.db.read() as tx:
        assert set(tx.scalars(select(standing.c.policy))) == {signed.digest}
    assert refold(intake, signed) == 0

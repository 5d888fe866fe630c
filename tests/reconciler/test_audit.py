"""The sync audit against planted truth: found equals planted, and a clean organisation raises no alarm."""

import csv
import io
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from service.errors import NotFound
from service.reconciler import showing
from service.reconciler.audit import Asked, Verdict, audit
from service.reconciler.audit.budget import Spending, forecast
from service.reconciler.audit.duplicates import write_csv
from service.reconciler.audit.fields import Metadata
from service.reconciler.push import push
from service.reports.audit.showing import trend
from service.zoho.metadata import ZohoMetadata
from tests.running import claim

from .conftest import world

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
PLENTY = Spending(
    allowance=100_000, edition="professional", by_hour=(0,) * 24, by_whom={}, unknown=None, next_runs={}
)


def audited(w, *, run=True, spending=PLENTY):
    if run:
        w.run(applying=False)
    metadata = ZohoMetadata(w.zoho.crm, w.zoho.campaigns).describe(["Contacts", "Leads"])
    with w.db.begin() as tx:
        found = audit(tx, w.context.policy, Asked(metadata=metadata, spending=spending), now=w.clock())
    return {point.key: point for point in found.points}


def figures(point):
    return {one.label: one.value for one in point.figures}


@pytest.fixture
def messy(sqlite_url):
    with world(sqlite_url, 250) as w:
        yield w


def clean(w):
    """Take everybody out of the organisation of whom anything was planted but what is in order."""
    db = w.sim.world.db
    fine = "('opted_out_both', 'hard_bounced_both', 'single_soft_bounce')"
    gone = f"SELECT email FROM truth WHERE key NOT IN {fine}"
    db.execute(f"DELETE FROM members WHERE contact_id IN (SELECT id FROM contacts WHERE email IN ({gone}))")
    db.execute(f"DELETE FROM outcomes WHERE contact_id IN (SELECT id FROM contacts WHERE email IN ({gone}))")
    db.execute(f"DELETE FROM contacts WHERE email IN ({gone})")
    for module in ("Contacts", "Leads"):
        db.execute(f"DELETE FROM crm_{module} WHERE Email COLLATE NOCASE IN ({gone})")


def test_found_equals_planted_in_a_messy_organisation(database_url):
    with world(database_url, 200) as w:
        planted, points = Counter(w.planted()), audited(w)
    assert points["unsubscribes"].people == (
        planted["unsubscribed_not_in_crm"] + planted["complaint_not_in_crm"]
    )
    assert points["bounces"].people == (
        planted["hard_bounce_not_in_crm"] + planted["repeated_soft_bounce_not_in_crm"]
    )
    assert points["lists"].people == planted["list_lag_missing"] + planted["list_lag_stale"]
    assert (
        figures(points["duplicates"])["with contradicting Email Opt Out"]
        == (planted["duplicate_contradiction"])
    )
    assert points["permission"].people == (
        planted["opted_out_by_hand"]
        + planted["duplicate_contradiction"]
        + planted["permission_refused_in_campaigns"]
    )
    assert points["mapping"].verdict is Verdict.PASS
    assert {point.verdict for key, point in points.items() if key not in ("mapping", "budget")} == {
        Verdict.FAIL
    }


def test_a_clean_organisation_raises_no_alarm(database_url):
    with world(database_url, 100) as w:
        clean(w)
        points = audited(w)
    assert {(point.verdict, point.people) for point in points.values()} == {(Verdict.PASS, 0)}
    assert all(not point.advice for point in points.values())


def test_a_repaired_organisation_is_in_order_but_for_what_only_people_may_mend(messy):
    messy.run()
    points = audited(messy)
    assert {key for key, point in points.items() if point.verdict is Verdict.FAIL} == {"lists"}
    assert points["duplicates"].verdict is Verdict.WARN


def test_who_came_back_with_fresh_consent_is_no_unsubscribe_that_did_not_flow_back(messy):
    email = messy.emails("unsubscribed_not_in_crm")[0]
    messy.intake.record([claim(email, received_at=messy.clock())])
    before = len(messy.emails("unsubscribed_not_in_crm")) + len(messy.emails("complaint_not_in_crm"))
    assert audited(messy)["unsubscribes"].people == before - 1


def test_an_adversarial_organisation_is_counted_person_by_person(messy):
    """Overlapping troubles, capitals, second addresses: an oracle counts the simulator's rows."""
    db = messy.sim.world.db
    victims = [messy.ordinary()]
    some = db.execute(
        "SELECT email FROM contacts WHERE email NOT IN (SELECT email FROM truth) LIMIT 7"
    ).fetchall()
    victims += [row[0] for row in some if row[0] not in victims][:6]
    twice, second, capital, bounced, complained, both, hidden = victims
    messy.sim.control("campaigns/unsubscribe", {"email": twice})
    messy.sim.control("campaigns/bounce", {"email": twice, "type": "hard"})
    db.execute(
        "UPDATE crm_Contacts SET Secondary_Email = ? WHERE id = (SELECT max(id) FROM crm_Contacts)", (second,)
    )
    db.execute("UPDATE crm_Contacts SET Email = upper(Email) WHERE Email = ?", (capital,))
    messy.sim.control("campaigns/unsubscribe", {"email": capital})
    for _ in range(3):
        messy.sim.control("campaigns/bounce", {"email": bounced, "type": "soft"})
    messy.sim.control("campaigns/complain", {"email": complained})
    messy.sim.control("crm/set", {"email": both, "fields": {"Email_Opt_Out": True}})
    messy.sim.control("crm/set", {"email": hidden, "fields": {"Newsletter": False}})
    db.execute("UPDATE crm_Contacts SET Newsletter = 0 WHERE Email = ?", (capital.upper(),))
    points, truth = audited(messy), oracle(db)
    assert points["unsubscribes"].people == truth["left"]
    assert points["bounces"].people == truth["bounced"]
    assert points["duplicates"].people == truth["twins"]
    assert figures(points["duplicates"])["with contradicting Email Opt Out"] == truth["contradicting"]
    assert points["permission"].people == truth["two fields"]
    lists = figures(points["lists"])
    assert lists["newsletter: in the view, not on the list"] == truth["missing"] > 0
    assert lists["newsletter: on the list, not in the view"] == truth["stale"] > 0


def oracle(db) -> Counter:
    """Count as a person with pencil and paper would, from the simulator's own rows."""
    records, viewed = {}, {}
    for module in ("Contacts", "Leads"):
        rows = db.execute(f"SELECT id, Email, Secondary_Email, Email_Opt_Out, Newsletter FROM crm_{module}")
        for number, *emails, opted_out, in_view in rows:
            for email in {e.lower() for e in emails if e}:
                records.setdefault(email, {})[module, number] = bool(opted_out)
                viewed[email] = viewed.get(email, False) or bool(in_view)
    outcomes = {}
    for email, action in db.execute(
        "SELECT c.email, o.action FROM outcomes o JOIN contacts c ON c.id = o.contact_id"
    ):
        outcomes.setdefault(email.lower(), []).append(action)
    found = Counter()
    rows = db.execute(
        "SELECT c.email, c.permission, m.status FROM contacts c LEFT JOIN members m"
        " ON m.contact_id = c.id AND m.list_id = 1"
    )
    for email, permission, status in rows:
        mine, told = list(records.get(email.lower(), {}).values()), outcomes.get(email.lower(), [])
        still_open = bool(mine) and not all(mine)
        left = status == "unsub" or "optoutcontacts" in told or "spamcontacts" in told
        hard = "senthardbounce" in told or (status == "bounce" and told.count("sentsoftbounce") < 3)
        soft = told.count("sentsoftbounce") >= 3 and not hard and not left
        found["left"] += left and still_open
        found["bounced"] += (hard or soft) and still_open
        shown = status == "active"
        found["two fields"] += shown and permission == "Granted" and any(mine)
        found["two fields"] += shown and permission == "Refused" and bool(mine) and not any(mine)
    members = (
        "SELECT c.email, m.status FROM members m JOIN contacts c ON c.id = m.contact_id WHERE m.list_id = 1"
    )
    listed = {email.lower(): status for email, status in db.execute(members)}
    for email, flags in records.items():
        found["missing"] += viewed[email] and not any(flags.values()) and email not in listed
        found["stale"] += not viewed[email] and listed.get(email) == "active"
    for flags in records.values():
        found["twins"] += len(flags) > 1
        found["contradicting"] += len(set(flags.values())) > 1
    return found


def test_the_sync_switch_looks_on_where_everything_flowed_back(messy):
    clean(messy)
    assert "looks on" in audited(messy)["unsubscribes"].summary


def test_the_sync_switch_looks_off_where_we_had_to_write_what_it_should_have_brought(messy):
    messy.sim.control("campaigns/unsubscribe", {"email": messy.ordinary()})
    messy.sim.control("clock", {"advance_s": 2 * 86_400})
    messy.run()
    unsubscribes = audited(messy)["unsubscribes"]
    assert unsubscribes.verdict is Verdict.PASS
    assert "looks off now" in unsubscribes.summary


def test_where_we_were_faster_than_any_sync_its_switch_does_not_show(messy):
    messy.run()
    messy.sim.control("campaigns/unsubscribe", {"email": messy.ordinary()})
    messy.run()
    assert "switch does not show" in audited(messy)["unsubscribes"].summary


def test_no_sync_is_safe_while_duplicates_contradict(messy):
    messy.run(applying=False)
    metadata = Metadata(crm={}, campaigns={})
    with messy.db.begin() as tx:
        asked = Asked(metadata=metadata, spending=PLENTY)
        found = audit(tx, messy.context.policy, asked, now=messy.clock())
    assert not found.is_safe
    messy.run()
    with messy.db.begin() as tx:
        assert audit(tx, messy.context.policy, asked, now=messy.clock()).is_safe


def test_the_merge_list_names_records_and_nobody(messy):
    messy.run(applying=False)
    target = io.StringIO()
    with messy.db.read() as tx:
        written = write_csv(tx, target)
    rows = list(csv.DictReader(io.StringIO(target.getvalue())))
    assert len(rows) == written
    assert "@" not in target.getvalue()
    by_person = {}
    for row in rows:
        by_person.setdefault(row["person"], []).append(row)
    assert len(by_person) == messy.planted()["duplicate_contradiction"] + len(
        messy.emails("duplicate_harmless")
    )
    for mine in by_person.values():
        assert [row["keep"] for row in mine] == ["yes", *[""] * (len(mine) - 1)]
        if mine[0]["contradicts"] == "yes":
            assert mine[0]["opted_out"] == "true"


def test_the_merge_list_names_people_as_the_plan_does(messy):
    planned = messy.run(applying=False)
    target = io.StringIO()
    with messy.db.read() as tx:
        write_csv(tx, target)
        shown = showing.show(tx, planned.run_id, now=messy.clock())
    rows = csv.DictReader(io.StringIO(target.getvalue()))
    contradicting = {row["person"] for row in rows if row["contradicts"] == "yes"}
    assert contradicting
    assert contradicting <= {line.person for line in shown.lines}


def test_each_audit_tells_how_many_more_or_fewer_than_the_one_before(messy):
    assert {point.trend for point in audited(messy).values()} == {None}
    before = audited(messy)["unsubscribes"]
    messy.sim.control("campaigns/unsubscribe", {"email": messy.ordinary()})
    assert before.trend == 0
    assert audited(messy)["unsubscribes"].trend == 1


def test_the_budget_and_the_mapping_tell_as_well_how_they_moved(messy):
    much, little = (replace(PLENTY, by_hour=(count, *(0,) * 23)) for count in (54, 12))
    points = audited(messy, spending=much)
    assert {trend(points[key]) for key in ("budget", "mapping")} == {""}
    messy.sim.control("crm/field", {"module": "Contacts", "field": "Phone", "data_type": "text"})
    points = audited(messy, run=False, spending=little)
    assert trend(points["budget"]) == "42 fewer credits than before"
    assert trend(points["mapping"]) == "1 more defect than before"
    assert (points["budget"].people, points["mapping"].people) == (0, 0)


def test_the_oldest_of_plain_duplicates_is_when_the_second_record_was_made(database_url):
    with world(database_url, 60) as w:
        clean(w)
        some = w.sim.world.db.execute("SELECT id, Email FROM crm_Contacts ORDER BY id LIMIT 3").fetchall()
        made = int(w.clock().timestamp()) - 86_400 * 100
        for age, (number, _) in enumerate(some):
            w.sim.world.db.execute(
                "UPDATE crm_Contacts SET Email = ?, Secondary_Email = NULL, Email_Opt_Out = 0,"
                " Created_Time = ? WHERE id = ?",
                (some[0][1], made + age * 86_400, number),
            )
        point = audited(w)["duplicates"]
    assert (point.verdict, point.people) == (Verdict.WARN, 1)
    assert point.oldest == datetime.fromtimestamp(made + 86_400, UTC)


def test_without_a_reading_there_is_nothing_to_audit(messy):
    with pytest.raises(NotFound, match="consent-ledger reconcile"):
        audited(messy, run=False)


def test_what_is_missing_on_a_list_is_pushed_where_the_ledger_permits_and_nowhere_else(messy):
    permitted, (unknown, *_) = messy.ordinary(), messy.emails("list_lag_missing")
    gone = "SELECT id FROM contacts WHERE email = ?"
    messy.sim.world.db.execute(f"DELETE FROM members WHERE contact_id IN ({gone})", (permitted,))
    messy.intake.record([claim(permitted, received_at=messy.clock())])
    messy.run(applying=False)
    [told] = push(messy.context)
    assert (told.pushed, told.total) == (1, 1)
    assert messy.person(permitted)["campaigns"]["lists"]
    assert not messy.person(unknown)["campaigns"]["lists"]
    assert [again.total for again in push(messy.context)] == [0]


def test_the_hour_in_which_the_allowance_runs_out_is_foretold():
    busy = replace(PLENTY, by_hour=(20_000, 20_000, 20_000, *(0,) * 21), by_whom={"watch": 60_000})
    planned = forecast(busy, contacts=10_000, now=NOW)
    assert (planned.in_crm, planned.minutes) == (1_000, 23)
    assert planned.runs_out_at == NOW + timedelta(hours=40_000 / 20_000)
    assert forecast(PLENTY, contacts=10_000, now=NOW).runs_out_at is None


def test_runs_that_no_longer_fit_are_a_failure_and_a_quiet_window_is_named(messy):
    spent = replace(
        PLENTY, by_hour=(0,) * 23 + (99_500,), by_whom={"nightly": 99_500}, next_runs={"nightly run": 600}
    )
    messy.run(applying=False)
    metadata = ZohoMetadata(messy.zoho.crm, messy.zoho.campaigns).describe(["Contacts", "Leads"])
    with messy.db.begin() as tx:
        asked = Asked(metadata=metadata, spending=spent, push=20_000)
        found = audit(tx, messy.context.policy, asked, now=messy.clock())
    [point] = [one for one in found.points if one.key == "budget"]
    assert point.verdict is Verdict.FAIL
    assert any("UTC, when least is used" in line for line in point.advice)


@pytest.mark.parametrize(
    ("contacts", "minutes"), [(1, 1), (450, 1), (9_000, 20), (24_000, 120), (140_000, 2_880)]
)
def test_a_push_takes_as_long_as_the_narrowest_window_of_campaigns(contacts, minutes):
    assert forecast(PLENTY, contacts=contacts, now=NOW).minutes == minutes

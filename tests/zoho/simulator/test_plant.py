"""The planted truth, recounted from the raw state by other means than planted it."""

import pytest

from service.zoho.simulator.app import planted
from service.zoho.simulator.kinds import KINDS, numbers

NOW = 1_790_000_000

RECORDS = """
WITH records AS (
    SELECT lower(Email) AS email, Email_Opt_Out AS out, Newsletter AS view FROM crm_Contacts
    UNION ALL SELECT lower(Email), Email_Opt_Out, Newsletter FROM crm_Leads
), people AS (
    SELECT r.email, count(*) AS copies, min(r.out) AS every_out, max(r.out) AS some_out, max(r.view) AS view,
        m.status, c.dnm, c.permission, c.id
    FROM records r LEFT JOIN contacts c ON c.email = r.email LEFT JOIN members m ON m.contact_id = c.id
    GROUP BY r.email
), soft AS (
    SELECT contact_id, count(*) AS times FROM outcomes WHERE action = 'sentsoftbounce' GROUP BY contact_id
), found AS (
    SELECT contact_id, group_concat(DISTINCT action) AS actions FROM outcomes
    WHERE action IN ('optoutcontacts', 'spamcontacts', 'senthardbounce') GROUP BY contact_id
)
SELECT p.email FROM people p
LEFT JOIN soft s ON s.contact_id = p.id LEFT JOIN found f ON f.contact_id = p.id WHERE
"""
SEEN = {
    "unsubscribed_not_in_crm": "dnm = 'self' AND actions = 'optoutcontacts' AND NOT some_out",
    "hard_bounce_not_in_crm": "status = 'bounce' AND actions = 'senthardbounce' AND NOT some_out",
    "repeated_soft_bounce_not_in_crm": "times = 3 AND status = 'active' AND NOT some_out",
    "complaint_not_in_crm": "dnm = 'complaint' AND actions = 'spamcontacts' AND NOT some_out",
    "duplicate_contradiction": "copies = 2 AND some_out AND NOT every_out AND status = 'active'",
    "opted_out_by_hand": "copies = 1 AND every_out AND status = 'active' AND permission = 'Granted'",
    "permission_refused_in_campaigns": "permission = 'Refused' AND status = 'active' AND NOT some_out",
    "list_lag_missing": "status IS NULL AND id IS NULL AND view AND NOT some_out",
    "list_lag_stale": "status = 'active' AND NOT view AND NOT some_out",
    "opted_out_both": "status = 'unsub' AND dnm = 'self' AND every_out",
    "hard_bounced_both": "status = 'bounce' AND every_out",
    "single_soft_bounce": "times = 1 AND status = 'active' AND NOT some_out",
    "duplicate_harmless": "copies = 2 AND NOT some_out",
}


@pytest.fixture(params=[20, 200, 5_000], ids=str)
def world(request):
    world = planted(request.param, seed=request.param, now=NOW)
    yield world
    world.db.close()


def emails(world, query, *values):
    return {email for (email,) in world.db.execute(query, values)}


def test_every_kind_is_found_again_exactly_where_it_was_planted(world):
    for kind in KINDS:
        planted_here = emails(world, "SELECT email FROM truth WHERE key = ?", kind.key)
        assert emails(world, RECORDS + SEEN[kind.key]) == planted_here, kind.key
        assert len(planted_here) == numbers(world.contacts)[kind.key] >= 1


def test_no_person_is_of_two_kinds(world):
    assert world.db.execute("SELECT count(*), count(DISTINCT email) FROM truth").fetchone()[0] == len(
        emails(world, "SELECT email FROM truth")
    )


def test_everybody_else_is_mailed_and_nobody_knows_why(world):
    ordinary = emails(
        world,
        RECORDS + "copies = 1 AND NOT some_out AND view AND status = 'active' AND permission = 'Granted'"
        " AND dnm IS NULL AND times IS NULL AND actions IS NULL",
    )
    planted_people = emails(world, "SELECT email FROM truth")
    assert not ordinary & planted_people
    assert len(ordinary) + len(planted_people) == world.contacts


def test_three_soft_bounces_are_of_campaigns_in_a_row(world):
    rows = world.db.execute(
        "SELECT o.contact_id, k.position FROM outcomes o JOIN campaigns k ON k.id = o.campaign_id"
        " JOIN contacts c ON c.id = o.contact_id JOIN truth t ON t.email = c.email"
        " WHERE t.key = 'repeated_soft_bounce_not_in_crm' AND o.action = 'sentsoftbounce' ORDER BY 1, 2"
    ).fetchall()
    by_person = {}
    for contact, position in rows:
        by_person.setdefault(contact, []).append(position)
    assert all(positions == list(range(positions[0], positions[0] + 3)) for positions in by_person.values())


def test_some_opt_out_hides_under_a_child_of_the_ab_test(world):
    (count,) = world.db.execute(
        "SELECT count(*) FROM outcomes o JOIN campaigns k ON k.id = o.campaign_id"
        " WHERE k.parent_id IS NOT NULL AND o.action = 'optoutcontacts'"
    ).fetchone()
    assert count >= 1


def test_an_outcome_happens_to_somebody_the_mail_was_sent_to_before(world):
    (orphans,) = world.db.execute(
        "SELECT count(*) FROM outcomes o LEFT JOIN outcomes s ON s.action = 'sentcontacts'"
        " AND s.campaign_id = o.campaign_id AND s.contact_id = o.contact_id AND s.at <= o.at"
        " WHERE s.contact_id IS NULL"
    ).fetchone()
    assert orphans == 0


def test_who_is_in_do_not_mail_is_off_the_list(world):
    rows = world.db.execute(
        "SELECT DISTINCT m.status FROM members m JOIN contacts c ON c.id = m.contact_id"
        " WHERE c.dnm IS NOT NULL"
    )
    assert rows.fetchall() == [("unsub",)]


def test_addresses_are_of_reserved_domains_and_times_of_the_last_two_years(world):
    records = world.db.execute("SELECT Email, Created_Time, Modified_Time FROM crm_Contacts").fetchall()
    assert all(
        email.rpartition("@")[2].endswith(("example.com", "example.org", "example.net"))
        for email, *_ in records
    )
    assert all(NOW - 730 * 86_400 <= created <= modified <= NOW for _, created, modified in records)
    (late,) = world.db.execute("SELECT count(*) FROM outcomes WHERE at > ?", (NOW,)).fetchone()
    assert late == 0


def test_the_same_seed_gives_the_same_organisation_and_another_seed_another():
    def people(seed):
        world = planted(200, seed, now=NOW)
        found = (
            world.db.execute("SELECT * FROM crm_Contacts").fetchall(),
            world.db.execute("SELECT * FROM outcomes").fetchall(),
        )
        world.db.close()
        return found

    assert people(1) == people(1) != people(2)


def test_nine_of_ten_people_are_contacts_with_a_country_under_the_modules_own_name():
    world = planted(5_000, 1, now=NOW)
    (contacts,) = world.db.execute("SELECT count(*) FROM crm_Contacts").fetchone()
    assert 4_300 < contacts < 4_700
    countries = emails(world, "SELECT DISTINCT Mailing_Country FROM crm_Contacts")
    assert countries == emails(world, "SELECT DISTINCT Country FROM crm_Leads")
    assert {"Germany", "United States", "Canada", "Australia", "United Kingdom", "France", None} == countries
    world.db.close()


def test_too_few_people_cannot_hold_every_kind():
    with pytest.raises(ValueError, match="at least 13"):
        planted(12, 1, now=NOW)

import base64
import re
from contextlib import closing
from datetime import timedelta
from html.parser import HTMLParser

import pytest
from sqlalchemy import insert

from service.db import Database, harm, harm_look, harm_window
from service.reconciler.audit import Point
from service.reconciler.audit import Verdict as AuditVerdict
from service.reconciler.audit.keeping import keep, points_before
from service.reconciler.audit.point import compared
from service.reports.drift import drift_report
from service.reports.render import TREND, render
from tests.reports.nights import NOW, TONIGHT, a_month, a_plan, a_run, found, person, tripped, withdrawn
from tests.running import policies, start


@pytest.fixture
def intake(sqlite_url):
    """Yield an intake on one store: the queries are tested with the report, on every store."""
    with closing(Database(sqlite_url)) as database, start(database) as intake:
        yield intake


@pytest.fixture
def letter(intake):
    def write(*arrange):
        with intake.db.begin() as tx:
            for step in arrange:
                step(tx)
        with intake.db.read() as tx:
            return render(drift_report(tx, policies(), now=NOW))

    return write


class Tags(HTMLParser):
    """Collects tags with their attributes, and checks that they are closed in order."""

    def __init__(self, html):
        super().__init__()
        self.found, self.open = [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_subject_line_tells_the_verdict(letter):
    subject = letter(lambda tx: found(tx, a_run(tx), "unsubscribed_not_in_crm", range(412))).subject
    assert subject == (
        "Consent drift 2026-11-23: 412 opt-outs had not reached Zoho, all repaired - no deadline missed"
    )


def test_the_subject_line_does_not_call_a_dead_mailbox_an_opt_out(letter):
    def both(tx):
        run_id = a_run(tx)
        found(tx, run_id, "opted_out_by_hand", range(2))
        found(tx, run_id, "hard_bounce_not_in_crm", range(2, 3))

    assert "2 opt-outs and 1 other stop had not reached Zoho" in letter(both).subject


def test_the_subject_line_of_a_quiet_night_is_short(letter):
    assert letter(a_run).subject == "Consent drift 2026-11-23: nothing found - no deadline missed"


def test_the_subject_line_says_first_that_nobody_could_look(letter):
    subject = letter(lambda tx: a_run(tx, state="refused", summary={"reason": "empty"})).subject
    assert subject == "Consent drift 2026-11-23: COULD NOT LOOK, last run refused - no figures for tonight"


def test_the_subject_line_never_claims_that_no_deadline_was_missed_when_one_was(letter):
    def late(tx):
        found(tx, a_run(tx), "complaint_not_in_crm", range(2), due_at=TONIGHT.replace(day=1))

    assert letter(late).subject.endswith(
        "2 opt-outs had not reached Zoho, all repaired - deadline missed for 2 people"
    )
    assert "Deadline missed for 2 people: by law 2 (CAN-SPAM 2)." in letter().html


def test_the_subject_line_tells_how_long_the_law_leaves(letter):
    def failed(tx):
        found(tx, a_run(tx), "opted_out_by_hand", range(3), state="failed", due_at=NOW.replace(hour=9))

    assert letter(failed).subject.endswith(
        "3 opt-outs had not reached Zoho, 3 STILL OPEN - 5 h left under CAN-SPAM"
    )


def test_the_text_is_complete_and_fits_72_columns(letter):
    text = letter(a_month).text
    assert max(map(len, text.splitlines())) <= 72
    for part in (
        "REPAIRED",
        "PEOPLE WHO MAY HAVE BEEN MAILED WRONGLY",
        "DEADLINES",
        "WHAT NEEDS A DECISION",
        "Should be on the list, is not",
        "Unsubscribed, but CRM did not know",
        "TWO CLOCKS",
        "Keep this mail",
    ):
        assert part in text


def test_the_html_loads_nothing_and_says_everything_twice(letter):
    html = letter(a_month).html
    tags = Tags(html)
    sources = [
        value for _, attrs in tags.found for name, value in attrs.items() if name in {"src", "href", "action"}
    ]
    assert sources == [f"cid:{TREND}"]
    assert not re.search(r"url\(|@import|<script|<link", html)
    pictures = [attrs for tag, attrs in tags.found if tag == "img"]
    assert "412 on 23 November" in pictures[0]["alt"]


def test_the_html_names_its_language_headings_and_tables(letter):
    tags = Tags(letter(a_month).html).found
    assert ("html", {"lang": "en", "xmlns": "http://www.w3.org/1999/xhtml"}) in tags
    assert [tag for tag, _ in tags].count("h1") == 1
    assert all(attrs.get("scope") in {"col", "row"} for tag, attrs in tags if tag == "th")
    layout = [attrs for tag, attrs in tags if tag == "table" and attrs.get("role") == "presentation"]
    assert len(layout) >= 4


def test_markup_from_the_tables_is_shown_and_not_obeyed(letter):
    def hostile(tx):
        a_run(tx, state="refused", summary={"reason": "<script>alert(1)</script><img src=x>"})

    html = letter(hostile).html
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)" in html


def test_the_checkpoint_is_attached_byte_for_byte(letter, intake):
    attached = {file.name: file for file in letter(a_run).attachments}
    with intake.db.read() as tx:
        assert attached["checkpoint-2026-11-23.txt"].data == intake.store.head(tx)


def test_the_trend_is_a_png_and_the_same_nights_draw_the_same_picture(letter):
    first, second = letter(a_month).pictures[TREND], letter().pictures[TREND]
    assert first.startswith(b"\x89PNG\r\n")
    assert first == second
    assert len(first) < 60_000


def test_breakers_waiting_plans_and_who_undoes_stops_are_told_in_text_and_html(letter):
    def arranged(tx):
        run_id = a_run(tx)
        tripped(tx, run_id, "campaigns", "all")
        a_plan(tx, run_id, permits=3, contested=2)

    told = letter(arranged)
    for shown in (told.text, told.html):
        words = " ".join(shown.replace("&ldquo;", '"').replace("&rdquo;", '"').split())
        assert 'Breaker "canary polarity" tripped in Campaigns' in words
        assert "The refused canary reads granted in Campaigns." in words
        assert "3 people could be mailed again; 0 of 1 approved it" in words
        assert "undoes the stops of 2 people again and again" in words


def test_the_top_re_subscribers_are_told_in_text_and_html_the_most_first(letter):
    def arranged(tx):
        run_id, opened = a_run(tx), {"reopened": 1, "cause": "a user of CRM"}
        found(tx, run_id, "withdrawn_not_enforced", range(3), actor="Samir Haddad", **opened)
        found(tx, run_id, "unsubscribed_not_in_crm", range(3, 8), actor="Grace Okafor", **opened)

    told = letter(arranged)
    text = " ".join(told.text.split())
    assert "! Grace Okafor (a user of CRM): 5 people ! Samir Haddad (a user of CRM): 3 people" in text
    first = told.html.index("Grace Okafor</strong> (a user of CRM): 5 people")
    assert first < told.html.index("Samir Haddad</strong> (a user of CRM): 3 people")


def test_a_quiet_night_has_no_section_about_plans(letter):
    told = letter(a_run)
    assert "BREAKERS" not in told.text
    assert "breakers" not in told.html


@pytest.fixture(scope="module")
def browser(chromium):
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  # only where there is a browser

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def letters(sqlite_url):
    """Return two letters: about a month that ends well, and about one that does not."""

    def bad(tx):
        withdrawn(tx, NOW.replace(day=2), stopped_s=None, proved_s=None)
        run_id = a_run(tx)
        found(tx, run_id, "withdrawn_not_enforced", range(17), state="failed", due_at=NOW.replace(hour=22))
        found(tx, run_id, "re_permission", range(20, 23), state="found", action="permit", due_at=None)

    with closing(Database(sqlite_url)) as database, start(database) as intake:
        made = {}
        for name, arrange in (("month", a_month), ("bad", bad)):
            with intake.db.begin() as tx:
                arrange(tx)
            with intake.db.read() as tx:
                made[name] = render(drift_report(tx, policies(), now=NOW))
        return made


LOOKS = [("month", "light", 800), ("month", "dark", 800), ("month", "light", 400), ("bad", "light", 800)]


@pytest.mark.browser
@pytest.mark.parametrize("look", LOOKS)
def test_the_mail_reads_well_in_a_browser(browser, letters, artifacts, look):
    night, scheme, width = look
    letter = letters[night]
    inline = base64.b64encode(letter.pictures[TREND]).decode()
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.set_content(letter.html.replace(f"cid:{TREND}", f"data:image/png;base64,{inline}"))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.images[0].naturalWidth") > 1000
    page.screenshot(path=artifacts / f"mail-{night}-{scheme}-{width}.png", full_page=True)
    page.close()


CHROMIUM = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def test_the_sync_audit_stands_in_the_mail_with_every_verdict_and_trend(letter):
    def audited(tx):
        found = a_run(tx)
        for people in (3, 5):
            point = Point(
                number=1,
                key="unsubscribes",
                title="Unsubscribes that did not flow back",
                verdict=AuditVerdict.FAIL,
                people=people,
                oldest=TONIGHT,
                summary=f"Left in Campaigns: {people}.",
                how="",
                advice=("Ask for the switch.",),
            )
            keep(tx, compared([point], points_before(tx)), run_id=found, at=NOW)

    written = letter(audited)
    assert "fail 1. Unsubscribes that did not flow back" in written.text
    assert "\n       > Ask for the switch.\n" in written.text
    made = "Made 23 Nov 2026 04:00 UTC from what was read 23 Nov 2026 02:30 UTC."
    assert made in " ".join(written.text.split())
    assert made in written.html
    assert "Ask for the switch." in written.html
    told = f"Left in Campaigns: 5. (oldest {TONIGHT:%d %b %Y}, 2 more than before)"
    assert told in " ".join(written.text.split())
    assert told in written.html


def test_before_the_first_sync_audit_the_mail_says_so(letter):
    assert "SYNC AUDIT\n  None was made yet." in letter(a_run).text


def test_the_mail_says_who_was_mailed_while_not_permitted_and_who_was_spared(letter):
    def harmed(tx):
        a_run(tx)
        for number, kind in enumerate(("unsubscribed_not_in_crm", "unsubscribed_not_in_crm", "withdrawn")):
            row = {"address_index": person(number), "since": TONIGHT, "kind": kind, "noticed_at": TONIGHT}
            tx.execute(insert(harm_window).values(row))
        row = {"address_index": person(0), "campaign_key": "3zab", "sent_at": TONIGHT}
        tx.execute(insert(harm).values(row))

    written = letter(harmed)
    assert "IN FACT MAILED WHILE NOT PERMITTED\n  1 person, 1 mail, the last sent 23 Nov 2026 02:30 UTC" in (
        written.text
    )
    assert "Without any harm: 2 people" in written.text
    assert "<strong>1 person</strong>, 1 mail" in written.html


def test_where_nobody_looked_at_what_was_sent_since_the_run_the_mail_does_not_say_nobody_was_mailed(letter):
    nobody = "Nobody was found for whom this is a question."

    def wrong(tx):
        found(tx, a_run(tx), "unsubscribed_not_in_crm", range(3))

    def looked(at):
        return lambda tx: tx.execute(insert(harm_look).values(began_at=at, campaigns=0))

    written = letter(wrong)
    assert nobody not in written.text + written.html
    told = "Not known for 3 people of those found by the last run: what Campaigns sent was looked at"
    assert f"{told} never." in " ".join(written.text.split())
    assert f"{told} never." in written.html
    before = letter(looked(TONIGHT - timedelta(days=1)))
    assert f"{told} last on 22 November at 02:30 UTC, before that." in " ".join(before.text.split())
    assert nobody in letter(looked(TONIGHT + timedelta(minutes=5))).text


def test_each_kind_of_drift_says_what_caused_it_the_most_people_first(letter):
    def caused(tx):
        number = a_run(tx)
        for people, actor in ((range(2), "Grace Okafor"), (range(2, 5), "Petra Lindqvist")):
            told = {"cause": "a user of CRM", "actor": actor}
            found(tx, number, "opted_out_by_hand", people, **told)

    written = letter(caused)
    told = "Cause: a user of CRM, Petra Lindqvist (3); a user of CRM, Grace Okafor (2)."
    assert told in " ".join(written.text.split())
    assert told in written.html


def test_the_mail_names_who_opens_again_what_was_stopped(letter):
    def reopened(tx):
        number = a_run(tx)
        found(
            tx,
            number,
            "withdrawn_not_enforced",
            range(3),
            cause="a user of CRM",
            actor="S. Haddad",
            reopened=1,
        )

    written = letter(reopened)
    assert "  ! S. Haddad (a user of CRM): 3 people" in written.text
    assert "<strong>S. Haddad</strong> (a user of CRM): 3 people" in written.html
    assert b'"a user of CRM","S. Haddad"' in written.attachments[0].data


def test_the_mail_says_of_how_many_no_timeline_was_asked(letter):
    def reopened(tx):
        number, by = a_run(tx), {"cause": "a user of CRM", "actor": "S. Haddad", "reopened": 1}
        found(tx, number, "withdrawn_not_enforced", range(3), told_by="timeline", **by)
        found(tx, number, "unsubscribed_not_in_crm", range(3, 8), told_by="record", **by)

    written = letter(reopened)
    told = "In all 8 people. CRM's timeline was not asked about 5: the name is who had written the"
    assert "! S. Haddad (a user of CRM): 8 people" in written.text
    assert told in " ".join(written.text.split())
    assert "was not asked about 5" in written.html

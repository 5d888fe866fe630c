"""An auditor's afternoon in a real browser without JavaScript, and what a recipient sees."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import httpx
import pytest
import uvicorn
from playwright.sync_api import Browser, Error, Page, expect, sync_playwright

from service.ledger.verify import State, verify_bundle
from service.reconciler.audit import Audit, Figure, Point, Verdict
from service.reports.audit.showing import audit_html, points_html
from service.web.auth import EVENTS_WRITE, create_account, create_key
from service.web.edge import Edge
from service.web.site import create_site

from .conftest import PASSWORD, Clock
from .planned import a_plan

pytestmark = pytest.mark.browser

CYD = "cyd@example.com"
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",  # a small /dev/shm, as in containers, has no room for a picture
]


@pytest.fixture
def served(make_edge: Callable[..., Edge]) -> Iterator[Edge]:
    """Yield an edge that a real server answers for, on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        edge = make_edge(f"http://127.0.0.1:{listening.getsockname()[1]}")
        server = uvicorn.Server(uvicorn.Config(create_site(edge), log_level="error", access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started:
                thread.join(0.02)
            yield edge
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """Yield the machine's Chromium."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser, served: Edge) -> Iterator[Page]:
    """Yield a page that runs no script, and fails on whatever the site's own policy blocks."""
    context = browser.new_context(
        java_script_enabled=False, base_url=served.public_url, viewport={"width": 1100, "height": 900}
    )
    page = context.new_page()
    blocked: list[str] = []
    page.on(
        "console", lambda said: blocked.append(said.text) if "Content Security Policy" in said.text else None
    )
    yield page
    context.close()
    assert blocked == []


def picture(page: Page, path: Path, *, full_page: bool = False) -> None:
    """Keep what the page looks like; on a busy machine a browser may need a second try."""
    for _ in range(3):
        with suppress(Error):
            page.screenshot(path=path, full_page=full_page)
            return
    pytest.fail("the browser takes no pictures")


def log_in(page: Page) -> None:
    page.goto("/")
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()


@pytest.fixture
def clock() -> Clock:
    """Return a clock that begins, as the log does, before anything that these tests tell happened."""
    clock = Clock()
    clock.advance(days=-400)
    return clock


def ask(page: Page, email: str) -> None:
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Purpose of the look-up").fill("Complaint of 12 May, file 2026-118")
    page.get_by_role("button", name="Look up").click()


def happen(edge: Edge, clock: Clock) -> None:
    """Let a person consent through the form, get mail that bounces, and leave with one click."""
    form = {"email": CYD, "control": "tick", "page_url": "https://acme.example/newsletter"}
    httpx.post(f"{edge.public_url}/forms/newsletter", json=form).raise_for_status()
    clock.advance(days=120, hours=3)
    key = create_key(edge.db, "campaigns", [EVENTS_WRITE])
    bounce = {
        "category": "bounce.soft",
        "email": CYD,
        "evidence": {"campaign": "Spring letter", "smtp_status": "4.2.2"},
    }
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "bounce-1"}
    httpx.post(f"{edge.public_url}/api/events", json=bounce, headers=headers).raise_for_status()
    clock.advance(days=200, hours=5)
    with edge.db.read() as tx:
        token = edge.intake.vault.token(edge.intake.vault.find(tx, CYD), "marketing")
    httpx.post(f"{edge.public_url}/u/{token}", data={"List-Unsubscribe": "One-Click"}).raise_for_status()
    clock.advance(days=79, hours=16)


def test_an_auditor_logs_in_looks_up_reads_and_takes_the_proof_home(
    page: Page, served: Edge, clock: Clock, tmp_path: Path, artifacts: Path
):
    happen(served, clock)
    create_account(served.db, "ada", PASSWORD, "auditor")
    log_in(page)
    picture(page, artifacts / "search.png")
    ask(page, CYD)
    expect(page.get_by_role("heading", level=1)).to_have_text(CYD)
    expect(page.locator(".verdict.stop .headline")).to_have_text("Must not be mailed")
    expect(page.locator(".timeline > li")).to_have_count(5)
    picture(page, artifacts / "history.png", full_page=True)
    page.get_by_label("As of the end of").fill(clock().replace(year=clock().year - 1).date().isoformat())
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".verdict.go .headline")).to_have_text("May be mailed")
    picture(page, artifacts / "history-as-of.png", full_page=True)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the bundle").click()
    download.value.save_as(tmp_path / "bundle.zip")
    verdict = verify_bundle((tmp_path / "bundle.zip").read_bytes(), served.intake.keys.log.vkey)
    assert verdict.state is State.GOOD, verdict.report()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")


def test_the_history_fits_a_phone_and_a_sheet_of_paper(
    page: Page, served: Edge, clock: Clock, artifacts: Path
):
    happen(served, clock)
    create_account(served.db, "ada", PASSWORD, "auditor")
    log_in(page)
    ask(page, CYD)
    page.set_viewport_size({"width": 380, "height": 800})
    picture(page, artifacts / "history-phone.png", full_page=True)
    main = page.locator("main").bounding_box()
    assert main is not None
    assert main["width"] <= 380
    page.set_viewport_size({"width": 794, "height": 1123})
    page.emulate_media(media="print")
    expect(page.locator(".actions")).to_be_hidden()
    picture(page, artifacts / "history-print.png", full_page=True)


def test_a_wrong_password_is_told_on_the_page(page: Page, artifacts: Path):
    log_in(page)
    expect(page.get_by_role("alert")).to_contain_text("name and password", ignore_case=True)
    picture(page, artifacts / "login.png")


def test_a_recipient_subscribes_after_ticking_and_leaves_with_one_button(
    page: Page, served: Edge, artifacts: Path
):
    page.goto("/forms/newsletter")
    expect(page.get_by_role("checkbox")).not_to_be_checked()
    picture(page, artifacts / "form.png", full_page=True)
    page.get_by_label("E-mail address").first.fill(CYD)
    page.get_by_role("button", name="Subscribe", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Newsletter")
    assert page.get_by_text("Thank you").count() == 0
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name="Subscribe", exact=True).click()
    expect(page.get_by_text("Thank you")).to_be_visible()
    with served.db.read() as tx:
        token = served.intake.vault.token(served.intake.vault.find(tx, CYD), "marketing")
    page.goto(f"/u/{token}")
    picture(page, artifacts / "unsubscribe.png")
    page.get_by_role("button", name="Unsubscribe").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("You are unsubscribed")
    picture(page, artifacts / "unsubscribed.png")


def test_an_approver_reads_a_plan_and_approves_it_without_javascript(
    page: Page, served: Edge, tmp_path: Path
):
    httpx.post(
        f"{served.public_url}/forms/newsletter",
        json={"email": CYD, "control": "tick", "page_url": "https://acme.example/join"},
    ).raise_for_status()
    plan = a_plan(served, [CYD], stops=4, contested=1)
    create_account(served.db, "ana", PASSWORD, "approver")
    page.goto("/login")
    page.get_by_label("Name").fill("ana")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name=f"Plan {plan.run_id}").click()
    expect(page.get_by_text("1 person could be mailed again")).to_be_visible()
    expect(page.get_by_text("undone before by Petra Lindqvist")).to_be_visible()
    picture(page, tmp_path / "plan.png", full_page=True)
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("ana approved it on")).to_be_visible()
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)


def test_on_paper_an_audit_says_how_we_know_whatever_is_folded_on_the_screen(page: Page):
    figure = Figure(label="left in Campaigns, open in CRM", value=3)
    point = Point(
        number=1,
        key="unsubscribes",
        title="Unsubscribes",
        verdict=Verdict.FAIL,
        people=3,
        oldest=None,
        summary="",
        how="Lists by status.",
        advice=(),
        figures=(figure,),
    )
    now = datetime(2026, 5, 4, tzinfo=UTC)
    found = Audit(id=1, at=now, run_id=1, read_at=now, points=(point,))
    style = f"<style>{(files('service.web') / 'static' / 'ledger.css').read_text(encoding='utf-8')}</style>"
    for shown in (style + points_html(found), audit_html(found, controller="Acme")):
        page.set_content(shown)
        page.emulate_media(media="screen")
        expect(page.get_by_text("Lists by status.")).to_be_hidden()
        page.emulate_media(media="print")
        expect(page.get_by_text("Lists by status.")).to_be_visible()
        expect(page.get_by_text(figure.label)).to_be_visible()

"""The acts of the demonstration, in the order in which a newcomer understands them."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.table import Table

from service import app
from service.app import Parts
from service.cli import show
from service.cli.ask import record_look_up, write_private
from service.cli.audit import as_table
from service.cli.demo.stage import Stage, ask
from service.errors import Unavailable
from service.ledger.verify import State, verify_bundle
from service.reconciler import harm as harming
from service.reconciler import hatching
from service.reconciler.run import RunResult, reconcile
from service.reports.drift.kinds import describe
from service.reports.evidence import bundle
from service.reports.history import as_text, history
from service.zoho import blocks
from service.zoho.pace import Pace
from service.zoho.quota import Alone
from service.zoho.shared import CREDITS

FORM = "newsletter"
AUDITOR = "auditor"
PURPOSE = "a complaint, in the demonstration"
CARRIED_S = 10.0
"""A withdrawal is at both products within this time; the demonstration fails if it is not."""


@dataclass(slots=True)
class Told:
    """What the demonstration can show for itself; the keys of `--json`."""

    planted: dict[str, int] = field(default_factory=dict)
    found: dict[str, int] = field(default_factory=dict)
    applied: dict[str, int] = field(default_factory=dict)
    remaining: dict[str, int] = field(default_factory=dict)
    api_calls: int = 0
    crm_credits: int = 0
    ledger_size: int = 0
    bundle_verified: bool = False
    mail_path: str = ""
    seconds: float = 0.0

    def as_data(self) -> dict[str, Any]:
        """Return the JSON object of `--json`."""
        return asdict(self)


class Acts:
    """Plays the acts on a stage; `visitor` is the person whom the second half is about."""

    def __init__(self, here: Stage, parts: Parts, out: Console, progress: show.Progress) -> None:
        self._here = here
        self._parts = parts
        self._out = out
        self._progress = progress
        self.visitor = ""

    def play(self) -> Told:
        """Play everything and return what was seen. Raises whatever went wrong."""
        told = Told(planted=self._here.control("truth")["planted"])
        self._reconcile(told)
        self.visitor = self._choose_visitor()
        self._consent()
        self._unsubscribe()
        self._answer(told)
        self._audit()
        told.mail_path = self._mail()
        meter = self._here.control("meter")
        told.api_calls = sum(meter["calls"].values())
        told.crm_credits = meter["credits"]
        with self._parts.db.read() as tx:
            told.ledger_size = self._parts.intake.store.size(tx)
        return told

    def _reconcile(self, told: Told) -> None:
        """Look without touching, then repair, then look again."""
        pace = self._pace()
        with self._parts.zoho(pace, quota=Alone(pace.clock)) as zoho:
            run = self._parts.context(zoho, self._progress)
            self._act("Put contacts of our own into both products, one in every state")
            made = hatching.create(run)
            self._out.print(f"{len(made)} records of canaries: each run writes them and reads them back")
            self._act("Read CRM and Campaigns, compare them with the ledger (dry run)")
            dry = reconcile(run)
            self._out.print(_truth_table(told.planted, dry.found))
            self._out.print(f"\n{dry.plan.summary(app.now())}")
            self._act("Record what was learnt, apply the plan, read back")
            applied = reconcile(run, applying=True)
            self._tell_applied(applied)
            self._act("Look again: a second run finds nothing new")
            again = reconcile(run, applying=True)
            self._out.print(f"new drift {sum(again.new.values())}, new events {sum(again.news.values())}")
            self._act("Who was in fact mailed while not permitted, by what Campaigns sent")
            harm = harming.look(run, zoho.campaigns.mails())
            self._out.print(
                f"{harm.total:,} people got {harm.mails:,} mails after they had said stop, or bounced; "
                f"{sum(harm.harmless.values()):,} others none ({harm.read} campaigns read)"
            )
        self._book(zoho.meter.credits)
        told.found = {kind: dry.found.get(kind, 0) for kind in {**told.planted, **dry.found}}
        told.applied, told.remaining = dict(applied.applied), dict(again.remaining)

    def _book(self, spent: int) -> None:
        """Book in the budget what the runs spent, whose own clock was ahead of everybody's."""
        with self._parts.db.begin() as tx:
            blocks.book(tx, CREDITS, "by hand", spent, app.now())

    def _pace(self) -> Pace:
        """Return a pace that waits for Campaigns' windows by moving the simulated clock, not ours."""
        ahead = timedelta()

        def sleep(seconds: float) -> None:
            nonlocal ahead
            if seconds > 1:
                ahead += timedelta(seconds=seconds)
                self._here.control("clock", {"advance_s": seconds})
            else:
                time.sleep(seconds)

        return Pace(clock=lambda: app.now() + ahead, sleep=sleep, patience_s=3600.0)

    def _tell_applied(self, run: RunResult) -> None:
        learnt = ", ".join(f"{count:,} {category}" for category, count in sorted(run.news.items()))
        self._out.print(f"the ledger learnt: {learnt}")
        self._out.print(
            f"repaired {sum(run.applied.values()):,} people, failed {sum(run.failed.values()):,}, "
            f"remaining {sum(run.remaining.values()):,}; {sum(run.calls.values()):,} API calls, "
            f"{run.credits:,} CRM credits, {run.seconds:.1f} s"
        )

    def _choose_visitor(self) -> str:
        """Return somebody with two CRM records who is mailable in both products."""
        for email in self._here.control("truth/duplicate_harmless")["emails"]:
            person = self._person(email)
            if not _stopped(person) and not any(record["Email_Opt_Out"] for record in person["crm"]):
                return str(email)
        raise Unavailable("nobody in the simulated organisation is left to play the visitor")

    def _consent(self) -> None:
        self._act(f"{self.visitor} gives consent through the form")
        post = {
            "email": self.visitor,
            "control": "tick",
            "page_url": f"{self._here.service_url}/forms/{FORM}",
        }
        _, receipt = ask(f"{self._here.service_url}/forms/{FORM}", post)
        self._out.print(
            f"entry {receipt['index']}, leaf {receipt['leaf_hash'][:16]}…, notice {receipt['notice_version']}"
        )

    def _unsubscribe(self) -> None:
        """Click once, and watch both products follow."""
        self._act("… and unsubscribes with one click (RFC 8058)")
        with self._parts.db.read() as tx:
            person = self._parts.intake.vault.find(tx, self.visitor)
        assert person is not None, "the form has just recorded this person"
        token = self._parts.intake.vault.token(person, self._parts.policy.forms[FORM].purpose)
        clicked = time.monotonic()
        ask(f"{self._here.service_url}/u/{token}", form=b"List-Unsubscribe=One-Click")
        while not _stopped(self._person(self.visitor)):
            if time.monotonic() - clicked > CARRIED_S:
                raise Unavailable("the withdrawal did not reach both products in time; see worker.log")
            time.sleep(0.05)
        records = len(self._person(self.visitor)["crm"])
        self._out.print(
            f"after {time.monotonic() - clicked:.1f} s: Email_Opt_Out on {records} CRM records, "
            "off the list and in Do-Not-Mail in Campaigns"
        )

    def _answer(self, told: Told) -> None:
        self._act("An auditor asks: the question is recorded, then the history answered with proofs")
        record_look_up(self._parts, self.visitor, PURPOSE, "history", actor=AUDITOR)
        with self._parts.db.read() as tx:
            found = history(self._parts.intake, tx, self.visitor, at=app.now())
        self._out.print(as_text(found), markup=False)
        record_look_up(self._parts, self.visitor, PURPOSE, "bundle", actor=AUDITOR)
        data = bundle(self._parts.intake, self.visitor, at=app.now())
        path = self._here.settings.state_dir / "bundle.zip"
        write_private(path, data)
        verdict = verify_bundle(path.read_bytes(), self._parts.keys.log.vkey)
        told.bundle_verified = verdict.state is State.GOOD
        self._act(f"… takes a bundle home ({path}) and verifies it offline")
        self._out.print(verdict.report(), markup=False)

    def _audit(self) -> None:
        self._act("The seven gotchas of the sync, measured")
        with self._parts.zoho() as zoho:
            self._out.print(as_table(app.audit(self._parts, zoho)))

    def _mail(self) -> str:
        self._act("Legal's mail about the night")
        place = app.send_drift_mail(self._parts) or ""
        self._out.print(place)
        return str(Path(place)) if place else ""

    def _person(self, email: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._here.control(f"person?email={quote(email)}")
        return found

    def _act(self, title: str) -> None:
        self._out.print(f"\n[bold]{title}[/bold]")


def _stopped(person: Mapping[str, Any]) -> bool:
    """Return whether both products say stop: every CRM record, Do-Not-Mail, and no active list."""
    campaigns = person["campaigns"]
    return (
        all(record["Email_Opt_Out"] for record in person["crm"])
        and campaigns["dnm"]
        and "active" not in campaigns["lists"].values()
    )


def _truth_table(planted: Mapping[str, int], found: Mapping[str, int]) -> Table:
    """Return found beside planted; anything but equal is marked."""
    table = Table(box=None, pad_edge=False)
    table.add_column("drift")
    for title in ("planted", "found", ""):
        table.add_column(title, justify="right")
    for kind in dict.fromkeys([*planted, *found]):
        there, seen = planted.get(kind, 0), found.get(kind, 0)
        mark = "[green]=[/green]" if there == seen else "[red]DIFFERS[/red]"
        table.add_row(describe(kind).title, f"{there:,}", f"{seen:,}", mark)
    return table

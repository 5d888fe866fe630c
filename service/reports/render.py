"""The nightly report as a letter: subject, text, HTML, the trend picture and what is attached.

Pure but for drawing. Templates are escaped where they are HTML; nothing is loaded from elsewhere.
"""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from service.reconciler.audit import Verdict as Found
from service.reconciler.harm import WITHDRAWN
from service.reports import picture, sheet, wording
from service.reports.audit.showing import facts
from service.reports.drift import DriftReport, Verdict
from service.reports.drift.kinds import describe

COLUMNS = 72
TREND = "trend.png"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """One file of a letter; the bytes arrive as they are."""

    name: str
    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A mail before it has an envelope; `pictures` are PNGs that the HTML names as `cid:<key>`."""

    subject: str
    text: str
    html: str
    pictures: Mapping[str, bytes]
    attachments: tuple[Attachment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tone:
    """The colours of a verdict, on light and on dark paper; never the only sign of it."""

    ink: str
    paper: str
    mark: str


_TONES = {
    Verdict.IN_ORDER: _Tone(ink="#1d5c3a", paper="#e6f2ea", mark="✓"),
    Verdict.REPAIRED: _Tone(ink="#1f4e79", paper="#e6eff8", mark="✓"),
    Verdict.ACTION: _Tone(ink="#8c1d18", paper="#fbe9e7", mark="!"),
    Verdict.BLIND: _Tone(ink="#7a4b00", paper="#fdf1dc", mark="?"),
}

_INKS = {Found.PASS: "#1d5c3a", Found.WARN: "#7a4b00", Found.FAIL: "#b3261e"}
"""The colour of each verdict of the sync audit, beside its word."""


def render(report: DriftReport) -> Letter:
    """Return the letter about one night."""
    shown = _context(report)
    return Letter(
        subject=wording.subject_line(report),
        text=_templates().get_template("drift.txt").render(shown),
        html=_templates().get_template("drift.html").render(shown),
        pictures={TREND: picture.draw_trend(report.trend)},
        attachments=(
            Attachment(
                name=f"drift-{report.night}.csv", media_type="text/csv", data=sheet.write_csv(report.rows)
            ),
            Attachment(
                name=f"checkpoint-{report.night}.txt",
                media_type="application/octet-stream",  # no mail program or gateway may touch its line ends
                data=report.checkpoint,
            ),
        ),
    )


def _context(report: DriftReport) -> Mapping[str, Any]:
    return {
        "report": report,
        "headline": wording.HEADLINES[report.verdict],
        "summary": wording.summary(report),
        "stored": wording.stored(report),
        "outside": wording.outside(report),
        "tone": _TONES[report.verdict],
        "stopped": wording.span(report.clocks.stopped),
        "proved": wording.span(report.clocks.proved),
        "deadlines": [
            (name, deadline, wording.left(deadline), wording.law(deadline))
            for name, deadline in (("Overdue", report.overdue), ("Next", report.deadline))
            if deadline is not None
        ],
        "harmed": [
            (harm_title(kind), people)
            for kind, people in sorted(report.harm.people.items(), key=lambda pair: -pair[1])
        ],
        "causes": wording.causes,
        "unlooked": wording.unlooked(report),
        "audit_facts": facts,
        "openers_note": wording.opened_again,
        "audit_inks": _INKS,
        "trend_text": picture.describe_trend(report.trend),
        "trend_cid": TREND,
        "trend_size": (picture.WIDTH, picture.HEIGHT),
        "rows_left_out": max(0, len(report.rows) - sheet.MOST_ROWS),
        "night": f"{report.night:%d %B %Y}",
    }


def harm_title(kind: str) -> str:
    """Return what a kind of harm is called in the mail."""
    return (
        "Withdrawn here, mailed before both products had stopped"
        if kind == WITHDRAWN
        else describe(kind).title
    )


@lru_cache(maxsize=1)
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("service.reports"),
        autoescape=select_autoescape(["html"], default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["wrapped"] = _wrapped
    environment.filters["counted"] = wording.count
    environment.filters["number"] = "{:,}".format
    environment.filters["moment"] = "{:%d %b %Y %H:%M} UTC".format
    return environment


def _wrapped(text: str, first: str = "", rest: str | None = None) -> str:
    """Return the text in lines of at most 72 columns, with an indent before the first and the other lines."""
    return textwrap.fill(
        text,
        COLUMNS,
        initial_indent=first,
        subsequent_indent=" " * len(first) if rest is None else rest,
        break_long_words=False,
        break_on_hyphens=False,
    )

"""One audit as JSON and as HTML: a page of its own for `--html`, its points alone for the auditors' page."""

from datetime import datetime
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from service.ledger.entry import format_time
from service.reconciler.audit import Audit, Point, Verdict

HEADLINES = {
    Verdict.PASS: "Both products agree where we can see",
    Verdict.WARN: "Nobody is mailed wrongly; something lags or will",
    Verdict.FAIL: "The two products contradict each other",
}


def audit_json(found: Audit) -> dict[str, Any]:
    """Return an audit as JSON values; times as in entries, counts as numbers."""
    return {
        "audit": found.id,
        "at": format_time(found.at),
        "run": found.run_id,
        "read_at": format_time(found.read_at),
        "verdict": found.verdict.value,
        "safe_to_sync": found.is_safe,
        "points": [_point(point) for point in found.points],
    }


def _point(point: Point) -> dict[str, Any]:
    return {
        "number": point.number,
        "key": point.key,
        "title": point.title,
        "verdict": point.verdict.value,
        "people": point.people,
        "oldest": _time(point.oldest),
        "trend": point.trend,
        "summary": point.summary,
        "how_we_know": point.how,
        "what_to_do": list(point.advice),
        "figures": [
            {"label": one.label, "value": one.value, "oldest": _time(one.oldest), "people": one.people}
            for one in point.figures
        ],
    }


def _time(at: datetime | None) -> str | None:
    return None if at is None else format_time(at)


def audit_html(found: Audit, *, controller: str) -> str:
    """Return an audit as one HTML file that loads nothing from elsewhere."""
    return _templates().get_template("audit.html").render(**_shown(found), controller=controller)


def points_html(found: Audit) -> str:
    """Return the seven points as HTML to stand in a page; everything in it is escaped."""
    return _templates().get_template("audit_points.html").render(**_shown(found))


def trend(point: Point) -> str:
    """Return how a point moved since the audit before, in words; empty where there is nothing to tell."""
    if point.trend is None or not (point.trend or point.people):
        return ""
    if point.trend == 0:
        return "as before"
    return f"{abs(point.trend):,} {'more' if point.trend > 0 else 'fewer'} than before"


def _shown(found: Audit) -> dict[str, Any]:
    return {"audit": found, "headline": HEADLINES[found.verdict], "trend": trend}


@lru_cache(maxsize=1)
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("service.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = "{:,}".format
    environment.filters["moment"] = "{:%d %b %Y %H:%M} UTC".format
    environment.filters["day"] = "{:%d %b %Y}".format
    return environment

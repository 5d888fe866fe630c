"""One audit as JSON and as HTML: a page of its own for `--html`, its points alone for the auditors' page."""

from datetime import datetime
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from service.ledger.entry import format_time
from service.reconciler.audit import Audit, Point, Verdict

FAILED = {
    "unsubscribes": "Somebody who left may still be mailed",
    "bounces": "CRM still mails dead mailboxes",
    "duplicates": "Records of one address contradict each other",
    "permission": "The two products contradict each other",
    "lists": "Lists lag behind their CRM views",
    "mapping": "Values do not reach the other product",
    "budget": "The API allowance does not last",
}
"""What a failed point means, the worst first."""


def headline(found: Audit) -> str:
    """Return the worst that an audit found, in a sentence, and how many other points failed."""
    failed = {point.key for point in found.points if point.verdict is Verdict.FAIL}
    told = [words for key, words in FAILED.items() if key in failed]
    if not told:
        return (
            "Nobody is mailed wrongly; something lags or will"
            if found.verdict is Verdict.WARN
            else "Both products agree where we can see"
        )
    others = len(failed) - 1
    return (
        f"{told[0]}; {others} other {'point fails' if others == 1 else 'points fail'}" if others else told[0]
    )


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
        "counted": {"what": point.unit[1] if point.unit else "people", "number": point.measure},
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
    if point.trend is None or not (point.trend or point.measure):
        return ""
    if point.trend == 0:
        return "as before"
    moved = f"{abs(point.trend):,} {'more' if point.trend > 0 else 'fewer'}"
    if point.unit is None:
        return f"{moved} than before"
    return f"{moved} {point.unit[abs(point.trend) > 1]} than before"


def facts(point: Point) -> str:
    """Return since when there are such people and how their number moved, as far as there is any to tell."""
    oldest = [] if point.oldest is None else [f"oldest {point.oldest:%d %b %Y}"]
    return ", ".join([*oldest, *filter(None, [trend(point)])])


def _shown(found: Audit) -> dict[str, Any]:
    return {"audit": found, "headline": headline(found), "trend": trend}


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

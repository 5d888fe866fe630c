"""What an audit says above its points."""

from datetime import UTC, datetime

import pytest

from service.reconciler.audit import Audit, Point, Verdict
from service.reports.audit.showing import FAILED, headline

NOW = datetime(2026, 5, 4, tzinfo=UTC)
CONTRADICT = "The two products contradict each other"


def audited(**verdicts: Verdict) -> Audit:
    """An audit of all points that passed, but for these."""
    points = tuple(
        Point(
            number=number,
            key=key,
            title=key,
            verdict=verdicts.get(key, Verdict.PASS),
            people=0,
            oldest=None,
            summary="",
            how="",
            advice=(),
        )
        for number, key in enumerate(FAILED)
    )
    return Audit(id=1, at=NOW, run_id=1, read_at=NOW, points=points)


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        ({}, "Both products agree where we can see"),
        ({"lists": Verdict.WARN}, "Nobody is mailed wrongly; something lags or will"),
        ({"lists": Verdict.FAIL}, "Lists lag behind their CRM views"),
        ({"budget": Verdict.FAIL}, "The API allowance does not last"),
        ({"permission": Verdict.FAIL}, CONTRADICT),
        ({"permission": Verdict.FAIL, "lists": Verdict.FAIL}, f"{CONTRADICT}; 1 other point fails"),
        (dict.fromkeys(FAILED, Verdict.FAIL), "Somebody who left may still be mailed; 6 other points fail"),
    ],
)
def test_the_headline_says_what_failed_and_nothing_else(verdicts, said):
    assert headline(audited(**verdicts)) == said

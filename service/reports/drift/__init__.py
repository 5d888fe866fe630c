"""The nightly answer to legal: how far both products were from the ledger, and what was done about it.

`report.py` is the report as data, `reading.py` the few queries behind it, `clocks.py` and `decisions.py`
what follows from them, `kinds.py` what each kind of drift is called in plain language.
"""

from service.reports.drift.clocks import Clocks, NextDeadline, Span
from service.reports.drift.decisions import Decision
from service.reports.drift.reading import Found
from service.reports.drift.report import (
    DriftReport,
    KindLine,
    LastRun,
    Night,
    People,
    Verdict,
    drift_report,
)

__all__ = [
    "Clocks",
    "Decision",
    "DriftReport",
    "Found",
    "KindLine",
    "LastRun",
    "NextDeadline",
    "Night",
    "People",
    "Span",
    "Verdict",
    "drift_report",
]

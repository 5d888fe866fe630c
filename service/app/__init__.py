"""Composition root: settings become parts, parts become the web application.

The only room below the command line that knows everything.
"""

from service.app.auditing import describe, learn
from service.app.nights import audit, send_drift_mail
from service.app.opening import running
from service.app.parts import Parts, now
from service.app.working import NIGHTLY_PATIENCE_S, work

__all__ = [
    "NIGHTLY_PATIENCE_S",
    "Parts",
    "audit",
    "describe",
    "learn",
    "now",
    "running",
    "send_drift_mail",
    "work",
]

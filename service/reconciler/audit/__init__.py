"""The sync audit: the seven gotchas of CRM and Campaigns, measured on what a run has read.

Judges the mirrors, set-based, and both products' metadata; repairs nothing. Every point says how many
people, since when, how we know and what to do.
"""

from service.reconciler.audit.point import Audit, Figure, Point, Verdict
from service.reconciler.audit.whole import Asked, audit

__all__ = ["Asked", "Audit", "Figure", "Point", "Verdict", "audit"]

"""The sync audit for people and programs: JSON, lines for a terminal, HTML; and the mapping document.

Pure. Nobody's name or address stands in an audit: it counts.
"""

from service.reports.audit.mapping import mapping_html, mapping_markdown
from service.reports.audit.showing import audit_html, audit_json, points_html

__all__ = ["audit_html", "audit_json", "mapping_html", "mapping_markdown", "points_html"]

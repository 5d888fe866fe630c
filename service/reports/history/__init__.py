"""One person's history: `proven.py` reads it and proves it again, `telling.py` writes it down."""

from service.reports.history.proven import History, Record, directory_opening, history
from service.reports.history.telling import as_text, to_json

__all__ = ["History", "Record", "as_text", "directory_opening", "history", "to_json"]

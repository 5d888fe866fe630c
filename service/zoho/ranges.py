"""How many rows of each listing Campaigns gives at once, found out by asking.

500 rows were verified on the live service by one client, 650 are claimed by another; a larger range than an
organisation takes is refused with 6502 (facts `zoho-campaigns`, sections 0.6, 1.5 and 2).
"""

from collections.abc import Mapping
from typing import Final, Protocol

PAGE: Final = 500
"""Rows asked for at once; verified on the live service, while the default is 20."""


class Ranges(Protocol):
    """Rows by endpoint; safe for many threads."""

    @property
    def known(self) -> Mapping[str, int]:
        """Return what is smaller than usual, by endpoint."""

    def keep(self, endpoint: str, rows: int) -> None:
        """Remember that more rows than these are refused."""


class OwnRanges:
    """What one process without a database found out."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    def keep(self, endpoint: str, rows: int) -> None:
        """Remember it as long as the process lives."""
        self.known[endpoint] = rows

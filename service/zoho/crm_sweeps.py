"""Reading a whole module the cheapest way: by COQL while that costs fewer credits, else by bulk read.

The first page of COQL tells a small module for what it is. A larger one is counted, which costs a credit;
where it may not be counted, or bulk read does not give it, COQL reads it to the end.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from service.errors import NoBulk, ZohoError
from service.policy.shapes import Sweep
from service.zoho import bulk_read, coql
from service.zoho.bulk_read import BulkReader
from service.zoho.crm_reads import Reads
from service.zoho.quota import coql_credits

POLLS = 8
"""Questions about one job's state and its download, a credit each, by experience with jobs of a minute."""

Row = Mapping[str, Any]


class Sweeps:
    """Reads whole modules; `by` is what the policy says about how."""

    def __init__(self, reads: Reads, bulk: BulkReader, by: Sweep) -> None:
        self._reads = reads
        self._bulk = bulk
        self._by = by

    def rows(self, module: str, columns: Sequence[str]) -> Iterator[Row]:
        """Yield every row of a module; some come twice where bulk read broke off and COQL took over."""
        if self._by == "bulk":
            yield from self._bulk_or_coql(module, columns)
            return
        first, more = self._reads.coql_page(module, columns, coql.after("0", None))
        if more and self._by == "cheapest" and len(first) >= self._reads.largest_page:
            count = self._count(module)
            if bulk_credits(count, self._bulk.job_credits) < sweep_credits(count, self._reads.largest_page):
                yield from self._bulk_or_coql(module, columns)
                return
        yield from first
        if first:
            last = str(first[-1].get("id") or "0")
            yield from self._reads.coql(module, columns, after=last, more=more)

    def _bulk_or_coql(self, module: str, columns: Sequence[str]) -> Iterator[Row]:
        try:
            yield from self._bulk.rows(module, columns)
        except NoBulk:
            yield from self._reads.coql(module, columns)

    def _count(self, module: str) -> int:
        """Return how many rows there are, as few as can be where CRM does not say."""
        try:
            return self._reads.count(module)
        except ZohoError:
            return 0


def sweep_credits(rows: int, page: int = coql.LARGEST_PAGE) -> int:
    """Return what reading so many rows by COQL costs, to the empty page at their end."""
    return max(1, -(-rows // page)) * coql_credits(page) + (coql_credits(coql.SMALLEST_PAGE) if rows else 0)


def bulk_credits(rows: int, job_credits: int = bulk_read.JOB_CREDITS) -> int:
    """Return what reading so many rows by bulk read costs, its polls by experience."""
    return max(1, -(-rows // bulk_read.PAGE)) * (job_credits + POLLS)

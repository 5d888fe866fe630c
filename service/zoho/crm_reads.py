"""Reading CRM in pages: by COQL and keyset, by page tokens, what was deleted, and how many there are.

Implements facts `zoho-crm` sections 2.1, 2.3, 2.4 and 2.6. A listing that repeats itself has no end, and
nothing is concluded from it; one whose page token dies goes on where it stopped.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from service.errors import ZohoError
from service.zoho import coql, crm_answers
from service.zoho.quota import coql_credits
from service.zoho.records import iso
from service.zoho.transport import Call, Transport

BASE = "/crm/v8"
PAGE = 200
"""Rows of a record listing, the most that CRM gives."""
DELETED_CREDITS = 2
TOKEN_GONE = {"EXPIRED_VALUE", "TOKEN_BOUND_DATA_MISMATCH"}
MOST_RESTARTS = 3
"""How often one listing is begun again: a token lives a day, so a second loss is no accident."""

Row = Mapping[str, Any]


class Reads:
    """The reading calls of one organisation's CRM; errors are `ZohoError`s."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.largest_page = coql.LARGEST_PAGE
        """Rows of a COQL page, as far as this server is known to give them."""

    def coql(
        self,
        module: str,
        columns: Sequence[str],
        *,
        criterion: str | None = None,
        after: str = "0",
        more: bool = True,
    ) -> Iterator[Row]:
        """Yield all rows of a module that meet `criterion`, ordered by id, however many there are.

        Only an empty page is believed to be the end: one that was cut short may call itself the last. `more`
        False says that the page up to `after` did, so that the next question is the cheapest one.
        """
        last = after
        while True:
            limit = None if more else coql.SMALLEST_PAGE
            found, more = self.coql_page(module, columns, coql.after(last, criterion), limit)
            if not found:
                return
            yield from found
            newest = str(found[-1].get("id") or "0")
            if int(newest) <= int(last):
                raise _repeats("POST /crm/v8/coql")
            last = newest

    def coql_page(
        self, module: str, columns: Sequence[str], where: str, page: int | None = None
    ) -> tuple[Sequence[Row], bool]:
        """Return one page and whether there may be more; a server with the older limit gets smaller pages.

        There may be unless the page calls itself the last and holds as many rows as it counts.
        """
        limit = page or self.largest_page
        call = _coql_call(coql.select(columns, module, where, limit), limit)
        answer = self._transport.send(call)
        if limit > coql.SMALLEST_PAGE and crm_answers.is_error(answer, "LIMIT_EXCEEDED"):
            self.largest_page = coql.SMALLEST_PAGE
            return self.coql_page(module, columns, where)
        about = f"module {module!r}, fields {', '.join(columns)}"
        found = crm_answers.rows(answer, call.endpoint, about=about)
        info = crm_answers.info(answer)
        is_whole = str(info.get("count", len(found))) == str(len(found))
        return found, info.get("more_records") is not False or not is_whole

    def listing(self, module: str, fields: Sequence[str], modified_since: datetime | None) -> Iterator[Row]:
        """Yield the rows of a module by page tokens, lowest id first; CRM lists 100,000 at most.

        A token that died on the way (a day has passed, another user's token) costs a new listing, of which
        only the rows beyond the last one are yielded.
        """
        last = 0
        for restart in range(MOST_RESTARTS + 1):
            try:
                for row in self._listing(module, fields, modified_since):
                    if (number := int(str(row.get("id") or 0))) > last:
                        last = number
                        yield row
            except ZohoError as error:
                if error.code not in TOKEN_GONE or restart == MOST_RESTARTS:
                    raise
            else:
                return

    def deleted(self, module: str, since: datetime) -> Iterator[str]:
        """Yield the ids of the records that were deleted since, for good or into the recycle bin."""
        endpoint = "GET /crm/v8/{module}/deleted"
        page = 1
        while True:
            call = Call(
                method="GET",
                path=f"{BASE}/{module}/deleted",
                endpoint=endpoint,
                params={"type": "all", "per_page": str(PAGE), "page": str(page)},
                headers={"If-Modified-Since": iso(since)},
                credits=DELETED_CREDITS,
            )
            answer = self._transport.send(call)
            found = crm_answers.rows(answer, endpoint, about=f"module {module!r}")
            yield from (str(row.get("id") or "") for row in found)
            if not found or not crm_answers.info(answer).get("more_records"):
                return
            page += 1

    def count(self, module: str) -> int:
        """Return how many records a module holds."""
        endpoint = "GET /crm/v8/{module}/actions/count"
        path = f"{BASE}/{module}/actions/count"
        answer = self._transport.send(Call(method="GET", path=path, endpoint=endpoint, credits=1))
        return crm_answers.number(answer, endpoint, "count")

    def _listing(self, module: str, fields: Sequence[str], since: datetime | None) -> Iterator[Row]:
        endpoint = f"GET /crm/v8/{module}"
        headers = {} if since is None else {"If-Modified-Since": iso(since)}
        params = {"fields": ",".join(fields), "per_page": str(PAGE), "sort_by": "id", "sort_order": "asc"}
        seen: set[str] = set()
        while True:
            call = Call(
                method="GET",
                path=f"{BASE}/{module}",
                endpoint=endpoint,
                params=params,
                headers=headers,
                credits=1,
            )
            answer = self._transport.send(call)
            yield from crm_answers.rows(
                answer, endpoint, about=f"module {module!r}, fields {', '.join(fields)}"
            )
            token = crm_answers.info(answer).get("next_page_token")
            if not token or not crm_answers.info(answer).get("more_records"):
                return
            if token in seen:
                raise _repeats(endpoint)
            seen.add(token)
            params = params | {"page_token": token}


def _coql_call(query: str, limit: int) -> Call:
    return Call(
        method="POST",
        path=f"{BASE}/coql",
        endpoint="POST /crm/v8/coql",
        headers={"Content-Type": "application/json"},
        body=msgspec.json.encode({"select_query": query}),
        credits=coql_credits(limit),
    )


def _repeats(endpoint: str) -> ZohoError:
    return ZohoError(
        f"CRM gives the same page of {endpoint} again; the listing has no end, so nothing of it was used",
        code="PAGE_REPEATED",
        endpoint=endpoint,
    )

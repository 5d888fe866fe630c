"""Reading a whole module by bulk read: a job per 200,000 rows, polled, streamed to disk, read from there.

Implements facts `zoho-crm` section 3.1. What it cannot do ends in `NoBulk`, before or after some rows: then
the caller reads the module by COQL instead. No callback is asked for: it carries no signature, needs an
address that Zoho can reach, and saves no more than a few polls of one credit each.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, BinaryIO, TypeVar

import msgspec

from service.errors import NoBulk, QuotaExhausted, ZohoDenied, ZohoError
from service.zoho import bulk_file, crm_answers
from service.zoho.transport import Call, Transport
from service.zoho.wire import Answer

PATH = "/crm/bulk/v8/read"
CREATE, STATUS = f"POST {PATH}", f"GET {PATH}/{{id}}"
PAGE = 200_000
"""Rows of one job, the most that CRM gives."""
JOB_CREDITS = 50
"""By the tables; a note says 500. `/__apis` tells what it is for an organisation."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 20.0
LONGEST_JOB_S = 1_800.0
"""Nobody promises how long a job takes; after half an hour of it COQL would have been done."""
LONGEST_REST_S = 120.0
"""How long a download may wait for its window: ten a minute."""
MOST_PAGES = 1_000
DONE, FAILED = "COMPLETED", {"FAILURE", "FAILED"}
TOKEN_GONE = {"EXPIRED_VALUE", "TOKEN_BOUND_DATA_MISMATCH", "INVALID_DATA"}
BULK_ALONE = {
    "PAGE_RANGE_EXCEEDED",
    "MODULE_NOT_AVAILABLE",
    "MODULE_NOT_SUPPORTED",
    "FIELD_NOT_SUPPORTED",
    "NOT_SUPPORTED",
    "RESOURCE_NOT_FOUND",
    *TOKEN_GONE,
}
"""Refusals that say nothing about the module itself; if they do, COQL will say so again."""

Row = Mapping[str, str]
T = TypeVar("T")


class Result(msgspec.Struct, frozen=True):
    """What a finished job tells of its file."""

    count: int | None = None
    more_records: bool = False
    next_page_token: str | None = None


class Status(msgspec.Struct, frozen=True):
    """How far a job is; `result` means nothing before it is done."""

    state: str = ""
    result: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which rows a job is asked for: all of a module, by page; `token` stands for everything else."""

    module: str
    columns: Sequence[str]
    number: int = 1
    token: str | None = None

    def query(self) -> dict[str, Any]:
        """Return the `query` of a job's request."""
        if self.token is not None:
            return {"page_token": self.token}
        fields = [name for name in self.columns if name != bulk_file.ID]
        return {"module": {"api_name": self.module}, "fields": fields, "page": self.number}


class BulkReader:
    """Reads whole modules of one organisation."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._pace = transport.pace

    @property
    def job_credits(self) -> int:
        """Return what a job costs in this organisation, as far as that is known."""
        return self._transport.price(CREATE, JOB_CREDITS)

    def rows(self, module: str, columns: Sequence[str]) -> Iterator[Row]:
        """Yield every row of a module as texts, in CRM's order, each with `columns`.

        Raises `NoBulk` where COQL has to take over, `ZohoError` where a file cannot be believed.
        """
        page = Page(module=module, columns=columns)
        seen: set[str] = set()
        for _ in range(MOST_PAGES):
            job_id, result = self._job(page)
            with tempfile.TemporaryFile(prefix="consent-bulk-") as file:
                self._download(job_id, file)
                yield from bulk_file.rows(file, columns, expected=result.count)
            if not result.more_records:
                return
            page = Page(
                module=module, columns=columns, number=page.number + 1, token=result.next_page_token or None
            )
            if page.token in seen:
                break
            seen |= {page.token} if page.token else set()
        raise NoBulk("a bulk read has no end; the module is read by COQL", code="PAGE_REPEATED")

    def _job(self, page: Page) -> tuple[str, Result]:
        """Return id and result of the job for a page; one whose token is refused is asked for by number."""
        try:
            job_id = self._create(page)
        except ZohoError as error:
            if page.token is None or error.code not in TOKEN_GONE:
                raise _no_bulk(error, page.module) from None
            return self._job(Page(module=page.module, columns=page.columns, number=page.number))
        return job_id, self._finished(job_id)

    def _create(self, page: Page) -> str:
        call = Call(
            method="POST",
            path=PATH,
            endpoint=CREATE,
            headers={"Content-Type": "application/json"},
            body=msgspec.json.encode({"query": page.query(), "file_type": "csv"}),
            credits=JOB_CREDITS,
        )
        answer = self._transport.send(call)
        found = crm_answers.rows(answer, CREATE, about=f"module {page.module!r}")
        details = found[0].get("details") if found else None
        job_id = str(details.get("id", "")) if isinstance(details, dict) else ""
        if not job_id.isdecimal():
            raise NoBulk("CRM began a bulk read without telling its id", code="UNREADABLE", endpoint=CREATE)
        return job_id

    def _finished(self, job_id: str) -> Result:
        """Wait for a job, asking ever more seldom, and return its result."""
        until, pause_s = self._pace.clock() + timedelta(seconds=LONGEST_JOB_S), FIRST_PAUSE_S
        while self._pace.clock() < until:
            self._pace.rest(pause_s)
            pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)
            status = self._status(job_id)
            if status.state == DONE and status.result is not None:
                return _typed(status.result, Result)
            if status.state in FAILED:
                raise NoBulk("CRM's bulk read failed; the module is read by COQL", code="BULK_FAILURE")
        raise NoBulk("CRM's bulk read does not end; the module is read by COQL", code="BULK_STUCK")

    def _status(self, job_id: str) -> Status:
        call = Call(method="GET", path=f"{PATH}/{job_id}", endpoint=STATUS, credits=1)
        try:
            found = crm_answers.rows(self._transport.send(call), STATUS)
        except ZohoError as error:
            raise _no_bulk(error) from None
        status = _typed(found[0] if found else {}, Status)
        return msgspec.structs.replace(status, state=status.state.strip().upper())

    def _download(self, job_id: str, file: BinaryIO) -> None:
        call = Call(
            method="GET", path=f"{PATH}/{job_id}/result", endpoint=bulk_file.ENDPOINT, into=file, credits=1
        )
        answer = self._sent(call)
        if answer.body:  # not the file but what CRM says instead of it
            crm_answers.rows(answer, bulk_file.ENDPOINT)
        file.seek(0)

    def _sent(self, call: Call) -> Answer:
        """Return the answer to a download, waiting for its window where that opens soon."""
        ends = self._pace.clock() + timedelta(seconds=LONGEST_REST_S)
        while True:
            try:
                return self._transport.send(call)
            except QuotaExhausted as error:
                self._rest_until(error, ends)

    def _rest_until(self, error: QuotaExhausted, ends: datetime) -> None:
        if error.until is None or error.until > ends:
            raise error
        self._pace.rest((error.until - self._pace.clock()).total_seconds() + 0.1)


def _no_bulk(error: ZohoError, module: str = "") -> ZohoError:
    """Return what a refusal means: `NoBulk` where it is about bulk read alone, else the error itself."""
    if not isinstance(error, ZohoDenied) and error.code not in BULK_ALONE:
        return error
    about = f" of module {module!r}" if module else ""
    return NoBulk(
        f"CRM gives no bulk read{about} ({error.code}); it is read by COQL",
        code=error.code,
        endpoint=error.endpoint,
    )


def _typed(found: Mapping[str, Any], kind: type[T]) -> T:
    try:
        return msgspec.convert(found, kind, strict=False)
    except msgspec.ValidationError:
        raise NoBulk("CRM tells of a bulk read in words we do not know", code="UNREADABLE") from None

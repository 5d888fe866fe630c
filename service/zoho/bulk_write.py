"""Opting out tens of thousands of records with one job: an option for very large repairs, off by default.

Implements facts `zoho-crm` section 3.2. A bulk write cannot say `trigger: []`, so the organisation's own
automations may run; it has no `If-Unmodified-Since`, so it would overwrite what a person just wrote, which is
why it carries stops alone; it costs 500 credits; and how each record ended is told at its end only. What is
not certain afterwards is reported as such, and read back by who asked.
"""

import io
import secrets
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import msgspec

from service.errors import Unreachable, ZohoError
from service.reconciler.port import CrmChange, Result
from service.zoho import bulk_file, crm_answers
from service.zoho.transport import Call, Transport
from service.zoho.wire import NO_ANSWER, is_loopback

PATH = "/crm/bulk/v8/write"
UPLOAD, CREATE, STATUS = "POST /crm/v8/upload", f"POST {PATH}", f"GET {PATH}/{{id}}"
RESULT = "GET bulk-write/{id}.zip"
MOST_ROWS = 25_000
JOB_CREDITS = 500
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 20.0
LONGEST_JOB_S = 1_800.0
ZOHO_DOMAINS = (
    *(f".zoho.{end}" for end in ("com", "eu", "in", "com.au", "jp", "com.cn", "sa")),
    *(f".zohoapis.{end}" for end in ("com", "eu", "in", "com.au", "jp", "com.cn", "sa", "ca")),
    ".zohocloud.ca",
)
"""Where a result may be fetched with our token."""

UPLOAD_HOSTS = {"www.zohoapis.ca": "upload.zohocloud.ca", "www.zohoapis.sa": "files.zoho.sa"}
"""Elsewhere it is `content.` of the API's domain (facts, section 1.1)."""


class BulkWriter:
    """Writes stops of one organisation; `opt_out` is the field that says stop."""

    def __init__(self, transport: Transport, opt_out: str) -> None:
        self._transport = transport
        self._pace = transport.pace
        self._opt_out = opt_out

    def stop(self, zgid: str, changes: Sequence[CrmChange]) -> Sequence[Result]:
        """Return one result per change, in order; all are stops of one module, 25,000 at most.

        Raises `ZohoError` while nothing was written; a job of which no end is known gives results with the
        code UNREACHABLE and `retry`.
        """
        assert len({change.module for change in changes}) == 1
        assert len(changes) <= MOST_ROWS
        assert all(change.opted_out and change.unmodified_since is None for change in changes)
        file_id = self._upload(zgid, changes)
        try:
            job_id = self._create(changes[0].module, file_id)
            ended = self._ended(job_id)
            return self._results(changes, ended)
        except Unreachable as error:
            return [_unknown(change, error) for change in changes]

    def _upload(self, zgid: str, changes: Sequence[CrmChange]) -> str:
        boundary = secrets.token_hex(16)
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="stops.zip"\r\n'
        body = f"{head}Content-Type: application/zip\r\n\r\n".encode() + self._zip(changes)
        answer = self._transport.send(
            Call(
                method="POST",
                path="/crm/v8/upload",
                endpoint=UPLOAD,
                host=upload_host,
                headers={
                    "Content-Type": f"multipart/form-data; boundary={boundary}",
                    "feature": "bulk-write",
                    "X-CRM-ORG": zgid,
                },
                body=body + f"\r\n--{boundary}--\r\n".encode(),
                credits=1,
            )
        )
        return _id(crm_answers.single(answer, UPLOAD), "file_id", UPLOAD)

    def _zip(self, changes: Sequence[CrmChange]) -> bytes:
        file = io.BytesIO()
        lines = [f"id,{self._opt_out}", *(f"{int(change.record_id)},true" for change in changes), ""]
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("stops.csv", "\n".join(lines))
        return file.getvalue()

    def _create(self, module: str, file_id: str) -> str:
        mappings = [{"api_name": "id", "index": 0}, {"api_name": self._opt_out, "index": 1}]
        resource = {
            "type": "data",
            "module": {"api_name": module},
            "file_id": file_id,
            "find_by": "id",
            "field_mappings": mappings,
        }
        call = Call(
            method="POST",
            path=PATH,
            endpoint=CREATE,
            headers={"Content-Type": "application/json"},
            body=msgspec.json.encode({"operation": "update", "ignore_empty": True, "resource": [resource]}),
            credits=JOB_CREDITS,
            repeatable=False,
        )
        return _id(crm_answers.single(self._transport.send(call), CREATE), "id", CREATE)

    def _ended(self, job_id: str) -> Mapping[str, Any]:
        """Wait for a job, asking ever more seldom; one that failed or does not end is `Unreachable`."""
        until, pause_s = self._pace.clock() + timedelta(seconds=LONGEST_JOB_S), FIRST_PAUSE_S
        while self._pace.clock() < until:
            self._pace.rest(pause_s)
            pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)
            call = Call(method="GET", path=f"{PATH}/{job_id}", endpoint=STATUS, credits=1)
            found = crm_answers.single(self._transport.send(call), STATUS)
            state = str(found.get("status", "")).strip().upper()
            if state == "COMPLETED":
                return found
            if state in {"FAILED", "FAILURE"}:
                raise _uncertain("failed", "BULK_FAILURE")
        raise _uncertain("does not end", "BULK_STUCK")

    def _results(self, changes: Sequence[CrmChange], job: Mapping[str, Any]) -> Sequence[Result]:
        """Return what the result's file says about each change."""
        with tempfile.TemporaryFile(prefix="consent-bulk-") as file:
            sha256 = self._download(str((job.get("result") or {}).get("download_url", "")), file)
            rows = bulk_file.rows(file, ("id", "STATUS", "ERRORS"), expected=len(changes))
            told = {row["id"]: (row["STATUS"].upper(), row["ERRORS"]) for row in rows}
        return [_result(change, *told.get(change.record_id, ("", "")), sha256) for change in changes]

    def _download(self, url: str, file: BinaryIO) -> bytes:
        place = urlsplit(url)

        def host(base: str) -> str:
            """Return where the result is, if that is a host of Zoho's or the API's own."""
            own = not place.netloc or place.netloc == urlsplit(base).netloc
            if own:
                return base
            if place.scheme == "https" and (place.hostname or "").endswith(ZOHO_DOMAINS):
                return f"https://{place.hostname}"
            raise _uncertain("names a result that is not at Zoho's", "FOREIGN_RESULT")

        path = place.path if place.path.startswith("/") else f"/{place.path}"
        self._transport.send(Call(method="GET", path=path, endpoint=RESULT, host=host, into=file, credits=1))
        file.seek(0)
        return bulk_file.sha256(file)


def upload_host(base: str) -> str:
    """Return the host that takes files, beside the API's `base`."""
    name = urlsplit(base).hostname or ""
    if is_loopback(base) or not name.startswith("www.zohoapis."):
        return base
    return f"https://{UPLOAD_HOSTS.get(name, name.replace('www.', 'content.', 1))}"


def _id(found: Mapping[str, Any], name: str, endpoint: str) -> str:
    details = found.get("details")
    number = str(details.get(name, "")) if isinstance(details, dict) else ""
    if not number.isdecimal():
        raise Unreachable(f"CRM answered {endpoint} without {name!r}", code="UNREADABLE", endpoint=endpoint)
    return number


def _result(change: CrmChange, status: str, errors: str, sha256: bytes) -> Result:
    """Return the result of one row: its errors are `CODE-column`, several with a colon between them."""
    done = status == "UPDATED"
    code = "SUCCESS" if done else errors.partition(":")[0].partition("-")[0] or status or "UNREACHABLE"
    return Result(
        target=f"{change.module}/{change.record_id}",
        done=done,
        code=code,
        answer_sha256=sha256,
        retry=not done and (status in ("", "UNPROCESSED") or code in crm_answers.TRANSIENT),
        reason="" if done else crm_answers.scrub(errors),
    )


def _unknown(change: CrmChange, error: ZohoError) -> Result:
    return Result(
        target=f"{change.module}/{change.record_id}",
        done=False,
        code="UNREACHABLE",
        answer_sha256=NO_ANSWER,
        retry=True,
        reason=str(error),
    )


def _uncertain(why: str, code: str) -> Unreachable:
    return Unreachable(
        f"CRM's bulk write {why}; whether records were written is unknown: they are read back", code=code
    )

"""The one connection pool of an organisation: send a request, get bytes or learn that none came.

The only module that knows httpx. It interprets nothing, repeats nothing and logs nothing; what it
returns names no URL, header or address, so that nothing personal can leak through an error.
"""

import hashlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from http import HTTPStatus
from queue import Empty, LifoQueue
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import httpx
import msgspec

from service.errors import Unreachable

LARGEST_ANSWER = 32 * 1024 * 1024
"""Bytes; a page of 2,000 records is about one MiB."""

LONGEST_ANSWER_S = 120.0
"""Seconds that one answer may trickle in before it is given up."""

LARGEST_FILE = 4 * 1024**3
LONGEST_FILE_S = 1_800.0
"""Bytes and seconds of an answer that is written to a file; 200,000 rows of a bulk read are some ten MiB."""

DAY_S = 86_400.0

CONNECTIONS = 10
"""At a time: CRM's sub-concurrency of every edition (facts, section 6)."""
HOSTS = 3
"""Accounts, CRM and Campaigns: each of the ten keeps a connection to each of them."""

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: status, headers in lower case, and the body as it was sent."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def sha256(self) -> bytes:
        """Return the SHA-256 of the raw body, which is kept as evidence."""
        return hashlib.sha256(self.body).digest()

    def json(self, endpoint: str) -> Any:  # noqa: ANN401  # whatever JSON the other side sent
        """Return the decoded body; raises `Unreachable` where it is not JSON (an HTML page of a gateway)."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        raise Unreachable(
            f"{endpoint} answered HTTP {self.status} with something that is not JSON; try again later",
            code=f"HTTP_{self.status}",
            endpoint=endpoint,
        )

    def dated(self) -> datetime | None:
        """Return when the other side says it answered (RFC 9110, 6.6.1), in whole seconds, or None."""
        try:
            when = parsedate_to_datetime(self.headers.get("date", ""))
        except ValueError:
            return None
        return when.replace(tzinfo=when.tzinfo or UTC)

    def retry_after_s(self, now: datetime) -> float | None:
        """Return the seconds that `Retry-After` asks for (RFC 9110, 10.2.3), a day at most, or None."""
        text = self.headers.get("retry-after", "").strip()
        if text.isdecimal():
            return min(float(text), DAY_S)
        try:
            when = parsedate_to_datetime(text)
        except ValueError:
            return None
        seconds = (when.replace(tzinfo=when.tzinfo or UTC) - now).total_seconds()
        return min(max(0.0, seconds), DAY_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """No answer. `sent` False means that the request certainly never left; else the outcome is unknown."""

    sent: bool
    why: str


NO_ANSWER = hashlib.sha256(b"").digest()
"""What stands for the evidence of an answer that never came."""


@cache
def _authorities() -> ssl.SSLContext:
    """Return who vouches for Zoho's hosts, loaded once: that takes longer than a call on loopback."""
    return httpx.create_ssl_context(trust_env=False)


class _Pool(httpx.BaseTransport):
    """Ten transports, each in one thread's hands from its request to the end of the answer.

    A pool of httpx that threads share looks at every connection whenever it lends one, and may take the
    answer that just comes in on another thread's for the other side's farewell, and close it: the answer to
    a write is lost.
    """

    def __init__(self, authorities: ssl.SSLContext) -> None:
        # Idle ones are dropped before common servers (5 s) drop them, so that no write is lost to a dying
        # connection.
        limits = httpx.Limits(max_connections=HOSTS, keepalive_expiry=4.0)
        self._all = [
            httpx.HTTPTransport(verify=authorities, trust_env=False, http2=False, limits=limits)
            for _ in range(CONNECTIONS)
        ]
        self._free: LifoQueue[httpx.HTTPTransport] = LifoQueue()  # the last used is the likeliest to be open
        for one in self._all:
            self._free.put(one)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Return the answer, of which the body is still to come; raises `httpx.RequestError`."""
        try:
            mine = self._free.get(timeout=request.extensions["timeout"]["pool"])
        except Empty:
            raise httpx.PoolTimeout("all connections are in use", request=request) from None
        with ExitStack() as until_read:
            until_read.callback(self._free.put, mine)
            answer = mine.handle_request(request)
            return httpx.Response(
                answer.status_code,
                headers=answer.headers,
                stream=_Body(answer, until_read.pop_all()),
                extensions=answer.extensions,
            )

    def close(self) -> None:
        """Close all connections."""
        for one in self._all:
            one.close()


class _Body(httpx.SyncByteStream):
    """The body of an answer; once it is closed, its connection is free for the next request."""

    def __init__(self, answer: httpx.Response, then: ExitStack) -> None:
        self._answer = answer
        self._then = then

    def __iter__(self) -> Iterator[bytes]:
        return self._answer.iter_raw()

    def close(self) -> None:
        with self._then:
            self._answer.close()


class Line:
    """The HTTP/1.1 client of an organisation; no proxies from the environment, no redirects."""

    def __init__(
        self,
        *,
        connect_timeout_s: float = 5.0,
        read_timeout_s: float = 30.0,
        authorities: ssl.SSLContext | None = None,
    ) -> None:
        self._client = httpx.Client(
            transport=_Pool(authorities or _authorities()),
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(read_timeout_s, connect=connect_timeout_s),
        )

    def exchange(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        body: bytes | None = None,
        into: BinaryIO | None = None,
    ) -> Answer | Lost:
        """Send one request once and return what came of it; never raises for the network's sake.

        With `into`, the body of a 200 replaces that file's content, and the answer's own body is empty.
        """
        request = self._client.build_request(
            method, url, headers=headers, params=params or None, data=form, content=body
        )
        try:
            return self._read(request, into)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return Lost(sent=False, why=_why(error))
        except httpx.RequestError as error:
            return Lost(sent=True, why=type(error).__name__)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _read(self, request: httpx.Request, into: BinaryIO | None) -> Answer | Lost:
        started = time.monotonic()
        response = self._client.send(request, stream=True)
        to_file = into if response.status_code == HTTPStatus.OK else None
        longest_s, largest = (
            (LONGEST_ANSWER_S, LARGEST_ANSWER) if to_file is None else (LONGEST_FILE_S, LARGEST_FILE)
        )
        size, body = 0, bytearray()
        try:
            if to_file is not None:
                to_file.seek(0)
                to_file.truncate()
            for chunk in response.iter_bytes():
                size += len(chunk)
                if size > largest or time.monotonic() - started > longest_s:
                    return Lost(sent=True, why="AnswerTooLong")
                if to_file is None:
                    body += chunk
                else:
                    to_file.write(chunk)
        finally:
            response.close()
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(status=response.status_code, headers=headers, body=bytes(body))


def _why(error: httpx.TransportError) -> str:
    """Return why no connection came about: a name and a certificate are mended elsewhere than a network."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return "no such host name"
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate of the host is not valid: {cause.verify_message}"
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__


def is_loopback(url: str) -> bool:
    """Return whether `url` stays on this machine."""
    host = urlsplit(url).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")

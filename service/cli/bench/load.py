"""The load: kept-alive connections that each post the next event as soon as the last one is answered.

It shares the machine with what it measures, so it does as little as it can.
"""

import asyncio
import json
import time
from collections.abc import Iterator
from itertools import count
from typing import Any, Final, cast

import uvloop

from service.errors import Unavailable

BODY: Final[dict[str, Any]] = {
    "category": "consent.granted",
    "purpose": "marketing",
    "evidence": {
        "notice_sha256": "5355dab57ecef4e1a9aa59420a3b9a015f26696abb692f12c926d2e4679a8126",
        "notice_version": "2026-01",
        "control": "tick",
        "page_url": "https://acme.example/newsletter",
    },
}
"""What somebody posts who ticked a box, but for the address."""


def load(port: int, connections: int, seconds: float, requests: Iterator[bytes]) -> list[float]:
    """Post until the time is over; return how long each answered request took, in seconds."""
    return uvloop.run(_load(port, connections, seconds, requests))


def single_posts(port: int, token: str, name: str) -> Iterator[bytes]:
    """Yield requests about ever new people, each under a key of its own; `name` fits into an address."""
    head = _head(port, token)
    for number in count():
        body = json.dumps({**BODY, "email": f"{name}-{number}@example.com"}).encode()
        yield b"%sIdempotency-Key: %s-%d\r\nContent-Length: %d\r\n\r\n%s" % (
            head,
            name.encode(),
            number,
            len(body),
            body,
        )


def array_posts(port: int, token: str, name: str, length: int) -> Iterator[bytes]:
    """Yield requests with arrays of this many events about ever new people."""
    head = _head(port, token)
    for turn in count():
        events = [{**BODY, "email": f"{name}-{turn}-{number}@example.com"} for number in range(length)]
        body = json.dumps(events).encode()
        key = f"{name}-{turn}".encode()
        yield b"%sIdempotency-Key: %s\r\nContent-Length: %d\r\n\r\n%s" % (head, key, len(body), body)


def _head(port: int, token: str) -> bytes:
    return (
        f"POST /api/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
    ).encode()


class _Connection(asyncio.Protocol):
    """One connection; what is asked is not parsed beyond where the answer ends."""

    def __init__(
        self, requests: Iterator[bytes], until: float, times: list[float], done: asyncio.Future[None]
    ) -> None:
        self._requests, self._until, self._times, self._done = requests, until, times, done
        self._buffer = b""
        self._whole = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one, and does not say so
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._whole:
            self._whole = _length(self._buffer)
        if not self._whole or len(self._buffer) < self._whole:
            return
        if not self._buffer.startswith(b"HTTP/1.1 201"):
            self._fail(self._buffer.decode())
            return
        self._times.append(time.perf_counter() - self._asked)
        self._buffer, self._whole = b"", 0
        self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(f"the server hung up ({error})")

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        if self._asked < self._until:
            self._transport.write(next(self._requests))
            return
        if not self._done.done():
            self._done.set_result(None)
        self._transport.close()

    def _fail(self, why: str) -> None:
        if not self._done.done():
            self._done.set_exception(Unavailable(why))
        self._transport.close()


def _length(begun: bytes) -> int:
    """Return how long a whole answer is, 0 while its head has not come."""
    end = begun.find(b"\r\n\r\n")
    if end < 0:
        return 0
    return end + 4 + int(begun[:end].lower().partition(b"content-length: ")[2].split(b"\r")[0])


async def _load(port: int, connections: int, seconds: float, requests: Iterator[bytes]) -> list[float]:
    loop, times = asyncio.get_running_loop(), list[float]()
    until = time.perf_counter() + seconds
    done = [loop.create_future() for _ in range(connections)]
    for one in done:
        await loop.create_connection(
            lambda one=one: _Connection(requests, until, times, one),  # type: ignore[misc]  # a default is no cell
            "127.0.0.1",
            port,
        )
    await asyncio.gather(*done)
    return times

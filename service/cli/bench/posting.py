"""Durable `POST /api/events` per second, beside a bare ASGI handler and a naive design, asked in turn."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, Final, cast

import uvloop

from service import db, settings
from service.errors import Unavailable
from service.vault.keys import create_keys
from service.web import auth

BODY: Final = {
    "category": "consent.granted",
    "purpose": "marketing",
    "evidence": {
        "notice_sha256": "5355dab57ecef4e1a9aa59420a3b9a015f26696abb692f12c926d2e4679a8126",
        "notice_version": "2026-01",
        "control": "tick",
        "page_url": "https://acme.example/newsletter",
    },
}
ANSWER: Final = b"x" * 1_900
"""As long as the answer with its receipt."""
START_S: Final = 30
BARE: Final = "bare ASGI"


@dataclass(frozen=True, slots=True)
class Target:
    """A server that listens, and the key that it lets in."""

    port: int
    token: str = "none"  # noqa: S105  # there is nobody to ask for it


@dataclass(frozen=True, slots=True)
class Round:
    """What one measurement of one target gave: answers per second, and seconds per answer, sorted."""

    rate: float
    times: list[float]

    def percentile_ms(self, share: float) -> float:
        """Return how long the answer at this share of all took."""
        return self.times[int(share * (len(self.times) - 1))] * 1000


async def bare(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    """Read the body and answer; everything that a web service cannot do without, and nothing else."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER})


def measure_posts(targets: dict[str, Target], connections: int, *, rounds: int, seconds: float) -> str:
    """Return a table of all targets over this many connections, each asked in turn, medians of the rounds."""
    streams = {
        name: _requests(target, f"{name.split()[0]}-{connections}") for name, target in targets.items()
    }
    found: dict[str, list[Round]] = {name: [] for name in targets}
    for turn in range(rounds + 1):
        for name, target in targets.items():
            took = uvloop.run(_load(target.port, connections, seconds, streams[name]))
            if turn:  # the first round warms up
                found[name].append(Round(len(took) / seconds, sorted(took)))
    return _table(found, connections)


def _table(found: dict[str, list[Round]], connections: int) -> str:
    rates = {name: median(one.rate for one in rounds) for name, rounds in found.items()}
    naive = next((rate for name, rate in rates.items() if name.startswith("naive")), 0.0)
    columns = "".join(f" {name:>8}" for name in ("per s", "of bare", "x naive", "p50 ms", "p99 ms"))
    lines = [f"{f'{connections} connections':18}{columns}"]
    for name, rounds in found.items():
        p50, p99 = (median(one.percentile_ms(part) for one in rounds) for part in (0.5, 0.99))
        better = f"{rates[name] / naive:.1f}" if naive and name != BARE else ""
        share = rates[name] / rates[BARE]
        lines.append(f"{name:18} {rates[name]:>8.0f} {share:>8.3f} {better:>8} {p50:>8.1f} {p99:>8.1f}")
    return "\n".join(lines) + "\n"


class _Connection(asyncio.Protocol):
    """One kept-alive connection that sends the next request as soon as the last is answered."""

    def __init__(
        self, requests: Iterator[bytes], until: float, times: list[float], done: asyncio.Future[None]
    ) -> None:
        self._requests, self._until, self._times, self._done = requests, until, times, done
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one, and does not say so
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0]):
            return
        if not head.startswith(b"HTTP/1.1 201"):
            self._done.set_exception(Unavailable(self._buffer.decode()))
            self._transport.close()
            return
        self._times.append(time.perf_counter() - self._asked)
        self._buffer = b""
        self._ask()

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        if self._asked >= self._until:
            self._transport.close()
            self._done.set_result(None)
        else:
            self._transport.write(next(self._requests))


async def _load(port: int, connections: int, seconds: float, requests: Iterator[bytes]) -> list[float]:
    """Return how long each answered request took, in seconds."""
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


def _requests(target: Target, name: str) -> Iterator[bytes]:
    """Yield requests about ever new people, each under a key of its own."""
    for number in count():
        body = json.dumps({**BODY, "email": f"{name.lower().strip(',')}-{number}@example.com"}).encode()
        yield (
            f"POST /api/events HTTP/1.1\r\nHost: 127.0.0.1:{target.port}\r\n"
            f"Authorization: Bearer {target.token}\r\nContent-Type: application/json\r\n"
            f"Idempotency-Key: {name}-{number}\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body


@contextmanager
def uvicorn_app(where: str, environment: dict[str, str], *more: str) -> Iterator[Target]:
    """Serve an ASGI application until the block ends."""
    port = _free_port()
    quiet = ("--no-access-log", "--log-level", "error", "--port", str(port), *more)
    with _served([sys.executable, "-m", "uvicorn", where, *quiet], environment, port):
        yield Target(port)


@contextmanager
def our_service(folder: Path, url: str) -> Iterator[Target]:
    """Serve the service on this database, as `consent-ledger serve` does."""
    port = _free_port()
    environment = _prepared(folder, url) | {"CONSENT_PORT": str(port)}
    database = db.Database(url)
    token = auth.create_key(database, "bench", [auth.EVENTS_WRITE])
    database.close()
    with _served([sys.executable, "-m", "service", "serve"], environment, port):
        yield Target(port, token)


@contextmanager
def naive_design(folder: Path, url: str) -> Iterator[Target]:
    """Serve the naive design on this database."""
    with uvicorn_app("service.cli.bench.naive:create", _prepared(folder, url), "--factory") as target:
        yield target


def _prepared(folder: Path, url: str) -> dict[str, str]:
    """Make keys and tables; return the environment of a service over them."""
    folder.mkdir()
    create_keys(settings.load(database_url=url, state_dir=folder))
    db.migrate(url)
    return {"CONSENT_DATABASE_URL": url, "CONSENT_STATE_DIR": str(folder)}


@contextmanager
def _served(command: list[str], environment: dict[str, str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.DEVNULL)  # noqa: S603  # our own
    try:
        _wait(process, port)
        yield
    finally:
        process.terminate()
        process.wait()


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise Unavailable("a server to be measured did not start; run `consent-ledger serve` to see why")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

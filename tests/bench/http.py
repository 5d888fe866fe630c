"""Durable `POST /api/events` per second beside a bare ASGI handler, in one interleaved run.

    python -m tests.bench.http [--connections 64] [--rounds 5] [--seconds 3] [--postgresql URL]

Servers and the load generator share this machine's cores. Every round asks each server in turn; the
table shows medians over the rounds, the share of the bare handler's rate, and the slowest hundredth.
The bare handler reads the body and answers 201 with as many bytes, over the same server and loop.
PostgreSQL: the URL of an empty database to be migrated; without it only SQLite is measured.
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

import uvloop

from service import db, settings
from service.vault.keys import create_keys
from service.web import auth

BODY = {
    "category": "consent.granted",
    "purpose": "marketing",
    "evidence": {
        "notice_sha256": "5355dab57ecef4e1a9aa59420a3b9a015f26696abb692f12c926d2e4679a8126",
        "notice_version": "2026-01",
        "control": "tick",
        "page_url": "https://acme.example/newsletter",
    },
}
ANSWER = b"x" * 1_900
"""As long as the answer with its receipt."""


async def bare(scope: dict, receive: Callable, send: Callable) -> None:
    """Read the body and answer; everything that a web service cannot do without, and nothing else."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER})


class Connection(asyncio.Protocol):
    """One kept-alive connection that sends the next request as soon as the last is answered."""

    def __init__(
        self, requests: Iterator[bytes], until: float, times: list[float], done: asyncio.Future
    ) -> None:
        self._requests, self._until, self._times, self._done = requests, until, times, done
        self._buffer = b""

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0]):
            return
        if not head.startswith(b"HTTP/1.1 201"):
            self._done.set_exception(RuntimeError(self._buffer.decode()))
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


async def load(port: int, connections: int, seconds: float, requests: Iterator[bytes]) -> list[float]:
    """Return how long each answered request took, in seconds."""
    loop, times = asyncio.get_running_loop(), []
    until = time.perf_counter() + seconds
    done = [loop.create_future() for _ in range(connections)]
    for one in done:
        await loop.create_connection(
            lambda one=one: Connection(requests, until, times, one), "127.0.0.1", port
        )
    await asyncio.gather(*done)
    return times


def requests(port: int, token: str, name: str) -> Iterator[bytes]:
    """Yield requests about ever new people, each under a key of its own."""
    for number in count():
        body = json.dumps({**BODY, "email": f"{name}-{number}@example.com"}).encode()
        yield (
            f"POST /api/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nIdempotency-Key: {name}-{number}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body


@contextmanager
def served(command: list[str], environment: dict[str, str], port: int) -> Iterator[int]:
    """Run a server until the block ends; wait until it listens."""
    process = subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def service(folder: Path, url: str) -> Iterator[tuple[int, str]]:
    """Serve on this database; yield the port and an API key."""
    port = free_port()
    folder.mkdir()
    environment = {"CONSENT_DATABASE_URL": url, "CONSENT_STATE_DIR": str(folder), "CONSENT_PORT": str(port)}
    create_keys(settings.load(database_url=url, state_dir=folder))
    db.migrate(url)
    database = db.Database(url)
    token = auth.create_key(database, "bench", [auth.EVENTS_WRITE])
    database.close()
    with served([sys.executable, "-m", "service", "serve"], environment, port):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz").read()
        yield port, token


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--postgresql")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stores = {"sqlite": f"sqlite:///{folder / 'ledger.db'}"}
        if options.postgresql:
            stores["postgresql"] = options.postgresql
        port = free_port()
        uvicorn = [sys.executable, "-m", "uvicorn", "tests.bench.http:bare", "--port", str(port)]
        stack.enter_context(served([*uvicorn, "--no-access-log", "--log-level", "error"], {}, port))
        targets = {"bare ASGI": (port, "none")}
        for name, url in stores.items():
            targets[name] = stack.enter_context(service(folder / name, url))
        report(measure(targets, options))


def measure(targets: dict[str, tuple[int, str]], options: argparse.Namespace) -> dict[str, list[list[float]]]:
    """Return the times of every round of every target, asked in turn."""
    streams = {name: requests(*target, name.split()[0]) for name, target in targets.items()}
    times: dict[str, list[list[float]]] = {name: [] for name in targets}
    for turn in range(options.rounds + 1):
        for name, (port, _) in targets.items():
            took = uvloop.run(load(port, options.connections, options.seconds, streams[name]))
            if turn:  # the first round warms up
                times[name].append([len(took) / options.seconds, *sorted(took)])
    return times


def report(times: dict[str, list[list[float]]]) -> None:
    """Print medians over the rounds."""
    rates = {name: statistics.median(round_[0] for round_ in rounds) for name, rounds in times.items()}
    base = rates["bare ASGI"]
    print(f"{'':12} {'per s':>8} {'of bare':>8} {'p50 ms':>8} {'p99 ms':>8}")
    for name, rounds in times.items():
        p50, p99 = (
            statistics.median(round_[1 + int(share * (len(round_) - 2))] for round_ in rounds) * 1000
            for share in (0.5, 0.99)
        )
        print(f"{name:12} {rates[name]:>8.0f} {rates[name] / base:>8.3f} {p50:>8.1f} {p99:>8.1f}")


if __name__ == "__main__":
    main()

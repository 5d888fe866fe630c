"""What is measured: servers on this machine, each a process of its own, over databases made for them."""

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import create_engine, text

from service import db, settings
from service.db.engine import parse_url
from service.errors import Unavailable
from service.vault.keys import create_keys
from service.web import auth

ANSWER: Final = b"x" * 1_900
"""As long as the answer with its receipt."""
START_S: Final = 30
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_BUSY: Final = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"


@dataclass(frozen=True, slots=True)
class Target:
    """A server that listens, the key that it lets in, and the processes that work for it."""

    port: int
    pid: int
    token: str = "none"  # noqa: S105  # there is nobody to ask for it
    database: str = ""

    def cpu_s(self) -> float:
        """Return the processor seconds that the server took so far, the database's own not among them."""
        return _cpu_s(self.pid)

    def database_cpu_s(self) -> float:
        """Return the processor seconds of whoever serves its PostgreSQL connections, 0 for SQLite."""
        if not self.database.startswith("postgresql"):
            return 0.0
        with closing(db.Database(self.database)) as database, database.read() as tx:
            mine = tx.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            pids = [pid for pid in tx.execute(text(_BUSY)).scalars() if pid != mine]
        return sum(map(_cpu_s, pids))


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


@contextmanager
def bare_handler() -> Iterator[Target]:
    """Serve `bare` until the block ends."""
    with _uvicorn_app("service.cli.bench.targets:bare", {}) as target:
        yield target


@contextmanager
def our_service(folder: Path, url: str, processes: int) -> Iterator[Target]:
    """Serve the service on this database, as `consent-ledger serve` does."""
    port = _free_port()
    environment = prepared(folder, url) | {"CONSENT_PORT": str(port)}
    with closing(db.Database(url)) as database:
        token = auth.create_key(database, "bench", [auth.EVENTS_WRITE])
    with _served(
        [sys.executable, "-m", "service", "serve", "--processes", str(processes)], environment, port
    ) as pid:
        yield Target(port, pid, token, url)


@contextmanager
def naive_design(folder: Path, url: str) -> Iterator[Target]:
    """Serve the naive design on this database."""
    with _uvicorn_app("service.cli.bench.naive:create", prepared(folder, url), "--factory") as target:
        yield Target(target.port, target.pid, database=url)


@contextmanager
def simulated_zoho(file: Path) -> Iterator[Target]:
    """Serve the simulated organisation in this file, as `consent-ledger simulate` does."""
    port = _free_port()
    command = [sys.executable, "-m", "service", "simulate", "--port", str(port), "--file", str(file)]
    with _served(command, {}, port) as pid:
        yield Target(port, pid)


@contextmanager
def own_database(server: str, name: str) -> Iterator[str]:
    """Make a PostgreSQL database beside the one of this URL, yield its URL, and drop it afterwards."""
    named = f"bench_{name}_{secrets.token_hex(4)}"
    where = parse_url(server).set(drivername="postgresql+psycopg")
    engine = create_engine(where, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {named} TEMPLATE template0")
        yield where.set(database=named).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {named} WITH (FORCE)")
        engine.dispose()


@contextmanager
def _uvicorn_app(where: str, environment: Mapping[str, str], *more: str) -> Iterator[Target]:
    port = _free_port()
    quiet = ("--no-access-log", "--log-level", "error", "--port", str(port), *more)
    with _served([sys.executable, "-m", "uvicorn", where, *quiet], environment, port) as pid:
        yield Target(port, pid)


def prepared(folder: Path, url: str) -> dict[str, str]:
    """Make keys and tables; return the environment of a service over them."""
    folder.mkdir()
    create_keys(settings.load(database_url=url, state_dir=folder))
    db.migrate(url)
    fence = str(folder / "fence")
    return {"CONSENT_DATABASE_URL": url, "CONSENT_STATE_DIR": str(folder), "CONSENT_FENCE_FILE": fence}


@contextmanager
def _served(command: list[str], environment: Mapping[str, str], port: int) -> Iterator[int]:
    everything = {**os.environ, **environment}
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, env=everything, stdout=quiet, stderr=quiet)  # noqa: S603  # our own
    try:
        _wait(process, port)
        yield process.pid
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


def _cpu_s(pid: int) -> float:
    """Return the processor seconds of one process here and of its children; 0 where nothing tells them."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        threads = Path(f"/proc/{pid}/task").glob("*/children")
        children = [int(child) for thread in threads for child in thread.read_text(encoding="utf-8").split()]
    except OSError:
        return 0.0
    return sum(map(int, told[11:15])) / _TICKS + sum(map(_cpu_s, children))

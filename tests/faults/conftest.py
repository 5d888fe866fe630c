"""A primary with a synchronous standby, and small disks."""

import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from tests import servers
from tests.servers import Postgres


@dataclass(frozen=True)
class Pair:
    """Two servers; the primary answers a COMMIT once the standby has it."""

    primary: Postgres
    standby: Postgres


@pytest.fixture
def pair(shared: Path, durable_postgres: Postgres) -> Iterator[Pair]:
    """Yield a primary with the migrated database `ledger`, and its synchronous standby."""
    folder = shared / f"own-{uuid4().hex[:8]}"
    folder.mkdir()
    standby = Postgres(folder=folder, binaries=durable_postgres.binaries, settings=servers.DURABLE)
    standby.follow(durable_postgres)
    durable_postgres.set(synchronous_standby_names="*")
    try:
        yield Pair(durable_postgres, standby)
    finally:
        standby.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Callable[[bool], None]]:
    """Make `folder` a disk of so many megabytes, where that is allowed; yield how to fill it and free it.

    Who may not mount gets the same refusal from a limit on the size of files, set on the servers whose files
    are in the folder, or on this process where there are none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mounted = _mounted(folder, megabytes)
    try:
        yield (
            (lambda full: _ballast(folder, full=full))
            if mounted
            else (lambda full: _limit(folder, full=full))
        )
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)
        else:
            _limit(folder, full=False)


def _mounted(folder: Path, megabytes: int) -> bool:
    """Mount memory there; not where that is refused, or where the size is not heeded."""
    options = ["-t", "tmpfs", "-o", f"size={megabytes}m"]
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["mount", *options, "tmpfs", str(folder)], check=False, capture_output=True
        ).returncode
    ):
        return False
    if shutil.disk_usage(folder).total <= megabytes << 20:
        return True
    subprocess.run(["umount", "-l", str(folder)], check=True)
    return False


def _ballast(folder: Path, *, full: bool) -> None:
    ballast = folder / "ballast"
    if not full:
        ballast.unlink(missing_ok=True)
        return
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(1 << 16)):  # until there is no space
            pass


def _limit(folder: Path, *, full: bool) -> None:
    if servers_there := list(folder.rglob("postmaster.pid")):
        for file in servers_there:
            _limit_server(int(file.read_text().split("\n", 1)[0]), full=full)
        return
    largest = max((file.stat().st_size for file in folder.rglob("*") if file.is_file()), default=0)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest + 100_000 if full else hard, hard))


def _limit_server(pid: int, *, full: bool) -> None:
    """Let a server write into the first page of its files alone: the next page of its log is refused."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    usual = "unlimited" if hard == resource.RLIM_INFINITY else str(hard)
    limit = f"--fsize={8192 if full else usual}:"
    with suppress(psutil.NoSuchProcess):  # it may have ended itself meanwhile
        postmaster = psutil.Process(pid)
        for process in [postmaster, *postmaster.children(recursive=True)]:
            command = ["prlimit", "--pid", str(process.pid), limit]
            subprocess.run(command, check=False, capture_output=True, **servers.user())

"""What a power cut would have left: a program's writes as strace saw them, without those not yet synced.

A file's name is kept once its folder was synced, its content as it was when its last sync began. That is the
worst that a disk may do which keeps its word; a disk that lies about a sync is not shown.
"""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent.parent.parent
_LINE = re.compile(r"^(\d+) (?:<\.\.\. (\w+) resumed>|(\w+)\()(.*)$")
_WRITTEN = re.compile(r'^\d+<([^>]*)>, "([^"]*)", (\d+)(?:, (\d+))?')
_PATH = re.compile(r"^\d+<([^>]*)>(?:, (\d+))?")
CALLS = "pwrite64,write,fdatasync,fsync,ftruncate"


def traced(program: str, trace: Path) -> list[str]:
    """Run a Python program under strace; return the lines that it said."""
    strace = [
        "strace",
        "-f",
        "--seccomp-bpf",
        "-y",
        "-xx",
        "-s",
        "200000",
        "-e",
        f"trace={CALLS}",
        "-o",
        str(trace),
    ]
    done = subprocess.run(
        [*strace, sys.executable, "-c", program], cwd=HERE, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def write_and_say(path: str, synchronous: str, number: int) -> None:
    """Run under strace: insert so many rows with nothing but SQLite, and say each."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA synchronous={synchronous}")
        for row in range(number):
            connection.execute("INSERT INTO told VALUES (?)", [row])
            os.write(1, b"ack %d\n" % row)


def possible() -> bool:
    """Return whether strace is there and may be used."""
    return (
        shutil.which("strace") is not None
        and not subprocess.run(
            ["strace", "-o", "/dev/null", "true"], check=False, capture_output=True
        ).returncode
    )


@dataclass
class Disk:
    """Files in one folder: as programs see them, and as they would be after a power cut now."""

    folder: Path
    seen: dict[str, bytearray] = field(default_factory=dict)
    kept: dict[str, bytes] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for file in self.folder.iterdir():  # what is there at the beginning has been there for long
            self.seen[file.name] = bytearray(file.read_bytes())
            self.kept[file.name] = file.read_bytes()
            self.named.add(file.name)

    def after_a_power_cut(self, target: Path) -> Path:
        """Write what would be left into an empty folder."""
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        for name in self.named:
            (target / name).write_bytes(self.kept.get(name, b""))
        return target

    def replay(self, trace: Path) -> Iterator[bytes]:
        """Do what was traced; yield each line that the program said at the moment it said it."""
        waiting: dict[str, dict[str, bytes]] = {}
        for line in trace.read_text().splitlines():
            if (found := _LINE.match(line)) is None:
                continue
            thread, resumed, called, rest = found.groups()
            if resumed in ("fdatasync", "fsync"):
                self._sync(waiting.pop(thread))
            elif called in ("fdatasync", "fsync"):
                synced = self._began(rest)
                if rest.endswith("<unfinished ...>"):
                    waiting[thread] = synced
                else:
                    self._sync(synced)
            elif called in ("pwrite64", "write"):
                yield from self._write(rest)
            elif called == "ftruncate":
                self._cut(rest)

    def _name(self, path: str) -> str | None:
        place = Path(path)
        return place.name if place.parent == self.folder else None

    def _began(self, rest: str) -> dict[str, bytes]:
        """Return what a sync that begins now will keep; the folder's names under its own path."""
        found = _PATH.match(rest)
        assert found is not None, rest
        if Path(_text(found[1])) == self.folder:
            return {"": b"", **dict.fromkeys(self.seen, b"")}
        name = self._name(_text(found[1]))
        return {} if name is None else {name: bytes(self.seen.get(name, b""))}

    def _sync(self, synced: dict[str, bytes]) -> None:
        if "" in synced:
            self.named |= synced.keys() - {""}
        else:
            self.kept |= synced

    def _write(self, rest: str) -> Iterator[bytes]:
        if (found := _WRITTEN.match(rest)) is None:
            return
        path, data, offset = _text(found[1]), _bytes(found[2]), found[4]
        if path.startswith("pipe:"):
            yield data
        elif (name := self._name(path)) is not None:
            held = self.seen.setdefault(name, bytearray())
            at = int(offset) if offset is not None else len(held)
            held.extend(bytes(max(0, at + len(data) - len(held))))
            held[at : at + len(data)] = data

    def _cut(self, rest: str) -> None:
        found = _PATH.match(rest)
        assert found is not None, rest
        if (name := self._name(_text(found[1]))) is not None:
            held, size = self.seen.setdefault(name, bytearray()), int(found[2])
            del held[size:]
            held.extend(bytes(size - len(held)))


def _bytes(shown: str) -> bytes:
    return bytes.fromhex(shown.replace("\\x", ""))


def _text(shown: str) -> str:
    return _bytes(shown).decode()

"""What a power cut would have left: a program's writes as it asked for them, without those not yet synced.

A file's name is kept once its folder was synced, its content as it was when its last sync began. That is the
worst that a disk may do which keeps its word; a disk that lies about a sync is not shown. The calls are noted
by a small library between the program and the C library (power.c), which needs no rights at all.
"""

import os
import shutil
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent.parent.parent
_NOTE = struct.Struct("=cIqII")


def compiler() -> str | None:
    """Return the C compiler of this machine, if it has one."""
    return shutil.which("cc") or shutil.which("gcc")


def built(folder: Path) -> Path:
    """Compile the library that notes; return where it lies, which must be a disk that allows execution."""
    library = folder / "power.so"
    source = Path(__file__).with_name("power.c")
    done = subprocess.run(
        [str(compiler()), "-shared", "-fPIC", "-O1", "-Wall", "-pthread", "-o", str(library), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return library


def traced(program: str, trace: Path, *, by: Path) -> None:
    """Run a Python program, whose calls the library `by` notes in `trace`."""
    preload = " ".join(filter(None, [str(by), os.environ.get("LD_PRELOAD")]))
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=HERE,
        env={**os.environ, "LD_PRELOAD": preload, "POWER_NOTES": str(trace)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert trace.exists(), f"{by} was not loaded: {done.stderr}"


def write_and_say(path: str, synchronous: str, number: int) -> None:
    """Run while it is noted: insert so many rows with nothing but SQLite, and say each."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA synchronous={synchronous}")
        for row in range(number):
            connection.execute("INSERT INTO told VALUES (?)", [row])
            os.write(1, b"ack %d\n" % row)


@dataclass(frozen=True, slots=True)
class Note:
    """One call: of which kind, by which thread, on which file, where, and what; see power.c."""

    kind: bytes
    thread: int
    at: int
    path: Path
    data: bytes


def notes(trace: Path) -> Iterator[Note]:
    """Yield what the library noted, in the order of the calls."""
    held = trace.read_bytes()
    begin = 0
    while begin < len(held):
        kind, thread, at, path, data = _NOTE.unpack_from(held, begin)
        name = begin + _NOTE.size
        begin = name + path + data
        yield Note(kind, thread, at, Path(os.fsdecode(held[name : name + path])), held[name + path : begin])


@dataclass
class Disk:
    """Files in one folder: as programs see them, and as they would be after a power cut now."""

    folder: Path
    seen: dict[str, bytearray] = field(default_factory=dict)
    kept: dict[str, bytes] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.folder = self.folder.resolve()
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
        """Do what was noted; yield each line that the program said at the moment it said it.

        At the end the files must be those that the program left: no call went past the library.
        """
        syncing: dict[int, dict[str, bytes]] = {}
        for note in notes(trace):
            if note.kind == b"s":
                yield note.data
            elif self.folder in (note.path, note.path.parent):
                self._do(note, syncing)
        for file in self.folder.iterdir():
            assert self.seen.get(file.name, b"") == file.read_bytes(), f"{file.name} was written unseen"

    def _do(self, note: Note, syncing: dict[int, dict[str, bytes]]) -> None:
        match note.kind:
            case b"w":
                self._write(note)
            case b"t":
                held = self.seen.setdefault(note.path.name, bytearray())
                del held[note.at :]
                held.extend(bytes(note.at - len(held)))
            case b"u":
                self.seen.pop(note.path.name, None)
            case b"b":
                syncing[note.thread] = self._now(note.path)
            case b"e":
                self._keep(note.path, syncing.pop(note.thread))
            case b"f":
                syncing.pop(note.thread)

    def _write(self, note: Note) -> None:
        held = self.seen.setdefault(note.path.name, bytearray())
        held.extend(bytes(max(0, note.at + len(note.data) - len(held))))
        held[note.at : note.at + len(note.data)] = note.data

    def _now(self, path: Path) -> dict[str, bytes]:
        """Return what a sync that begins now will keep: a file's content, or a folder's names."""
        if path == self.folder:
            return dict.fromkeys(self.seen, b"")
        return {path.name: bytes(self.seen.get(path.name, b""))}

    def _keep(self, path: Path, synced: dict[str, bytes]) -> None:
        if path == self.folder:
            self.named = set(synced)
        else:
            self.kept |= synced

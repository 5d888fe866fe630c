"""The list of erasures beside the rollback fence: what a restored backup does not know any more.

Append-only text outside the database and its backups, one line per person and one per address, each
durable before the erasure is committed. Holds no address: a person is their random id, an address the
keyed hash that keeps it out. At a directory re-key both kinds are sorted, so that no line leads from one
to the other any more.

    person <subject, hex> <index of the entry> <reason> <POSIX milliseconds>
    address <keyed hash, hex> <reason> <POSIX milliseconds>
"""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from service.db import EPOCH, to_milliseconds
from service.errors import Misconfigured

_FIELDS = {"person": 5, "address": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What the list knows: why and when, by person and by address."""

    persons: Mapping[bytes, tuple[str, datetime]] = field(default_factory=dict)
    addresses: Mapping[bytes, tuple[str, datetime]] = field(default_factory=dict)


class ErasureList:
    """The file; `backup_days` is how long backups are kept, which certificates state."""

    def __init__(self, path: Path, *, backup_days: int = 30) -> None:
        self.path = path
        self.backup_days = backup_days

    def read(self) -> Listed:
        """Return what is listed; a last line that was cut off by a crash was never promised to anybody.

        Raises `Misconfigured` if the file is damaged or cannot be read.
        """
        try:
            text = self.path.read_text("ascii")
        except FileNotFoundError:
            return Listed()
        except (OSError, UnicodeDecodeError):
            raise self._damaged() from None
        persons: dict[bytes, tuple[str, datetime]] = {}
        addresses: dict[bytes, tuple[str, datetime]] = {}
        for line in filter(None, text.split("\n")[:-1]):
            kind, *rest = line.split(" ")
            if len(rest) + 1 != _FIELDS.get(kind):
                raise self._damaged()
            try:
                which, reason, at = bytes.fromhex(rest[0]), rest[-2], _moment(rest[-1])
            except ValueError:
                raise self._damaged() from None
            (persons if kind == "person" else addresses)[which] = (reason, at)
        return Listed(persons=persons, addresses=addresses)

    def add(self, subject: bytes, address_index: bytes, *, entry: int, reason: str, at: datetime) -> None:
        """List one erasure, durably; raises `Misconfigured` where that is impossible."""
        moment = to_milliseconds(at)
        lines = (
            f"person {subject.hex()} {entry} {reason} {moment}\n"
            f"address {address_index.hex()} {reason} {moment}\n"
        )
        try:
            with self._locked():
                self._append(lines.encode())
        except OSError as error:
            raise Misconfigured(
                f"the list of erasures {self.path} cannot be written ({error.strerror}), and nothing was "
                "erased; let the service write it, beside the rollback fence and outside of backups"
            ) from None

    def merge(self, former: "ErasureList") -> None:
        """Take over what another list knows, and remove that one; raises `Misconfigured`, and `OSError`.

        What is new here is sorted, so that no line of a list that was parted leads to another again.
        """
        with former._locked(), self._locked():  # noqa: SLF001  # another one of us
            former.read()
            self.read()
            known, told = (set(one._lines()) for one in (self, former))  # noqa: SLF001  # as above
            if new := sorted(told - known, reverse=True):
                self._append("".join(f"{line}\n" for line in new).encode())
        for path in (former.path, former.path.with_name(former.path.name + ".lock")):
            path.unlink(missing_ok=True)

    def part(self, since: Mapping[bytes, datetime]) -> None:
        """Write the list anew, sorted, with these times of addresses, so that nothing joins the two kinds."""
        with self._locked():
            persons = sorted({line for line in self._lines() if line.startswith("person ")})
            addresses = {which: why for which, (why, _) in self.read().addresses.items()}
            told = [
                f"address {which.hex()} {why} {to_milliseconds(since[which])}"
                for which, why in sorted(addresses.items())
                if which in since
            ]
            temporary = self.path.with_name(self.path.name + ".new")
            with temporary.open("w") as file:
                file.writelines(f"{line}\n" for line in [*persons, *told])
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
            self._sync_folder()

    def _lines(self) -> list[str]:
        return self.path.read_text("ascii").split("\n")[:-1] if self.path.exists() else []

    def _append(self, data: bytes) -> None:
        existed = self.path.exists()
        handle = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600)
        with os.fdopen(handle, "a+b", buffering=0) as file:
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)  # a line that a crash cut off
            file.write(data)
            os.fsync(file.fileno())
        if not existed:
            self._sync_folder()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(self.path.with_name(self.path.name + ".lock"), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _sync_folder(self) -> None:
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _damaged(self) -> Misconfigured:
        return Misconfigured(
            f"the list of erasures {self.path} is damaged or cannot be read; put back its newest copy, "
            "because without it a restored backup would bring erased people back"
        )


def _moment(text: str) -> datetime:
    return EPOCH + timedelta(milliseconds=int(text))

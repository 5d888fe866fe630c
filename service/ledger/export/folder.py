"""Write files below one folder so that each is there whole and for good, or not at all.

A file gets a temporary name, is flushed to the disk, renamed, and then its folder is flushed too; the
folder stays open meanwhile, so that an error of the disk about it is not lost. Whatever a crash leaves,
no name ever stands for half a file.
"""

import fcntl
import os
import shutil
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from service.errors import Busy, Tampered


class Folder(AbstractContextManager["Folder"]):
    """One folder to export into, locked against a second export; created where it is missing.

    Paths are relative to it, with `/`. Errors of the disk are raised as the `OSError` that they are.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = -1
        self._name: str | None = None
        self._handle = -1
        self.written = 0
        """How many files were written, those that were there already left out."""

    def __enter__(self) -> Self:
        self._root.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise Busy(f"another export is writing to {self._root}; wait for it to end") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.settle()
        finally:
            os.close(self._lock)

    def read(self, path: str) -> bytes | None:
        """Return a file's bytes, None where there is none."""
        try:
            return (self._root / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def size(self, path: str) -> int | None:
        """Return a file's length in bytes, None where there is none."""
        try:
            return (self._root / path).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def keep(self, path: str, data: bytes) -> None:
        """Make sure that the file is there with these bytes; `Tampered` if it is there with others."""
        found = self.read(path)
        if found is None:
            self._write(path, data)
        elif found != data:
            raise Tampered(
                f"{path} has {len(found)} bytes that are not the {len(data)} of the log; "
                "move the folder away and export into a new one"
            )

    def put(self, path: str, data: bytes) -> None:
        """Make sure that the file has these bytes, in place of whatever it had."""
        if self.read(path) != data:
            self._write(path, data)

    def drop(self, path: str) -> None:
        """Remove a folder that is no longer needed, if it is there."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self._root / path)

    def settle(self) -> None:
        """Wait until every name that was given so far is on the disk."""
        if self._name is None:
            return
        handle, self._name, self._handle = self._handle, None, -1
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def _write(self, path: str, data: bytes) -> None:
        folder, _, name = path.rpartition("/")
        self._open(folder)
        temporary = f".{name}.new"  # always the same, so that the next run takes a crash's remains away
        flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW
        with os.fdopen(os.open(temporary, flags, 0o644, dir_fd=self._handle), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, name, src_dir_fd=self._handle, dst_dir_fd=self._handle)
        self.written += 1

    def _open(self, folder: str) -> None:
        """Make `folder` the one that is held open; each new folder on the way is durable in its parent."""
        if folder == self._name:
            return
        self.settle()
        handle = os.dup(self._lock)
        for part in filter(None, folder.split("/")):
            handle = _enter(handle, part)
        self._name, self._handle = folder, handle


def _enter(parent: int, name: str) -> int:
    """Return an open folder below an open one, created if need be; closes the parent."""
    try:
        with suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=parent)
            os.fsync(parent)
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    finally:
        os.close(parent)

"""An export folder as the source of a log's files."""

import os
from collections.abc import Iterator
from pathlib import Path

from service.ledger.replay.attested import KEYS, POLICY
from service.ledger.replay.source import MAX_FILE_BYTES


class FolderSource:
    """The files of one folder; nothing outside of it is read, also not through links."""

    promised = (POLICY, KEYS)

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def read(self, path: str) -> bytes | None:
        """Return a file's bytes, None where there is none."""
        found = self._root / path
        if not found.is_file() or self._root not in found.resolve().parents:
            return None
        with found.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)

    def paths(self, below: str) -> Iterator[str]:
        """Yield the paths of all files below a folder, sorted; what an interrupted export left is not one."""
        for folder, inner, names in os.walk(self._root / below):
            inner.sort()
            for name in sorted(names):
                if not name.startswith("."):
                    yield (Path(folder) / name).relative_to(self._root).as_posix()

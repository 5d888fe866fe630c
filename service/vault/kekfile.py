"""The file of the key-encryption key, the one that is about to take its place, and the keeper of both.

What stands in a file is what the keeper sealed; the key itself is in memory alone, and no longer than the
keeper grants it (`custody`).
"""

import os
import secrets
import time
from pathlib import Path

from service.errors import Misconfigured, Unavailable
from service.vault import keyfile
from service.vault.custody import Custody
from service.vault.keyfile import KEY, create

RETRY_S = 1.0  # between two questions to a keeper that did not answer


class KekFile:
    """One KEK and its successor; `<name>.next` exists only while the one takes over from the other."""

    def __init__(self, path: Path, keeper: Custody) -> None:
        self.path = path
        self._next = path.with_name(path.name + ".next")
        self._keeper = keeper
        self._granted_at: float | None = None
        self._refused: tuple[float, Unavailable] | None = None

    def open(self) -> bytes:
        """Return the key in use; raises what the keeper raises, with the file's name."""
        sealed = keyfile.read_private(self.path)
        try:
            kek = self._keeper.open(sealed)
        except Misconfigured as error:
            raise Misconfigured(f"{self.path}: {error}") from None
        self._granted_at = time.monotonic()
        return kek

    def create(self, kek: bytes | None = None) -> None:
        """Write a first key, a new one unless it is given; where there is a file, it stays."""
        create(self.path, self._keeper.seal(kek or secrets.token_bytes(KEY)))

    def stage(self) -> bytes:
        """Make the successor, or find the one that was made, and return it."""
        if not self._next.exists():
            create(self._next, self._keeper.seal(secrets.token_bytes(KEY)))
        return self._keeper.open(keyfile.read_private(self._next))

    def staged(self) -> bytes | None:
        """Return the successor, None where there is none."""
        return self._keeper.open(keyfile.read_private(self._next)) if self._next.exists() else None

    def promote(self) -> None:
        """Put the successor into the place of the key, where files can be written."""
        if os.access(self.path.parent, os.W_OK):
            self._next.replace(self.path)
            keyfile.sync_folder(self.path)

    def require_available(self) -> None:
        """Raise `Unavailable` unless the keeper of the KEK still grants it; asks once per lease.

        Nothing is recorded under a key whose keeper cannot be asked: never a local key instead.
        """
        if self._keeper.lease_s is None:
            return
        now = time.monotonic()
        if self._granted_at is not None and now - self._granted_at < self._keeper.lease_s:
            return
        if self._refused is not None and now - self._refused[0] < RETRY_S:
            raise self._refused[1]
        try:
            self.open()
        except (Unavailable, Misconfigured) as error:
            refused = Unavailable(f"{error}. Nothing is recorded meanwhile; send the same request again")
            self._refused = (time.monotonic(), refused)
            raise refused from None
        self._refused = None

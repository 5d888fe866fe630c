"""The service's own keys, and the one key-encryption key that opens them.

The key-encryption key (KEK) is 32 random bytes outside the database and its backups: in a file of its
own, or wrapped by a KMS (`custody`). Everything else is in the keys file, sealed under the KEK, so that
neither file alone forges an entry or names a person. Keys change while services run: each change is a
generation, which the ledger counts too, and `KeySource` finds the keys of the generation asked for.
"""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

import msgspec

from service.errors import Misconfigured, Unsafe
from service.ledger.cosignature import Cosigner
from service.ledger.note import Signer, Verifier
from service.settings import Settings
from service.vault import keyfile
from service.vault.custody import Custody, custody
from service.vault.kekfile import KekFile
from service.vault.keyfile import ADDED, KEY, NONCE, Stored, create, locked, seal, staged, unseal
from service.vault.keyset import Keys, kek_id

__all__ = ["KEY", "NONCE", "KeySource", "Keys", "create_keys", "open_keys"]


def open_keys(settings: Settings) -> Keys:
    """Return the service's keys, created on the first run of the embedded default.

    Raises `Misconfigured` when a key file is missing in production, readable by others, damaged,
    or does not belong to the other file or to this log; `Unavailable` while a KMS does not answer.
    """
    return KeySource(settings).open()


def create_keys(settings: Settings) -> None:
    """Create both key files where they are missing, and in them what is: `consent-ledger key init`."""
    source = KeySource(settings)
    source.create()


def publish(path: Path, vkey: str) -> None:
    """Leave the log's public key beside the keys, for verifiers; whoever cannot write there does without."""
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        return
    line = vkey.encode() + b"\n"
    if not path.exists():
        create(path, line)
    elif path.read_bytes() != line:
        keyfile.replace(path, line)


class KeySource:
    """Where a process gets its keys from, and again whenever another process changed them."""

    def __init__(self, settings: Settings, keeper: Custody | None = None) -> None:
        self._settings = settings
        self.kek = KekFile(settings.kek_path, keeper or custody(settings))

    def open(self) -> Keys:
        """Return the keys in use; see `open_keys`."""
        if not self._settings.kek_path.exists():
            self._require_embedded(self._settings.kek_path, "key-encryption key", "CONSENT_KEK_FILE")
            self._create_kek()
        kek = self.kek.open()
        path = self._settings.keys_path
        if not path.exists():
            self._require_embedded(path, "keys file", "CONSENT_KEYS_FILE")
            create(path, seal(keyfile.generate(self._settings.origin), kek))
        if self._settings.embedded:
            self._complete(kek)
        kek, stored = self._read()
        keys = self._keys(self._require_complete(stored), kek)
        publish(self._settings.log_key_path, keys.log.vkey)
        return keys

    def create(self) -> None:
        """Create what is missing; what exists stays."""
        if not self._settings.kek_path.exists():
            self._create_kek()
        kek = self.kek.open()
        if not self._settings.keys_path.exists():
            create(self._settings.keys_path, seal(keyfile.generate(self._settings.origin), kek))
        self._complete(kek)

    def at(self, generation: int) -> Keys:
        """Return the keys of the generation that the ledger is at.

        A change that was staged and reached the ledger counts, whether or not the file says so yet. Raises
        `Misconfigured` for a file that is older than the ledger; of one that is newer, as after an older
        backup of the database was restored, the newest keys are used.
        """
        kek, stored = self._read()
        after = staged(stored)
        if after is not None and after.generation <= generation:
            stored = after
            if os.access(self._settings.keys_path.parent, os.W_OK):
                self.settle(generation)
        if stored.generation < generation:
            raise Misconfigured(
                f"the keys file is of generation {stored.generation}, the ledger of {generation}; "
                "put back the newest copy of the file"
            )
        return self._keys(self._require_complete(stored), kek)

    def found(self, settings: Settings) -> "KeySource":
        """Make the keys of the log that continues this one, where they are missing, and return their source.

        Signing and directory keys are new. Those that links in mails, tokens, mirrors and idempotency keys
        rest on, and the key-encryption key that wraps persons' keys, go over. Where files exist, they stay.
        """
        successor = KeySource(settings)
        kek, stored = self._read()
        if not settings.kek_path.exists():
            successor.kek.create(kek)
        if not settings.keys_path.exists():
            fresh = keyfile.generate(settings.origin)
            kept = {name: getattr(stored, name) for name in ("token", "mirror", "index", "dedupe", "keks")}
            create(settings.keys_path, seal(msgspec.structs.replace(fresh, **kept), kek))
        return successor

    def stage(self, change: Callable[[Stored], Stored]) -> Keys:
        """Put the next generation of keys into the file beside the present one, and return it.

        Where one is staged already, it must be a change of the same fields and is returned as it is, so that
        a command that was interrupted can be given again. Raises `Unsafe` while another change is under way.
        """
        with locked(self._settings.keys_path):
            kek, stored = self._read()
            wanted = change(stored)
            wanted = msgspec.structs.replace(wanted, generation=stored.generation + 1, next=b"")
            after = staged(stored)
            if after is None:
                after = wanted
                whole = msgspec.structs.replace(stored, next=keyfile.encode(after))
                keyfile.replace(self._settings.keys_path, seal(whole, kek))
            elif _changed(stored, after) != _changed(stored, wanted):
                raise Unsafe(
                    "another change of keys was begun and is not finished; give that command again first"
                )
        return self._keys(after, kek)

    def stage_kek(self) -> Keys:
        """Make a new key-encryption key, seal the keys file under it, and stage the next generation."""
        with locked(self._settings.keys_path):
            kek, stored = self._read()
            begun = staged(stored)
            if begun is not None:
                if _changed(stored, begun):
                    raise Unsafe("another change of keys is not finished; give that command again first")
                return self._keys(begun, kek)
            fresh = self.kek.stage()
            keks = {**stored.keks, kek_id(kek): kek}
            after = msgspec.structs.replace(stored, keks=keks, generation=stored.generation + 1)
            whole = msgspec.structs.replace(stored, keks=keks, next=keyfile.encode(after))
            keyfile.replace(self._settings.keys_path, seal(whole, fresh))
            self.kek.promote()
        return self._keys(after, fresh)

    def settle(self, generation: int) -> Keys:
        """Make what was staged the keys in use, now that the ledger says so; safe to repeat."""
        with locked(self._settings.keys_path):
            kek, stored = self._read()
            after = staged(stored)
            if after is not None and after.generation <= generation:
                keyfile.replace(self._settings.keys_path, seal(after, kek))
        return self.open()

    def forget_keks(self) -> int:
        """Destroy the former key-encryption keys in the file; return how many there were."""
        with locked(self._settings.keys_path):
            kek, stored = self._read()
            whole = msgspec.structs.replace(stored, keks={})
            keyfile.replace(self._settings.keys_path, seal(whole, kek))
        return len(stored.keks)

    def staged(self) -> Keys | None:
        """Return the generation that waits for the ledger to say so, None when nothing is changing."""
        kek, stored = self._read()
        after = staged(stored)
        return None if after is None else self._keys(after, kek)

    def _read(self) -> tuple[bytes, Stored]:
        """Return KEK and contents; finishes a change of the KEK that was cut off between the two files."""
        kek = self.kek.open()
        try:
            return kek, unseal(self._settings.keys_path, kek)
        except Misconfigured:
            fresh = self.kek.staged()
            if fresh is None:
                raise
        stored = unseal(self._settings.keys_path, fresh)
        self.kek.promote()
        return fresh, stored

    def _create_kek(self) -> None:
        """Create the key-encryption key, unless one is gone under which keys were sealed."""
        sealed = self._settings.keys_path.exists()  # asked first: another process may be creating both
        if self._settings.kek_path.exists():
            return
        if sealed:
            raise Misconfigured(
                f"the key-encryption key {self._settings.kek_path} is missing although keys sealed under it "
                "exist; put the file back from where you keep it (a new one would open nothing)"
            )
        self.kek.create()

    def _complete(self, kek: bytes) -> None:
        """Add to an older keys file the keys that it lacks; one process does, the others find it done."""
        path = self._settings.keys_path
        if not _lacking(self._read()[1]):
            return
        with locked(path):
            kek, stored = self._read()
            if missing := _lacking(stored):
                fresh = {name: secrets.token_bytes(KEY) for name in missing}
                keyfile.replace(path, seal(msgspec.structs.replace(stored, **fresh), kek))

    def _require_complete(self, stored: Stored) -> Stored:
        if _lacking(stored):
            raise Misconfigured(
                f"{self._settings.keys_path} is older than this version and lacks a key; "
                "run `consent-ledger key init`, which adds it, and keep a new copy of the file"
            )
        return stored

    def _require_embedded(self, path: Path, what: str, variable: str) -> None:
        if not self._settings.embedded:
            raise Misconfigured(
                f"the {what} {path} does not exist; set {variable}, "
                "or create it once with `consent-ledger key init`"
            )

    def _keys(self, stored: Stored, kek: bytes) -> Keys:
        origin = self._settings.origin
        if stored.origin != origin:
            raise Misconfigured(
                f"these keys belong to the log {stored.origin}, not to {origin}; correct CONSENT_ORIGIN"
            )
        return Keys(
            log=Signer(origin, stored.log),
            log_pq=Cosigner(origin, stored.log_pq),
            ingest=Signer(f"{origin}/ingest-{stored.ingest_number}", stored.ingest),
            directory=stored.directory,
            index=stored.index,
            dedupe=stored.dedupe,
            token=stored.token,
            mirror=stored.mirror,
            kek=kek,
            generation=stored.generation,
            log_before=Signer(origin, stored.log_before) if stored.log_before else None,
            former=tuple(map(Verifier.from_vkey, stored.former)),
            keks=stored.keks,
        )


def _lacking(stored: Stored) -> list[str]:
    return [name for name in ADDED if not getattr(stored, name)]


def _changed(before: Stored, after: Stored) -> set[str]:
    """Return the names of the secrets in which two generations differ."""
    names = (*keyfile.SECRETS, "log_before")
    return {name for name in names if getattr(before, name) != getattr(after, name)}

"""The service's own keys, and the one key-encryption key that opens them.

The key-encryption key (KEK) is 32 random bytes in a file of its own, outside the database and
its backups. Everything else is in the keys file, sealed under the KEK, so that neither file
alone forges an entry or names a person.
"""

import base64
import binascii
import fcntl
import hashlib
import os
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from service.errors import Misconfigured
from service.ledger.cosignature import Cosigner
from service.ledger.note import Signer
from service.settings import Settings

NONCE = 12  # bytes, AES-GCM
KEY = 32  # bytes, AES-256 and HMAC-SHA-256
INGEST = "/ingest-1"
_AAD = b"consent-ledger keys v1"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Keys:
    """What a running service signs, seals and looks up with; never printed."""

    log: Signer
    log_pq: Cosigner
    ingest: Signer
    directory: bytes
    dedupe: bytes
    token: bytes
    mirror: bytes
    kek: bytes

    @property
    def kek_id(self) -> str:
        """Return a name for the KEK that tells nothing about it."""
        return hashlib.sha256(b"kek id" + self.kek).hexdigest()[:16]


class _Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the keys file holds once opened; seeds and keys are 32 bytes each."""

    origin: str
    log: bytes
    ingest: bytes
    directory: bytes
    dedupe: bytes
    token: bytes
    mirror: bytes
    log_pq: bytes = b""
    """The ML-DSA-44 seed; empty in a file that was made before checkpoints were published."""


def open_keys(settings: Settings) -> Keys:
    """Return the service's keys, created on the first run of the embedded default.

    Raises `Misconfigured` when a key file is missing in production, readable by others, damaged,
    or does not belong to the other file or to this log.
    """
    kek = _open_kek(settings)
    path = settings.keys_path
    if not path.exists():
        _require_embedded(settings, path, "keys file", "CONSENT_KEYS_FILE")
        _create(path, _seal(_generate(settings.origin), kek))
    if settings.embedded:
        _complete(path, kek)
    keys = _keys(_require_complete(_unseal(path, kek), path), kek, settings.origin)
    publish(settings.log_key_path, keys.log.vkey)
    return keys


def publish(path: Path, vkey: str) -> None:
    """Leave the log's public key beside the keys, for verifiers; whoever cannot write there does without."""
    if path.parent.is_dir() and not path.exists() and os.access(path.parent, os.W_OK):
        _create(path, vkey.encode() + b"\n")


def create_keys(settings: Settings) -> None:
    """Create both key files where they are missing, and in them what is: `consent-ledger key init`."""
    _create_kek(settings)
    kek = _read_kek(settings.kek_path)
    if not settings.keys_path.exists():
        _create(settings.keys_path, _seal(_generate(settings.origin), kek))
    _complete(settings.keys_path, kek)


def _open_kek(settings: Settings) -> bytes:
    if not settings.kek_path.exists():
        _require_embedded(settings, settings.kek_path, "key-encryption key", "CONSENT_KEK_FILE")
    _create_kek(settings)
    return _read_kek(settings.kek_path)


def _create_kek(settings: Settings) -> None:
    """Create the key-encryption key where there is none, unless one is gone under which keys were sealed."""
    sealed = settings.keys_path.exists()  # asked first: another process may be creating both, this one last
    if settings.kek_path.exists():
        return
    if sealed:
        raise Misconfigured(
            f"the key-encryption key {settings.kek_path} is missing although keys sealed under it exist; "
            "put the file back from where you keep it (a new one would open nothing)"
        )
    _create(settings.kek_path, base64.b64encode(secrets.token_bytes(KEY)) + b"\n")


def _read_kek(path: Path) -> bytes:
    try:
        kek = base64.b64decode(_read_private(path).strip(), validate=True)
    except binascii.Error:
        kek = b""
    if len(kek) != KEY:
        raise Misconfigured(
            f"{path} must hold 32 bytes as base64; restore it, or point CONSENT_KEK_FILE elsewhere"
        )
    return kek


def _require_embedded(settings: Settings, path: Path, what: str, variable: str) -> None:
    if not settings.embedded:
        raise Misconfigured(
            f"the {what} {path} does not exist; set {variable}, "
            "or create it once with `consent-ledger key init`"
        )


def _read_private(path: Path) -> bytes:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise Misconfigured(f"{path} can be read by others (mode {mode:04o}); run: chmod 600 {path}")
        return path.read_bytes()
    except OSError as error:
        raise Misconfigured(
            f"{path} cannot be read ({error.strerror}); give the service's user a file it can read"
        ) from None


def _create(path: Path, data: bytes) -> None:
    """Write a new private file whole or not at all; where there is one already, it stays."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = _write_beside(path, data)
    with suppress(FileExistsError):
        os.link(temporary, path)
    temporary.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)  # a ledger must never outlive its keys
    os.close(folder)


def _complete(path: Path, kek: bytes) -> None:
    """Add to an older keys file the key that it lacks; one process does, the others find it done."""
    if _unseal(path, kek).log_pq:
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        stored = _unseal(path, kek)
        if not stored.log_pq:
            whole = msgspec.structs.replace(stored, log_pq=secrets.token_bytes(KEY))
            _write_beside(path, _seal(whole, kek)).replace(path)
            os.fsync(folder)
    except OSError as error:
        raise Misconfigured(
            f"the ML-DSA key cannot be added to {path} ({error.strerror}); "
            "run `consent-ledger key init` where the file can be written"
        ) from None
    finally:
        os.close(folder)


def _require_complete(stored: _Stored, path: Path) -> _Stored:
    if not stored.log_pq:
        raise Misconfigured(
            f"{path} is older than published checkpoints and has no ML-DSA key; "
            "run `consent-ledger key init`, which adds it, and keep a new copy of the file"
        )
    return stored


def _write_beside(path: Path, data: bytes) -> Path:
    """Return a private, durable file with these bytes beside `path`, under a name of its own."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return temporary


def _generate(origin: str) -> _Stored:
    fresh = {name: secrets.token_bytes(KEY) for name in _Stored.__struct_fields__ if name != "origin"}
    return _Stored(origin=origin, **fresh)


def _seal(stored: _Stored, kek: bytes) -> bytes:
    nonce = secrets.token_bytes(NONCE)
    return nonce + AESGCM(kek).encrypt(nonce, msgspec.json.encode(stored), _AAD)


def _unseal(path: Path, kek: bytes) -> _Stored:
    data = _read_private(path)
    try:
        return msgspec.json.decode(AESGCM(kek).decrypt(data[:NONCE], data[NONCE:], _AAD), type=_Stored)
    except (InvalidTag, ValueError):
        raise Misconfigured(
            f"{path} does not open with this key-encryption key; use the KEK file that belongs to it"
        ) from None


def _keys(stored: _Stored, kek: bytes, origin: str) -> Keys:
    if stored.origin != origin:
        raise Misconfigured(
            f"these keys belong to the log {stored.origin}, not to {origin}; correct CONSENT_ORIGIN"
        )
    return Keys(
        log=Signer(origin, stored.log),
        log_pq=Cosigner(origin, stored.log_pq),
        ingest=Signer(origin + INGEST, stored.ingest),
        directory=stored.directory,
        dedupe=stored.dedupe,
        token=stored.token,
        mirror=stored.mirror,
        kek=kek,
    )

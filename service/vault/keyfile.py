"""The keys file: what it holds, sealed under the key-encryption key, written whole or not at all.

A change of keys is staged in `next` first, so that a crash between the file and the ledger loses neither:
whoever opens the file asks for the generation that the ledger is at.
"""

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from service.errors import Misconfigured

NONCE = 12  # bytes, AES-GCM
KEY = 32  # bytes, AES-256 and HMAC-SHA-256
_AAD = b"consent-ledger keys v1"


class Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
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
    index: bytes = b""
    """What addresses are looked up and kept out by; empty in a file from before persons could be erased."""
    generation: int = 0
    """How often keys changed; the ledger counts the same."""
    ingest_number: int = 1
    log_before: bytes = b""
    """The log's former seed while both sign; empty when the overlap has ended."""
    former: tuple[str, ...] = ()
    """Public keys that signed entries and checkpoints before, oldest first."""
    keks: dict[str, bytes] = {}
    """Former key-encryption keys by id, for rows that are not wrapped again yet, and for older backups."""
    next: bytes = b""
    """What this file becomes, as `encode` writes it, once the ledger says so; empty when nothing changes."""


SECRETS = ("log", "ingest", "directory", "dedupe", "token", "mirror", "log_pq", "index")
"""The fields that are random and of which every file has its own."""
ADDED = ("log_pq", "index")
"""Those that older files lack."""


def generate(origin: str) -> Stored:
    """Return the contents of a new file."""
    fresh = {name: secrets.token_bytes(KEY) for name in SECRETS}
    return msgspec.convert({"origin": origin, **fresh}, Stored)


def encode(stored: Stored) -> bytes:
    """Return the contents as they are sealed."""
    return msgspec.json.encode(stored)


def staged(stored: Stored) -> Stored | None:
    """Return what the file is about to become, None when nothing is changing."""
    return msgspec.json.decode(stored.next, type=Stored) if stored.next else None


def seal(stored: Stored, kek: bytes) -> bytes:
    """Return the bytes of the file."""
    nonce = secrets.token_bytes(NONCE)
    return nonce + AESGCM(kek).encrypt(nonce, encode(stored), _AAD)


def unseal(path: Path, kek: bytes) -> Stored:
    """Return the contents of a file; `Misconfigured` if it does not open with this key-encryption key."""
    data = read_private(path)
    try:
        return msgspec.json.decode(AESGCM(kek).decrypt(data[:NONCE], data[NONCE:], _AAD), type=Stored)
    except (InvalidTag, ValueError):
        raise Misconfigured(
            f"{path} does not open with this key-encryption key; use the KEK file that belongs to it"
        ) from None


def read_private(path: Path) -> bytes:
    """Return the bytes of a file that only its owner may read; `Misconfigured` otherwise."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise Misconfigured(f"{path} can be read by others (mode {mode:04o}); run: chmod 600 {path}")
        return path.read_bytes()
    except OSError as error:
        raise Misconfigured(
            f"{path} cannot be read ({error.strerror}); give the service's user a file it can read"
        ) from None


def create(path: Path, data: bytes) -> None:
    """Write a new private file whole or not at all; where there is one already, it stays."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = _write_beside(path, data)
    with suppress(FileExistsError):
        os.link(temporary, path)
    temporary.unlink()
    sync_folder(path)  # a ledger must never outlive its keys


def replace(path: Path, data: bytes) -> None:
    """Put other bytes into a private file, whole or not at all."""
    _write_beside(path, data).replace(path)
    sync_folder(path)


def sync_folder(path: Path) -> None:
    """Make the names in the folder of `path` durable."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from changing the files in the folder of `path` meanwhile.

    Raises `Misconfigured` where files there cannot be written.
    """
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    except OSError as error:
        raise Misconfigured(
            f"the keys in {path.parent} cannot be changed ({error.strerror}); "
            "run this command where the files can be written, then give the service the new ones"
        ) from None
    finally:
        os.close(folder)


def _write_beside(path: Path, data: bytes) -> Path:
    """Return a private, durable file with these bytes beside `path`, under a name of its own."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return temporary

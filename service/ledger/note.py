"""Signed notes: a text, an empty line, and lines of signatures (c2sp.org/signed-note v1.0.0).

Pure. Entries, checkpoints and bundle manifests are all signed notes and all come through here. The
text of a note is data only after `open_note` has returned it.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from service.errors import Malformed, Tampered

ED25519: Final = 0x01  # signs the note text itself
COSIGNATURE: Final = 0x04  # Ed25519 with a time in front (c2sp.org/tlog-cosignature)
MAX_NOTE_BYTES: Final = 1 << 23  # the manifest of a bundle with some 80,000 members
MAX_SIGNATURES: Final = 64  # the specification asks for at least 16

_KEY_ID_BYTES = 4
_KEY_BYTES = 32
_SIGNATURE_BYTES = {ED25519: 64, COSIGNATURE: 8 + 64}
_DASH = "— ".encode()  # the em dash and the space that begin a signature line
_CONTROLS = re.compile(rb"[\x00-\x09\x0b-\x1f]")
_SKEY_PREFIX = "PRIVATE+KEY+"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """An opened note: its text, ending in a newline, and the names of the keys whose signatures hold."""

    text: bytes
    verified: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureLine:
    """One signature as it stands in a note, not yet checked."""

    name: str
    key_id: bytes
    signature: bytes


class Verifies(Protocol):
    """A public key of any type that can stand in a note's signature line."""

    @property
    def name(self) -> str:
        """Its name, which with the key id tells it from others."""

    @property
    def key_id(self) -> bytes:
        """The 4 bytes of `derive_key_id`."""

    def verify(self, text: bytes, signature: bytes) -> bool:
        """Tell whether the signature bytes that follow the key id hold for the note text."""


class Signs(Protocol):
    """Whatever signs whole notes: one key, or two while one takes over from the other."""

    @property
    def name(self) -> str:
        """The name that its signature lines bear."""

    def sign(self, text: bytes) -> bytes:
        """Return the whole signed note."""


class Signer:
    """An Ed25519 key with a name; signs whole notes.

    `seed` is the 32-byte private key. It appears in no `repr`.
    """

    __slots__ = ("_key", "_line_start", "key_id", "name", "public", "vkey")

    def __init__(self, name: str, seed: bytes) -> None:
        require_name(name)
        if len(seed) != _KEY_BYTES:
            raise Malformed(f"the seed of signing key {name} has {len(seed)} bytes; it must have 32")
        self.name = name
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._key.public_key().public_bytes_raw()
        self.key_id = derive_key_id(name, ED25519, self.public)
        self.vkey = format_key(name, self.key_id, ED25519, self.public)
        self._line_start = b"\n" + _DASH + name.encode() + b" "

    def sign(self, text: bytes) -> bytes:
        """Return the whole signed note: the text, an empty line, one signature line.

        The text must end in a newline and hold no empty line: the last one separates the signatures.
        """
        assert text.endswith(b"\n"), "a note's text is whole lines"
        assert b"\n\n" not in text, "a note's text holds no empty line"
        return text + self._line_start + base64.b64encode(self.key_id + self._key.sign(text)) + b"\n"

    @property
    def verifier(self) -> "Verifier":
        """The public half."""
        return Verifier(name=self.name, key_id=self.key_id, kind=ED25519, public=self.public)

    @property
    def skey(self) -> str:
        """The private key as text, as golang.org/x/mod/sumdb/note writes it; a secret."""
        return _SKEY_PREFIX + format_key(self.name, self.key_id, ED25519, self._key.private_bytes_raw())

    @classmethod
    def from_skey(cls, skey: str) -> "Signer":
        """Return the signer that `skey` wrote; `Malformed` if it is not one, or its key id is not its own."""
        if not skey.startswith(_SKEY_PREFIX):
            raise Malformed("this is not a private signing key; it begins with PRIVATE+KEY+<name>")
        name, key_id, kind, seed = parse_key(skey.removeprefix(_SKEY_PREFIX))
        if kind != ED25519:
            raise Malformed(f"the private key {name} is of type {kind}; only Ed25519 (1) signs here")
        signer = cls(name, seed)
        require_key_id(name, key_id, signer.key_id)
        return signer

    def __repr__(self) -> str:
        return f"Signer({self.vkey})"


class Joint:
    """Several keys that sign a note together, one line each; the first one gives the name."""

    def __init__(self, first: Signer, *others: Signer) -> None:
        self.name = first.name
        self._signers = (first, *others)

    @property
    def verifier(self) -> "Verifier":
        """The public half of the first key."""
        return self._signers[0].verifier

    def sign(self, text: bytes) -> bytes:
        """Return the whole signed note: the text, an empty line, a signature line of each key."""
        first, *others = self._signers
        return first.sign(text) + b"".join(other.sign(text)[len(text) + 1 :] for other in others)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """The public half of a key: Ed25519 signatures (kind 1) or timestamped cosignatures (kind 4)."""

    name: str
    key_id: bytes
    kind: int
    public: bytes

    @classmethod
    def from_vkey(cls, vkey: str) -> "Verifier":
        """Return the verifier for `<name>+<key id>+<base64 of type and key>`.

        The key id is computed again, never believed. Raises `Malformed` for anything else.
        """
        name, key_id, kind, public = parse_key(vkey)
        if kind not in _SIGNATURE_BYTES or len(public) != _KEY_BYTES:
            raise Malformed(f"the key {name} is of type {kind}; only Ed25519 keys (1 and 4) are understood")
        require_key_id(name, key_id, derive_key_id(name, kind, public))
        return cls(name=name, key_id=key_id, kind=kind, public=public)

    @property
    def vkey(self) -> str:
        """The key as text, as `from_vkey` reads it."""
        return format_key(self.name, self.key_id, self.kind, self.public)

    def verify(self, text: bytes, signature: bytes) -> bool:
        """Tell whether the signature bytes that follow the key id hold for the note text."""
        if len(signature) != _SIGNATURE_BYTES[self.kind]:
            return False
        message = text
        if self.kind == COSIGNATURE:
            message = b"cosignature/v1\ntime %d\n" % int.from_bytes(signature[:8], "big") + text
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature[-64:], message)
        except InvalidSignature:
            return False
        return True


def open_note(note: bytes, verifiers: Sequence[Verifies]) -> Note:
    """Return the text of a note that at least one of the keys has signed.

    Signatures by unknown keys are ignored. Raises `Tampered` if the note is malformed, if no known key
    signed it, or if the signature of any known key fails, whatever the others say.
    """
    text, lines = split_note(note)
    known = {(verifier.name, verifier.key_id): verifier for verifier in verifiers}
    verified: dict[str, None] = {}
    for line in lines:
        verifier = known.get((line.name, line.key_id))
        if verifier is None:
            continue
        if not verifier.verify(text, line.signature):
            raise Tampered(f"the signature by {line.name} does not fit the text; one of them was changed")
        verified[line.name] = None
    if not verified:
        expected = ", ".join(sorted({verifier.name for verifier in verifiers})) or "none"
        raise Tampered(f"no known key signed this note; known keys: {expected}")
    return Note(text=text, verified=tuple(verified))


def split_note(note: bytes) -> tuple[bytes, tuple[SignatureLine, ...]]:
    """Return text and signature lines of a well-formed note, checking no signature.

    For callers that know the bytes by another proof. Raises `Tampered` if the form is wrong.
    """
    if len(note) > MAX_NOTE_BYTES:
        raise Tampered(f"a note of {len(note)} bytes is longer than the {MAX_NOTE_BYTES} that are read")
    _require_characters(note)
    text, gap, signatures = note.rpartition(b"\n\n")
    if not gap or not signatures.endswith(b"\n"):
        raise Tampered("this is not a signed note: an empty line or the last newline is missing")
    lines = signatures[:-1].split(b"\n")
    if len(lines) > MAX_SIGNATURES:
        raise Tampered(f"a note carries {len(lines)} signatures; at most {MAX_SIGNATURES} are read")
    return text + b"\n", tuple(_parse_line(line) for line in lines)


def decode_base64(text: str | bytes) -> bytes:
    """Return the bytes behind canonical, padded base64; `Tampered` if any other spelling is used."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if base64.b64encode(data) != (text.encode() if isinstance(text, str) else text):
        raise Tampered("a value is not canonical base64; it was changed or written by another program")
    return data


def _require_characters(note: bytes) -> None:
    if _CONTROLS.search(note):
        raise Tampered("a note holds a control character; only newlines are allowed")
    try:
        note.decode()
    except UnicodeDecodeError:
        raise Tampered("a note is not valid UTF-8") from None


def _parse_line(line: bytes) -> SignatureLine:
    if not line.startswith(_DASH):
        raise Tampered("a signature line does not begin with an em dash and a space")
    name, gap, encoded = line.removeprefix(_DASH).decode().partition(" ")
    signature = decode_base64(encoded)
    if not gap or not _is_name(name) or len(signature) <= _KEY_ID_BYTES:
        raise Tampered("a signature line is not a key name and a signature")
    return SignatureLine(name=name, key_id=signature[:_KEY_ID_BYTES], signature=signature[_KEY_ID_BYTES:])


def _is_name(name: str) -> bool:
    return name != "" and "+" not in name and not any(character.isspace() for character in name)


def require_name(name: str) -> None:
    """Raise `Malformed` unless a key may have this name."""
    if not _is_name(name) or _CONTROLS.search(name.encode()):
        raise Malformed(f"{name!r} cannot name a key; use a name without spaces, control characters or '+'")


def derive_key_id(name: str, kind: int, public: bytes) -> bytes:
    """Return the 4 bytes that, with the name, tell a key from others (signed-note, "Signature types")."""
    return sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:_KEY_ID_BYTES]


def require_key_id(name: str, claimed: bytes, computed: bytes) -> None:
    """Raise `Malformed` unless a key that came as text has the id it says."""
    if claimed != computed:
        raise Malformed(
            f"the key {name} says that its id is {claimed.hex()}, but it is {computed.hex()}; "
            "copy the key again, whole"
        )


def format_key(name: str, key_id: bytes, kind: int, key: bytes) -> str:
    """Return a key as text: its name, the hexadecimal id, and base64 of type and key."""
    return f"{name}+{key_id.hex()}+{base64.b64encode(bytes([kind]) + key).decode()}"


def parse_key(text: str) -> tuple[str, bytes, int, bytes]:
    """Return name, claimed key id, type and key of a key written as text; `Malformed` if it is none."""
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    if not re.fullmatch("[0-9a-f]{8}", key_id):
        raise Malformed("this is not a key; it looks like <name>+<8 hexadecimal digits>+<base64>")
    require_name(name)
    try:
        key = decode_base64(encoded)
    except Tampered:
        raise Malformed(f"the last part of the key {name} is not base64; copy the key again, whole") from None
    if not key:
        raise Malformed(f"the key {name} is empty; copy the key again, whole")
    return name, bytes.fromhex(key_id), key[0], key[1:]

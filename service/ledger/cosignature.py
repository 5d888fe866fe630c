"""ML-DSA-44 signatures over checkpoints, with a time in front (c2sp.org/tlog-cosignature, type 0x06).

Pure. A log signs what it publishes with this beside its Ed25519 key, under the same name, so that a
checkpoint still proves something should Ed25519 fall. The signed message is not the note text but what
the text means; a text that says more than that (extension lines) is never signed and never accepted.
ML-DSA signing is randomised: the same checkpoint signed twice gives two lines that both hold.
"""

import base64
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from service.errors import Malformed, Tampered
from service.ledger.note import (
    Verifier,
    Verifies,
    derive_key_id,
    format_key,
    parse_key,
    require_key_id,
    require_name,
)
from service.ledger.proof import Checkpoint

MLDSA44: Final = 0x06
SEED_BYTES: Final = 32
PUBLIC_BYTES: Final = 1312  # FIPS 204, table 2, as is the signature's length
SIGNATURE_BYTES: Final = 2420

_TIME_BYTES = 8
_LATEST = (1 << 63) - 1  # seconds since 1970
_LONGEST_NAME = 255  # the message has one byte for the length of a name
_LABEL = b"subtree/v1\n\0"


class Cosigner:
    """An ML-DSA-44 key with a name; signs checkpoints. `seed` is 32 bytes and appears in no `repr`."""

    __slots__ = ("_key", "key_id", "name", "public", "vkey")

    def __init__(self, name: str, seed: bytes) -> None:
        require_name(name)
        if len(name.encode()) > _LONGEST_NAME:
            raise Malformed(
                f"the name {name} is longer than the {_LONGEST_NAME} bytes that ML-DSA lines can sign"
            )
        if len(seed) != SEED_BYTES:
            raise Malformed(
                f"the seed of signing key {name} has {len(seed)} bytes; it must have {SEED_BYTES}"
            )
        self.name = name
        self._key = MLDSA44PrivateKey.from_seed_bytes(seed)
        self.public = self._key.public_key().public_bytes_raw()
        self.key_id = derive_key_id(name, MLDSA44, self.public)
        self.vkey = format_key(name, self.key_id, MLDSA44, self.public)

    def cosign(self, checkpoint: Checkpoint, at_s: int) -> bytes:
        """Return one signature line to append to the checkpoint's note; `at_s` is POSIX seconds, not 0."""
        signature = self._key.sign(message(self.name, checkpoint, at_s))
        told = self.key_id + at_s.to_bytes(_TIME_BYTES, "big") + signature
        return f"— {self.name} ".encode() + base64.b64encode(told) + b"\n"

    @property
    def verifier(self) -> "CosignatureVerifier":
        """The public half."""
        return CosignatureVerifier(name=self.name, key_id=self.key_id, public=self.public)

    def __repr__(self) -> str:
        return f"Cosigner({self.name}+{self.key_id.hex()})"


@dataclass(frozen=True, slots=True, kw_only=True)
class CosignatureVerifier:
    """The public half of an ML-DSA-44 key."""

    name: str
    key_id: bytes
    public: bytes

    @classmethod
    def from_vkey(cls, vkey: str) -> "CosignatureVerifier":
        """Return the verifier for a key of type 6; `Malformed` for any other text or type."""
        name, key_id, kind, public = parse_key(vkey)
        if kind != MLDSA44 or len(public) != PUBLIC_BYTES:
            raise Malformed(f"the key {name} is of type {kind}; an ML-DSA-44 key (6) is needed here")
        require_key_id(name, key_id, derive_key_id(name, kind, public))
        return cls(name=name, key_id=key_id, public=public)

    def verify(self, text: bytes, signature: bytes) -> bool:
        """Tell whether the signature bytes that follow the key id hold for a checkpoint's text."""
        if len(signature) != _TIME_BYTES + SIGNATURE_BYTES:
            return False
        at_s = int.from_bytes(signature[:_TIME_BYTES], "big")
        try:
            checkpoint = Checkpoint.parse(text)
            if checkpoint.text() != text or not 0 < at_s <= _LATEST:
                return False
            key = MLDSA44PublicKey.from_public_bytes(self.public)
            key.verify(signature[_TIME_BYTES:], message(self.name, checkpoint, at_s))
        except (InvalidSignature, Tampered):  # what is no checkpoint cannot have been signed as one
            return False
        return True


def read_vkey(vkey: str) -> Verifies:
    """Return the verifier for a public key of any type that this ledger knows: 1, 4 and 6.

    Raises `Malformed` for anything else.
    """
    kind = parse_key(vkey)[2]
    return CosignatureVerifier.from_vkey(vkey) if kind == MLDSA44 else Verifier.from_vkey(vkey)


def message(cosigner: str, checkpoint: Checkpoint, at_s: int) -> bytes:
    """Return the bytes that an ML-DSA line over the checkpoint signs."""
    assert 0 < at_s <= _LATEST, "a checkpoint is signed at a time"
    return b"".join(
        (
            _LABEL,
            _prefixed(cosigner),
            at_s.to_bytes(_TIME_BYTES, "big"),
            _prefixed(checkpoint.origin),
            (0).to_bytes(8, "big"),
            checkpoint.size.to_bytes(8, "big"),
            checkpoint.root,
        )
    )


def _prefixed(name: str) -> bytes:
    data = name.encode()
    if not 0 < len(data) <= _LONGEST_NAME:
        raise Tampered(f"a name or origin in a cosignature has 1 to {_LONGEST_NAME} bytes, not {len(data)}")
    return bytes([len(data)]) + data

"""What a running service signs, seals and looks up with. Pure: no file, no keeper."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from service.ledger.cosignature import Cosigner
from service.ledger.note import Joint, Signer, Verifier


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Keys:
    """What a running service signs, seals and looks up with; never printed.

    `index` is the key under which addresses are looked up and kept out; it outlives the directory key.
    `log_before` signs beside `log` while verifiers change over. `former` are public keys that signed
    before, `keks` former key-encryption keys by id, for rows that are not wrapped again yet.
    """

    log: Signer
    log_pq: Cosigner
    ingest: Signer
    directory: bytes
    index: bytes
    dedupe: bytes
    token: bytes
    mirror: bytes
    kek: bytes
    generation: int = 0
    log_before: Signer | None = None
    former: tuple[Verifier, ...] = ()
    keks: Mapping[str, bytes] = field(default_factory=dict, compare=False)

    @property
    def kek_id(self) -> str:
        """Return a name for the KEK that tells nothing about it."""
        return kek_id(self.kek)

    @property
    def heads(self) -> Signer | Joint:
        """Return what signs checkpoints: the log key, and its predecessor during an overlap."""
        return self.log if self.log_before is None else Joint(self.log, self.log_before)

    @property
    def log_verifiers(self) -> tuple[Verifier, ...]:
        """Return every key that ever signed this log's checkpoints, the present one first."""
        before = () if self.log_before is None else (self.log_before.verifier,)
        return (self.log.verifier, *before, *(key for key in self.former if key.name == self.log.name))

    @property
    def ingest_verifiers(self) -> tuple[Verifier, ...]:
        """Return every key that ever signed this log's entries, the present one first."""
        return (self.ingest.verifier, *(key for key in self.former if key.name != self.log.name))


def kek_id(kek: bytes) -> str:
    """Return the name under which rows say which KEK wraps them."""
    return sha256(b"kek id" + kek).hexdigest()[:16]

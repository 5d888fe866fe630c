"""The vault itself: find a person by address, open what is sealed, mint and open tokens."""

import base64
import binascii
import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, select

from service.consent import SubjectId
from service.db import chunks, leaf, payload, rows_in, subject, subject_key
from service.errors import Misconfigured, NotFound, Tampered
from service.ledger.canonical import canonical_object
from service.ledger.entry import Opening, directory_key_value, directory_value
from service.ledger.mac import Mac
from service.ledger.store import LOG_ID
from service.vault.address import fold
from service.vault.keys import KEY, NONCE, Keys

TAG = 16  # bytes of a token's HMAC: 128 bits cannot be guessed (reliability.md, M10)
FIRST_VERSION = 1
_STOP, _CONFIRM = b"unsubscribe1\n", b"confirm1\n"  # what a token is for: neither serves as the other
_INDEX = 8  # bytes of an entry's number in a token

_SUBJECT = (subject.c.address_index, subject.c.sub)
_WRAPPED = (subject_key.c.sub, subject_key.c.kek_id, subject_key.c.wrapped)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSubject:
    """A person about to be opened: the rows of the directory, and what the entry says."""

    sub: SubjectId
    address_index: bytes
    dk: bytes
    dv: bytes
    r: bytes
    version: int
    address: bytes
    key: bytes
    wrapped: bytes


class Vault:
    """Everything that needs the vault's keys; holds no state besides them.

    `renew` reads the keys again; it is called where a row is wrapped by a KEK that is not known.
    """

    def __init__(self, keys: Keys, renew: Callable[[], Keys] | None = None) -> None:
        self._renew = renew
        self.adopt(keys)

    def adopt(self, keys: Keys) -> None:
        """Use these keys from now on."""
        self._keys = keys
        self._index = Mac(keys.index)
        self._mirror = AESGCM(keys.mirror)
        self._keks = {keys.kek_id: AESGCM(keys.kek)} | {
            name: AESGCM(kek) for name, kek in keys.keks.items() if name != keys.kek_id
        }

    def address_index(self, address: str) -> bytes:
        """Return the keyed hash under which an address is looked up; any spelling of it will do."""
        return self._index(b"index1\n" + fold(address).encode(errors="surrogatepass"))

    def find(self, tx: Connection, address: str) -> SubjectId | None:
        """Return the person behind an address, or None if it was never seen (or was erased)."""
        found = tx.scalar(select(subject.c.sub).where(subject.c.address_index == self.address_index(address)))
        return None if found is None else SubjectId(found)

    def find_many(self, tx: Connection, indexes: Sequence[bytes]) -> dict[bytes, SubjectId]:
        """Return the known persons by address index."""
        rows = rows_in(tx, _SUBJECT, subject.c.address_index, indexes)
        return {index: SubjectId(sub) for index, sub in rows}

    def create(self, address: str, index: bytes | None = None, *, version: int = FIRST_VERSION) -> NewSubject:
        """Return a new person for a normalised address: random id, own key, sealed address.

        `index` is the address's `address_index`, where it is known already.
        """
        drawn = secrets.token_bytes(3 * KEY)  # once: each call asks the operating system
        sub, r, key = drawn[:KEY], drawn[KEY : 2 * KEY], drawn[2 * KEY :]
        dk = directory_key_value(self._keys.directory, address, version)
        return NewSubject(
            sub=SubjectId(sub),
            address_index=index or self.address_index(address),
            dk=dk,
            dv=directory_value(r, sub),
            r=r,
            version=version,
            address=_encrypt(AESGCM(key), address.encode(), sub),
            key=key,
            wrapped=self.wrap(key, sub),
        )

    def wrap(self, key: bytes, sub: bytes) -> bytes:
        """Return a person's key wrapped by the key-encryption key in use, bound to the person."""
        return _encrypt(self._keks[self._keys.kek_id], key, sub)

    def announcement(self, address: str, sub: bytes, keys: Keys) -> tuple[bytes, bytes, bytes]:
        """Return (dk, dv, r) that lead from a normalised address to a person under another directory key."""
        r = secrets.token_bytes(KEY)
        dk = directory_key_value(keys.directory, address, FIRST_VERSION)
        return dk, directory_value(r, sub), r

    def keys_of(self, tx: Connection, subs: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the unwrapped keys of these persons; the erased have none."""
        rows = rows_in(tx, _WRAPPED, subject_key.c.sub, subs)
        return {sub: self._unwrap(name, wrapped, sub) for sub, name, wrapped in rows}

    def _unwrap(self, name: str, wrapped: bytes, sub: bytes) -> bytes:
        if name not in self._keks and self._renew is not None:
            self.adopt(self._renew())
        if name not in self._keks:
            raise Misconfigured(
                f"a person's key is wrapped by the key-encryption key {name}, which is not among ours; "
                "put back the keys file that belongs to this database"
            )
        return _decrypt(self._keks[name], wrapped, sub)

    def address_of(self, tx: Connection, sub: SubjectId) -> str | None:
        """Return a person's address in the clear, or None once they are erased."""
        return self.addresses_of(tx, [sub]).get(sub)

    def addresses_of(self, tx: Connection, subs: Sequence[bytes]) -> dict[bytes, str]:
        """Return the addresses of these persons in the clear; the erased have none."""
        keys = self.keys_of(tx, subs)
        found: dict[bytes, str] = {}
        for part in chunks(list(keys)):
            rows = tx.execute(select(subject.c.sub, subject.c.address).where(subject.c.sub.in_(part)))
            found.update((sub, _decrypt(AESGCM(keys[sub]), sealed, sub).decode()) for sub, sealed in rows)
        return found

    def seal_payload(self, key: bytes, leaf_hash: bytes, opening: Opening) -> bytes:
        """Return the sealed payload of one entry, bound to the entry's leaf hash."""
        plain = canonical_object({"salt": opening.event_salt, "fields": opening.fields})
        return _encrypt(AESGCM(key), plain, leaf_hash)

    def open_payload(self, tx: Connection, index: int) -> Opening | None:
        """Return what is behind one entry's commitment, or None once it is erased."""
        return self.openings(tx, [index]).get(index)

    def openings(self, tx: Connection, indexes: Sequence[int]) -> dict[int, Opening]:
        """Return what is behind these entries' commitments; erased ones are left out.

        Raises `Tampered` if a payload does not belong to its entry.
        """
        found: dict[int, Opening] = {}
        for part in chunks(indexes):
            rows = tx.execute(
                select(payload.c.idx, payload.c.sub, payload.c.sealed, leaf.c.hash)
                .join(leaf, (leaf.c.log_id == payload.c.log_id) & (leaf.c.idx == payload.c.idx))
                .where(payload.c.log_id == LOG_ID, payload.c.idx.in_(part))
            ).all()
            keys = self.keys_of(tx, list({row.sub for row in rows}))
            found.update(
                (row.idx, _open(keys[row.sub], row.sealed, row.hash)) for row in rows if row.sub in keys
            )
        return found

    def seal_address(self, address: str) -> bytes:
        """Return an address sealed for the mirrors of the two products."""
        return _encrypt(self._mirror, address.encode(), b"mirror")

    def open_address(self, sealed: bytes) -> str:
        """Return the address that `seal_address` sealed."""
        return _decrypt(self._mirror, sealed, b"mirror").decode()

    def token(self, sub: SubjectId, purpose: str) -> str:
        """Return an unsubscribe token for one person and purpose: url-safe, unguessable, without end."""
        return self._minted(_STOP, sub + purpose.encode())

    def open_token(self, token: str) -> tuple[SubjectId, str]:
        """Return the person and purpose of a token; raises `NotFound` for any other text."""
        body = self._read(_STOP, token)
        return SubjectId(body[:KEY]), body[KEY:].decode()

    def confirmation(self, sub: SubjectId, index: int) -> str:
        """Return the token with which a person confirms the request that entry `index` records."""
        return self._minted(_CONFIRM, sub + index.to_bytes(_INDEX, "big"))

    def open_confirmation(self, token: str) -> tuple[SubjectId, int]:
        """Return the person and the request of such a token; raises `NotFound` for any other text."""
        body = self._read(_CONFIRM, token)
        return SubjectId(body[:KEY]), int.from_bytes(body[KEY:], "big")

    def _minted(self, use: bytes, body: bytes) -> str:
        return base64.urlsafe_b64encode(self._tag(use, body) + body).decode().rstrip("=")

    def _read(self, use: bytes, token: str) -> bytes:
        try:
            data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            data = b""
        tag, body = data[:TAG], data[TAG:]
        canonical_form = base64.urlsafe_b64encode(data).decode().rstrip("=") == token
        if not (canonical_form and len(body) > KEY and hmac.compare_digest(tag, self._tag(use, body))):
            raise NotFound("this link is not one of ours; use the link of the newest mail")
        return body

    def _tag(self, use: bytes, body: bytes) -> bytes:
        return hmac.digest(self._keys.token, use + body, "sha256")[:TAG]


class _Payload(msgspec.Struct, frozen=True):
    salt: bytes
    fields: dict[str, Any]


def _open(key: bytes, sealed: bytes, leaf_hash: bytes) -> Opening:
    plain = msgspec.json.decode(_decrypt(AESGCM(key), sealed, leaf_hash), type=_Payload)
    return Opening(event_salt=plain.salt, fields=plain.fields)


def _encrypt(cipher: AESGCM, plain: bytes, bound_to: bytes) -> bytes:
    nonce = secrets.token_bytes(NONCE)
    return nonce + cipher.encrypt(nonce, plain, bound_to)


def _decrypt(cipher: AESGCM, sealed: bytes, bound_to: bytes) -> bytes:
    try:
        return cipher.decrypt(sealed[:NONCE], sealed[NONCE:], bound_to)
    except InvalidTag:
        raise Tampered("a sealed record does not open with its key, or belongs to another row") from None

"""The access token that all processes of one organisation share, kept sealed in the database.

Sealed as the connection is, and bound to the accounts host, the client and the refresh token that it came
of. What does not open is as if it were not there: another token is fetched. One process fetches at a time;
it claims the row for that, since no transaction may stay open while somebody else's server is asked.
"""

import hmac
import secrets
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr
from sqlalchemy import Connection as Tx
from sqlalchemy import delete, or_, select, update
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite

from service.db import zoho_token
from service.vault.keyfile import KEY, NONCE
from service.vault.keyset import Keys

KEPT = timedelta(days=1)
"""How long a token stays that nobody renewed: that of another client, or of a token that was replaced."""


class AccessToken:
    """The row of one refresh token; what is sealed in it is the caller's."""

    def __init__(self, keys: Keys, *, accounts_url: str, client_id: str, refresh_token: SecretStr) -> None:
        parts = (accounts_url.rstrip("/"), client_id, refresh_token.get_secret_value())
        self._fingerprint = hmac.digest(_derived(keys, b"fingerprint"), "\0".join(parts).encode(), "sha256")
        self._cipher = AESGCM(_derived(keys, b"seal"))
        self._mine = zoho_token.c.fingerprint == self._fingerprint

    def read(self, tx: Tx) -> bytes | None:
        """Return what was kept last, None where there is nothing or it does not open."""
        sealed = tx.scalar(select(zoho_token.c.sealed).where(self._mine))
        if sealed is None:
            return None
        try:
            return self._cipher.decrypt(sealed[:NONCE], sealed[NONCE:], self._fingerprint)
        except InvalidTag:
            return None

    def lock(self, tx: Tx) -> None:
        """Let nobody else read for a change until the transaction ends; the row is made if there is none."""
        making = insert_sqlite if tx.dialect.name == "sqlite" else insert_postgresql
        tx.execute(making(zoho_token).values(fingerprint=self._fingerprint).on_conflict_do_nothing())
        tx.execute(select(zoho_token.c.fingerprint).where(self._mine).with_for_update()).one()

    def claim(self, tx: Tx, who: str, *, now: datetime, until: datetime) -> bool:
        """Return whether `who` is now the one that fetches a token; the row is locked."""
        free = or_(zoho_token.c.claimed_until.is_(None), zoho_token.c.claimed_until <= now)
        taken = update(zoho_token).where(self._mine, free).values(claimed_by=who, claimed_until=until)
        return tx.execute(taken).rowcount > 0

    def keep(self, tx: Tx, plain: bytes, *, renew_at: datetime, now: datetime) -> None:
        """Keep this instead of what was kept, and drop what is long over."""
        self.lock(tx)
        nonce = secrets.token_bytes(NONCE)
        sealed = nonce + self._cipher.encrypt(nonce, plain, self._fingerprint)
        tx.execute(update(zoho_token).where(self._mine).values(sealed=sealed, renew_at=renew_at))
        tx.execute(delete(zoho_token).where(zoho_token.c.renew_at < now - KEPT))

    def release(self, tx: Tx, who: str) -> None:
        """Let others fetch again, if `who` still is the one that does."""
        held = update(zoho_token).where(self._mine, zoho_token.c.claimed_by == who)
        tx.execute(held.values(claimed_by=None, claimed_until=None))


def forget(tx: Tx) -> None:
    """Drop every access token."""
    tx.execute(delete(zoho_token))


def _derived(keys: Keys, use: bytes) -> bytes:
    info = b"consent-ledger zoho access token 1 " + use
    return HKDF(algorithm=SHA256(), length=KEY, salt=None, info=info).derive(keys.mirror)

"""The connection to Zoho that an admin made, kept in the database with its secrets sealed.

Client secret and refresh token are sealed under a key that comes from the keys file, which the key-encryption
key seals: neither the database nor its backups open them, and a change of the key-encryption key changes
nothing here. They are bound to the hosts and the client that they are sent to, so that whoever writes to the
row cannot have them sent elsewhere. What the environment says wins over all of it.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr
from sqlalchemy import Connection as Tx
from sqlalchemy import delete, insert, select

from service.db import zoho_connection
from service.errors import Misconfigured
from service.settings import Settings
from service.vault import access_token
from service.vault.keyfile import KEY, NONCE
from service.vault.keyset import Keys

_ROW = 1
_HOSTS = ("zoho_accounts_url", "zoho_crm_url", "zoho_campaigns_url")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One organisation and how it let us in; `scopes` is empty where Zoho did not say."""

    accounts_url: str
    crm_url: str
    campaigns_url: str
    client_id: str
    client_secret: SecretStr = field(repr=False)
    refresh_token: SecretStr = field(repr=False)
    organisation: str
    zgid: str
    scopes: Sequence[str]
    connected_at: datetime


class _Secrets(msgspec.Struct, frozen=True):
    client_secret: str
    refresh_token: str


def write(tx: Tx, keys: Keys, connection: Connection) -> None:
    """Keep this connection instead of any other."""
    tx.execute(delete(zoho_connection))
    plain = msgspec.json.encode(
        _Secrets(connection.client_secret.get_secret_value(), connection.refresh_token.get_secret_value())
    )
    bound = _bound(
        connection.accounts_url, connection.crm_url, connection.campaigns_url, connection.client_id
    )
    nonce = secrets.token_bytes(NONCE)
    tx.execute(
        insert(zoho_connection).values(
            id=_ROW,
            accounts_url=connection.accounts_url,
            crm_url=connection.crm_url,
            campaigns_url=connection.campaigns_url,
            client_id=connection.client_id,
            organisation=connection.organisation,
            zgid=connection.zgid,
            scopes=" ".join(connection.scopes),
            connected_at=connection.connected_at,
            sealed=nonce + _cipher(keys).encrypt(nonce, plain, bound),
        )
    )


def read(tx: Tx, keys: Keys) -> Connection | None:
    """Return the connection, None where there is none; `Misconfigured` where it does not open."""
    row = tx.execute(select(*zoho_connection.c).where(zoho_connection.c.id == _ROW)).one_or_none()
    if row is None:
        return None
    bound = _bound(row.accounts_url, row.crm_url, row.campaigns_url, row.client_id)
    try:
        opened = _cipher(keys).decrypt(row.sealed[:NONCE], row.sealed[NONCE:], bound)
    except InvalidTag:
        raise Misconfigured(
            "the stored connection to Zoho does not open with these keys, or was changed by hand; "
            "run `consent-ledger connect --replace`"
        ) from None
    held = msgspec.json.decode(opened, type=_Secrets)
    return Connection(
        accounts_url=row.accounts_url,
        crm_url=row.crm_url,
        campaigns_url=row.campaigns_url,
        client_id=row.client_id,
        client_secret=SecretStr(held.client_secret),
        refresh_token=SecretStr(held.refresh_token),
        organisation=row.organisation,
        zgid=row.zgid,
        scopes=row.scopes.split(),
        connected_at=row.connected_at,
    )


def exists(tx: Tx) -> bool:
    """Return whether a connection is kept, whether or not it opens."""
    return tx.scalar(select(zoho_connection.c.id)) is not None


def forget(tx: Tx) -> bool:
    """Drop the connection and the access tokens; return whether there was a connection."""
    access_token.forget(tx)
    return tx.execute(delete(zoho_connection)).rowcount > 0


def applied(settings: Settings, connection: Connection | None) -> Settings:
    """Return the settings with what the connection knows where the environment says nothing.

    A refresh token in the environment, or a client other than the connection's, leaves the connection aside.
    """
    if connection is None or settings.zoho_refresh_token.get_secret_value():
        return settings
    if settings.zoho_client_id not in ("", connection.client_id):
        return settings
    told: dict[str, object] = {
        "zoho_client_id": connection.client_id,
        "zoho_refresh_token": connection.refresh_token,
    }
    if not settings.zoho_client_secret.get_secret_value():
        told["zoho_client_secret"] = connection.client_secret
    hosts = zip(_HOSTS, (connection.accounts_url, connection.crm_url, connection.campaigns_url), strict=True)
    usual = Settings.model_fields
    told |= {name: url for name, url in hosts if getattr(settings, name) == usual[name].default}
    return settings.model_copy(update=told)


def _cipher(keys: Keys) -> AESGCM:
    derived = HKDF(algorithm=SHA256(), length=KEY, salt=None, info=b"consent-ledger zoho connection 1")
    return AESGCM(derived.derive(keys.mirror))


def _bound(*texts: str) -> bytes:
    return msgspec.json.encode(texts)

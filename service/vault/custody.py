"""Who keeps the key-encryption key: a private file, or a key management service outside.

Whatever keeps it, the service sees one small interface. What `seal` returns stands in the KEK file;
`open` gives the key back, for memory alone. An outage of the keeper is never bridged by another key.
"""

import base64
import binascii
from typing import Protocol

from service.errors import Misconfigured
from service.settings import Settings
from service.vault.keyfile import KEY


class Custody(Protocol):
    """A keeper of the key-encryption key; `lease_s` is how long an opened key may be used unasked."""

    @property
    def lease_s(self) -> float | None:
        """Seconds after which the keeper is asked again; None where there is nobody to ask."""

    def seal(self, kek: bytes) -> bytes:
        """Return what may be written down; raises `Unavailable` while the keeper cannot be reached."""

    def open(self, sealed: bytes) -> bytes:
        """Return the key; `Unavailable` while the keeper cannot be reached, `Misconfigured` if it refuses."""


class FileCustody:
    """The key itself in a file, 32 bytes as base64; the file's mode is all that protects it."""

    lease_s: float | None = None

    def seal(self, kek: bytes) -> bytes:
        """Return the line that the file holds."""
        return base64.b64encode(kek) + b"\n"

    def open(self, sealed: bytes) -> bytes:
        """Return the key in a file's line."""
        try:
            kek = base64.b64decode(sealed.strip(), validate=True)
        except binascii.Error:
            kek = b""
        if len(kek) != KEY:
            raise Misconfigured(
                "the key-encryption key must be 32 bytes as base64; restore its file, "
                "or point CONSENT_KEK_FILE elsewhere (a key sealed by a KMS needs CONSENT_KMS_KEY)"
            )
        return kek


def custody(settings: Settings) -> Custody:
    """Return the keeper that the settings name: AWS KMS where CONSENT_KMS_KEY is set, else files."""
    if not settings.kms_key:
        return FileCustody()
    try:
        from service.vault.kms import KmsCustody  # noqa: PLC0415  # its library is an extra
    except ModuleNotFoundError:
        raise Misconfigured(
            "CONSENT_KMS_KEY is set, but the AWS library is not installed; "
            "install consent-ledger[aws], or unset it"
        ) from None
    return KmsCustody(settings.kms_key, context=settings.origin, endpoint_url=settings.kms_endpoint_url)

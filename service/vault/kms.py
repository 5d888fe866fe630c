"""The key-encryption key in the custody of AWS KMS: it leaves there only to be unwrapped into memory.

Wraps and unwraps one key; entries and checkpoints are signed in this process, because KMS would be asked
for every batch and its Ed25519 keys are not everywhere yet. Credentials and region come from the
environment, as for every AWS client.
"""

import base64
import binascii

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from service.errors import Misconfigured, Unavailable
from service.vault.keyfile import KEY

LEASE_S = 60.0
"""How long an unwrapped key is used before KMS is asked again: so long a revoked grant lives on at most."""
PATIENCE_S = 2.0
"""For one call; callers wait for it with an event in hand."""

_PREFIX = b"aws-kms "
_PASSING = frozenset(
    {
        "DependencyTimeoutException",
        "InternalException",
        "KMSInternalException",
        "KeyUnavailableException",
        "LimitExceededException",
        "RequestTimeout",
        "ServiceUnavailable",
        "ThrottlingException",
    }
)
"""Errors that time heals; any other means that somebody must act."""


class KmsCustody:
    """Wraps and unwraps with one KMS key; `context` binds what is wrapped to one log."""

    lease_s: float | None = LEASE_S

    def __init__(self, key: str, *, context: str, endpoint_url: str | None = None) -> None:
        self._key = key
        self._context = {"consent-ledger": context}
        try:
            self._client = boto3.client(
                "kms",
                endpoint_url=endpoint_url,
                config=Config(
                    connect_timeout=PATIENCE_S, read_timeout=PATIENCE_S, retries={"total_max_attempts": 1}
                ),
            )
        except BotoCoreError as error:
            raise Misconfigured(f"AWS is not configured: {error}; set AWS_REGION and credentials") from None

    def seal(self, kek: bytes) -> bytes:
        """Return the wrapped key as one line."""
        try:
            answer = self._client.encrypt(KeyId=self._key, Plaintext=kek, EncryptionContext=self._context)
        except (BotoCoreError, ClientError) as error:
            raise _translated(error) from None
        return _PREFIX + base64.b64encode(answer["CiphertextBlob"]) + b"\n"

    def open(self, sealed: bytes) -> bytes:
        """Return the key in a wrapped line; a key in the clear is refused, never used instead."""
        if not sealed.startswith(_PREFIX):
            raise Misconfigured(
                "CONSENT_KMS_KEY is set, but the KEK file holds no key that KMS wrapped; "
                "use the file that belongs to it"
            )
        try:
            blob = base64.b64decode(sealed.removeprefix(_PREFIX).strip(), validate=True)
            answer = self._client.decrypt(
                KeyId=self._key, CiphertextBlob=blob, EncryptionContext=self._context
            )
        except binascii.Error:
            raise Misconfigured("the KEK file is damaged; put back the copy that you keep") from None
        except (BotoCoreError, ClientError) as error:
            raise _translated(error) from None
        kek = answer["Plaintext"]
        if len(kek) != KEY:
            raise Misconfigured("KMS unwrapped something that is no key-encryption key of this service")
        return kek


def _translated(error: BotoCoreError | ClientError) -> Unavailable | Misconfigured:
    """Return our error for the library's; neither repeats what was sent."""
    if not isinstance(error, ClientError):
        return Unavailable("the key management service cannot be reached; try again when it is back")
    code = error.response.get("Error", {}).get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _PASSING or status >= 500:  # noqa: PLR2004  # HTTP's own line between their fault and ours
        return Unavailable(f"the key management service does not answer now ({code}); try again later")
    return Misconfigured(f"the key management service refuses ({code}); check CONSENT_KMS_KEY and its grants")

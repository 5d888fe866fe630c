"""Time stamps of RFC 3161: somebody else's word that these bytes existed at a time.

Pure. A token is judged as of the time that it states, so that a certificate which has run out since
voids nothing (RFC 3161, section 4, is about revocation, not age). No clock is read here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

import rfc3161_client
from cryptography import x509
from rfc3161_client import HashAlgorithm, TimestampRequestBuilder, TimeStampResponse, VerificationError

from service.errors import Malformed, Tampered

QUERY_TYPE = "application/timestamp-query"
REPLY_TYPE = "application/timestamp-reply"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request to stamp, as sent; the nonce must come back."""

    body: bytes
    nonce: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whose stamps are believed: root certificates, and those between them and the authority's own."""

    roots: tuple[x509.Certificate, ...]
    intermediates: tuple[x509.Certificate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What a token that verifies says; `serial` is the authority's own number for it."""

    at: datetime
    serial: int


def ask(data: bytes) -> Question:
    """Return a request for a stamp over the SHA-256 of the data, with a fresh nonce."""
    builder = TimestampRequestBuilder().data(data).hash_algorithm(HashAlgorithm.SHA256)
    request = builder.cert_request(cert_request=True).build()
    assert request.nonce is not None, "a request is built with a nonce"
    return Question(body=request.as_bytes(), nonce=request.nonce)


def read_trust(pem: bytes) -> Trust:
    """Return the certificates of a PEM file, self-issued ones as roots; `Malformed` without any root."""
    try:
        found = x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise Malformed("this is not a file of PEM certificates") from None
    roots = tuple(one for one in found if one.issuer == one.subject)
    if not roots:
        raise Malformed("the file holds no root certificate; put the authority's root at its end")
    return Trust(roots=roots, intermediates=tuple(one for one in found if one.issuer != one.subject))


def verify(reply: bytes, data: bytes, trust: Trust, *, nonce: int | None = None) -> Stamp:
    """Return the stamp in an authority's reply (DER, TimeStampResp) over exactly these bytes.

    Raises `Tampered` if it is no reply, was refused, is about other bytes, answers another request, or
    is not signed by somebody whom the roots vouched for at the time it states.
    """
    response = _decode(reply)
    verifier = rfc3161_client.VerifierBuilder(
        roots=list(trust.roots), intermediates=list(trust.intermediates), nonce=nonce
    ).build()
    try:
        verifier.verify(response, sha256(data).digest())
        info = response.tst_info
    except (VerificationError, ValueError) as error:
        raise Tampered(f"the time stamp does not hold: {error}") from None
    return Stamp(at=info.gen_time, serial=info.serial_number)


def verify_any(reply: bytes, data: bytes, trusted: Sequence[Trust]) -> Stamp:
    """Return the stamp if one of several authorities gave it; raises what the last one said otherwise."""
    assert trusted, "somebody must be believed"
    for trust in trusted[:-1]:
        try:
            return verify(reply, data, trust)
        except Tampered:
            continue
    return verify(reply, data, trusted[-1])


def _decode(reply: bytes) -> TimeStampResponse:
    try:
        return rfc3161_client.decode_timestamp_response(reply)
    except ValueError:
        raise Tampered("this is not a time-stamp reply (RFC 3161, DER)") from None

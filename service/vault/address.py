"""One address, one spelling: the normal form under which a person is looked up.

Trim, NFKC, lower-case, and the domain as IDNA A-labels. No provider-specific tricks: dots and
plus signs stay, because only the provider knows what they mean (reliability.md, S24).
"""

import unicodedata

import idna
from email_validator import EmailNotValidError, validate_email

from service.errors import Malformed

LONGEST = 254  # bytes of an address on the wire, RFC 5321 section 4.5.3.1.3 less the brackets


def parse(text: str) -> str:
    """Return the normal form of a valid address; raises `Malformed` that does not repeat it."""
    folded = fold(text)
    try:
        validate_email(folded, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        raise Malformed(
            "this is not an e-mail address that can be written to; check it for typing mistakes",
            field="email",
        ) from None
    if len(folded.encode()) > LONGEST:
        raise Malformed(f"an e-mail address has at most {LONGEST} bytes", field="email")
    return folded


def fold(text: str) -> str:
    """Return the normal form of whatever a product holds, valid or not; never raises."""
    local, at, domain = unicodedata.normalize("NFKC", text).strip().rpartition("@")
    local, domain = _settle(local).lstrip(), domain.rstrip()
    return f"{local}{at}{domain.lower() if domain.isascii() else _to_ascii(domain)}"


def _settle(local: str) -> str:
    """Fold case until nothing changes, so that a folded text folds to itself."""
    while (folded := unicodedata.normalize("NFKC", local.casefold())) != local:
        local = folded
    return local


def _to_ascii(domain: str) -> str:
    """Return a domain as A-labels; IDNA itself maps case, and keeps straße apart from strasse."""
    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except UnicodeError:  # idna's own errors are of this kind, as is half of a surrogate pair
        return domain.lower()

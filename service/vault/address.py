"""One address, one spelling: the normal form under which a person is looked up.

Trim, NFKC, lower-case, and the domain as IDNA A-labels. No provider-specific tricks: dots and
plus signs stay, because only the provider knows what they mean (reliability.md, S24).
"""

import re
import unicodedata
from typing import Final

import idna
from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email

from service.errors import Malformed

LONGEST: Final = 254  # bytes of an address on the wire, RFC 5321 section 4.5.3.1.3 less the brackets

_PLAIN = re.compile(
    r"(?=.{1,120}\Z)[a-z0-9_+]{1,32}(?:[.-][a-z0-9_+]{1,15}){0,2}"
    r"@(?:[a-z0-9]{1,31}(?:-[a-z0-9]{1,15}){0,2}\.){1,4}([a-z]{2,24})"
)
"""Most addresses: what `fold` would not change and every rule allows, told without asking them all."""
_SPECIAL = frozenset(name.rpartition(".")[2] for name in SPECIAL_USE_DOMAIN_NAMES)


def parse(text: str) -> str:
    """Return the normal form of a valid address; raises `Malformed` that does not repeat it."""
    return text if _is_plain(text) else _parse(text)


def _is_plain(text: str) -> bool:
    """Return whether an address is valid and its own normal form at first sight; False is no verdict."""
    found = _PLAIN.fullmatch(text)
    return found is not None and found[1] not in _SPECIAL


def _parse(text: str) -> str:
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
    if _is_plain(text):
        return text
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

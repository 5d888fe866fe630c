"""What a bounce says about a mailbox, by its enhanced status code (RFC 3463, RFC 5248). Pure.

Servers call many things a bounce: a vacation reply, a mail that was too large, our own address refused.
Only what speaks of the recipient's mailbox may suppress anybody; unknown is unknown, and counts for nothing.
"""

import re
from enum import StrEnum
from typing import Final


class Bounce(StrEnum):
    """What came back: a dead mailbox, one that fails for now, something else, or no bounce at all."""

    HARD = "hard"
    SOFT = "soft"
    UNKNOWN = "unknown"
    NONE = "none"


_ENHANCED: Final = re.compile(r"(?<![\w.])([245])\.([0-9]{1,3})\.([0-9]{1,3})(?![\w]|\.[0-9])", re.ASCII)
_BASIC: Final = re.compile(r"\s*([245])([0-5][0-9])\b(?!\.)", re.ASCII)
_AUTOMATIC: Final = re.compile(
    r"\b(vacation|auto-?\s?(?:reply|replied|response|responder|generated)|out of (?:the )?office)\b",
    re.IGNORECASE,
)
"""Words of an answering machine (RFC 3834): the mail arrived."""
DEAD: Final = frozenset({"1.1", "1.2", "1.3", "1.6", "1.10", "2.1", "7.13"})
"""Class 5 codes of a mailbox or domain that is not there: bad address, no mail taken, moved, disabled."""
FULL: Final = frozenset({"2.2", "552"})
"""A full mailbox is called permanent by many servers, and empties."""
FOR_NOW: Final = frozenset({"3", "4"})
"""Class 5 subjects of systems and routes: they may work again. What is left of class 5 (a list, our own
address, the protocol, the content, a policy) says nothing about the mailbox."""


def classify(told: Bounce, *, status: str = "", diagnostic: str = "") -> Bounce:
    """Return what a bounce is by its codes; `told`, the source's own word, where there are none.

    `status` is an SMTP or enhanced status ("550 5.1.1", "5.1.1"), `diagnostic` the text beside it. An
    enhanced code outweighs everything; the words of an answering machine outweigh a bare three-digit code.
    """
    for text in (status, diagnostic):
        if (found := _ENHANCED.search(text)) is not None:
            return _by_enhanced(found[1], int(found[2]), int(found[3]))
    if _AUTOMATIC.search(diagnostic):
        return Bounce.NONE
    basic = _BASIC.match(status) or _BASIC.match(diagnostic)
    if basic is None or told is Bounce.NONE:
        return told
    return _by_basic(basic[0].strip(), told)


def _by_enhanced(kind: str, subject: int, detail: int) -> Bounce:
    code = f"{subject}.{detail}"
    if kind == "2":
        return Bounce.NONE
    if kind == "4" or code in FULL:
        return Bounce.SOFT
    if code in DEAD:
        return Bounce.HARD
    return Bounce.SOFT if str(subject) in FOR_NOW else Bounce.UNKNOWN


def _by_basic(code: str, told: Bounce) -> Bounce:
    if code.startswith("2"):
        return Bounce.NONE
    return Bounce.SOFT if code.startswith("4") or code in FULL else told

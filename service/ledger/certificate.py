"""The certificate that an erased person keeps: what is gone, what remains and why, signed by the log.

Pure. A signed note for people to read, in which a few lines also speak to programs. It carries the
receipt of the `erasure` entry, so that whoever knows the log's public key checks it without us. It holds
no address: the person knows their own.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from service.errors import Tampered
from service.ledger.entry import decode, format_time, parse_time
from service.ledger.note import Signs, Verifies, decode_base64, open_note
from service.ledger.proof import verify_receipt

CATEGORY: Final = "erasure"
REASONS: Final = {
    "request": "the person asked for it (GDPR Art. 17)",
    "withdrawn": "consent was withdrawn and nothing else permits the data (GDPR Art. 17(1)(b))",
    "objection": "the person objected (GDPR Art. 17(1)(c))",
    "unneeded": "the data is no longer needed (GDPR Art. 17(1)(a))",
    "unlawful": "the data should not have been processed (GDPR Art. 17(1)(d))",
    "obligation": "a law demands it (GDPR Art. 17(1)(e))",
    "child": "it was collected from a child (GDPR Art. 17(1)(f))",
}
"""Why somebody is erased; a class, because words of one's own would stand in the log for ever."""

_TITLE: Final = "CERTIFICATE OF ERASURE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Residue:
    """One entry about the erased pseudonym that stays in the log: its place, time and kind."""

    index: int
    at: datetime
    category: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What is certified; `receipt` is the tlog-proof file of the `erasure` entry at `index`.

    `sealed` counts the sealed records that were destroyed with the person's key, `backup_days` is how long
    copies may still stand in backups.
    """

    origin: str
    controller: str
    erased_at: datetime
    reason: str
    index: int
    subject: bytes
    sealed: int
    backup_days: int
    remains: tuple[Residue, ...]
    receipt: bytes

    def text(self) -> bytes:
        """Return the text that is signed."""
        until = self.erased_at + timedelta(days=self.backup_days)
        lines = [
            _TITLE,
            "Personal data about you was erased from the consent ledger of the organisation named here.",
            "This paper needs no trust: the organisation's log has signed it. Keep it with your files.",
            f"controller: {self.controller}",
            f"log: {self.origin}",
            f"erased: {format_time(self.erased_at)}",
            f"reason: {self.reason}",
            f"  that is: {REASONS.get(self.reason, self.reason)}",
            f"entry: {self.index}",
            f"pseudonym: {base64.b64encode(self.subject).decode()}",
            "WHAT WAS ERASED",
            "  your address, and everything that led from it to the pseudonym above",
            "  the key that was yours alone, without which no detail about you can be opened by anybody",
            f"sealed records: {self.sealed}",
            "  what you were shown and did, and from where, sealed under that key; each was deleted too",
            "  your standing, waiting tasks, and copies of what the mailing and customer systems hold",
            "WHAT REMAINS, AND WHY",
            "  The entries below stay, because nobody can take an entry out of a log that proves it was",
            "  never rewritten. Each is its number, time, kind and the pseudonym; none holds a detail.",
            "  They show that the organisation kept the rules (GDPR Art. 17(3)(b) and (e)).",
            *(f"remains: {r.index} {format_time(r.at)} {r.category}" for r in self.remains),
            "  A keyed hash of your address stays as well, and nothing with it but the time and the reason,",
            "  so that no import writes to you again. Only your own new consent opens the way.",
            "  Until the directory gets a new key, the holder of its key who already knows your address",
            "  could work out that it was known here, and from neighbouring entries which pseudonym it had.",
            f"backups until: {format_time(until)}",
            f"  Copies in backups are kept for {self.backup_days} days; what is restored from one is erased",
            "  again before it is used.",
            "HOW TO CHECK THIS",
            "  consent-ledger verify-erasure <this file> --key <public key of the log>",
            f"receipt: {base64.b64encode(self.receipt).decode()}",
        ]
        return ("\n".join(lines) + "\n").encode()


def sign_certificate(certificate: Certificate, signer: Signs) -> bytes:
    """Return the certificate as a note signed by the log."""
    assert signer.name == certificate.origin, "a log certifies its own erasures"
    return signer.sign(certificate.text())


def verify_certificate(note: bytes, verifiers: Sequence[Verifies]) -> Certificate:
    """Return the certificate in a note if the log signed it and its receipt proves the erasure.

    Needs nothing but the log's public keys. Raises `Tampered` for anything else.
    """
    text = open_note(note, verifiers).text
    certificate = _parse(text)
    if certificate.text() != text:
        raise Tampered("this certificate is not one that this ledger writes")
    verified = verify_receipt(certificate.receipt, verifiers)
    entry = decode(verified.receipt.entry)
    if (verified.checkpoint.origin, verified.receipt.index) != (certificate.origin, certificate.index):
        raise Tampered("the receipt in the certificate is of another entry")
    told = (entry.category, entry.subject, entry.at, entry.extra.get("why"))
    if told != (CATEGORY, certificate.subject, certificate.erased_at, certificate.reason):
        raise Tampered("the entry that the certificate names does not record this erasure")
    return certificate


def _parse(text: bytes) -> Certificate:
    lines = text.decode().splitlines()
    told = dict(
        line.split(": ", 1) for line in lines if ": " in line and not line.startswith(("  ", "remains"))
    )
    try:
        erased_at = parse_time(told["erased"])
        return Certificate(
            origin=told["log"],
            controller=told["controller"],
            erased_at=erased_at,
            reason=told["reason"],
            index=int(told["entry"]),
            subject=decode_base64(told["pseudonym"]),
            sealed=int(told["sealed records"]),
            backup_days=(parse_time(told["backups until"]) - erased_at).days,
            remains=tuple(_residue(line) for line in lines if line.startswith("remains: ")),
            receipt=decode_base64(told["receipt"]),
        )
    except (KeyError, ValueError):
        raise Tampered("this is not a certificate of erasure") from None


def _residue(line: str) -> Residue:
    index, at, category = line.removeprefix("remains: ").split(" ")
    return Residue(index=int(index), at=parse_time(at), category=category)

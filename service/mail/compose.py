"""A letter with its envelope: headers that cannot be injected into, parts in the order clients expect.

Pure. Addresses and headers are checked before anything is written, because mail libraries cut or
smuggle what they do not like (reliability.md, M03 and M04). No error here repeats an address.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Protocol

from email_validator import EmailNotValidError, validate_email

from service.errors import Malformed, Misconfigured

_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_MAILBOX = re.compile(r"(?:(?P<name>[^<>@\"]*?)\s*<(?P<named>[^<>\s]+)>|(?P<bare>[^<>\s]+))")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")


class File(Protocol):
    """What is attached; the bytes arrive as they are."""

    @property
    def name(self) -> str:
        """Name of the file, without a folder."""

    @property
    def media_type(self) -> str:
        """Media type, such as text/csv."""

    @property
    def data(self) -> bytes:
        """The file's bytes."""


class Letter(Protocol):
    """What is sent, before it has an envelope."""

    @property
    def subject(self) -> str:
        """One line."""

    @property
    def text(self) -> str:
        """The whole content for those who read plain text."""

    @property
    def html(self) -> str:
        """The same for those who do not."""

    @property
    def pictures(self) -> Mapping[str, bytes]:
        """PNGs that the HTML names as `cid:<key>`."""

    @property
    def attachments(self) -> Sequence[File]:
        """Files beside the text."""


def compose(letter: Letter, *, sender: str, recipients: str, message_id: str, at: datetime) -> EmailMessage:
    """Return the mail: mixed[alternative[text, related[html, pictures]], attachments].

    `sender` is one mailbox, `recipients` several, comma separated, each `name <address>` or an address.
    Raises `Misconfigured` for a mailbox that cannot be written to, `Malformed` for a broken header.
    """
    message = EmailMessage(policy=SMTP)
    message["From"] = parse_mailboxes(sender, setting="CONSENT_MAIL_FROM")[:1]
    message["To"] = parse_mailboxes(recipients, setting="CONSENT_MAIL_TO")
    message["Subject"] = _line(letter.subject)
    message["Date"] = format_datetime(at.astimezone(UTC))
    message["Message-ID"] = _line(message_id)
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content(letter.text, cte="quoted-printable")
    message.add_alternative(letter.html, subtype="html", cte="quoted-printable")
    _, html = message.iter_parts()
    assert isinstance(html, EmailMessage), "parts of a new message are of its own class"
    for name, picture in letter.pictures.items():
        html.add_related(
            picture, "image", "png", cid=f"<{_line(name)}>", disposition="inline", filename=_line(name)
        )
    for file in letter.attachments:
        kind, _, subtype = file.media_type.partition("/")
        message.add_attachment(file.data, kind, subtype, filename=_line(file.name))
    return message


def parse_mailboxes(text: str, *, setting: str) -> tuple[Address, ...]:
    """Return the mailboxes in a comma-separated list; `Misconfigured` names the setting at fault."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise Misconfigured(f"{setting} names nobody; set it to one or more addresses, comma separated")
    found = []
    for place, part in enumerate(parts, 1):
        match = None if _CONTROL.search(part) else _MAILBOX.fullmatch(part)
        try:
            spec = validate_email(
                (match["named"] or match["bare"]) if match else "",
                check_deliverability=False,
                test_environment=True,
                allow_smtputf8=False,
            ).ascii_email
        except EmailNotValidError:
            raise Misconfigured(f"address {place} in {setting} cannot be written to; correct it") from None
        found.append(Address(display_name=(match["name"] or "") if match else "", addr_spec=spec or ""))
    return tuple(found)


def message_id(night: date, origin: str) -> str:
    """Return the one Message-ID of a log's mail about a night: a mail sent twice is shown once."""
    host = origin.partition("/")[0].casefold()
    digest = hashlib.sha256(origin.encode()).hexdigest()[:16]
    return f"<drift.{night.isoformat()}.{digest}@{host if _HOST.fullmatch(host) else 'ledger.invalid'}>"


def _line(text: str) -> str:
    if _CONTROL.search(text):
        raise Malformed("a header of the mail holds a line break or control character; nothing was sent")
    return text

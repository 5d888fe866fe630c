"""Where a mail goes: a mail server, or a folder of .eml files (the embedded default).

Errors name the kind of failure and the server's code, never its text, which may repeat an address.
"""

import ipaddress
import os
import re
import secrets
import smtplib
import ssl
from contextlib import suppress
from email.message import EmailMessage
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

from service.errors import Misconfigured, Unavailable

TIMEOUT_S: Final = 30
"""For each step of the conversation with the mail server."""


class Outbox(Protocol):
    """Where a mail goes."""

    def send(self, message: EmailMessage) -> str:
        """Hand the mail over and return where it went; raises `Unavailable` when it was not taken."""


class FolderOutbox:
    """Writes each mail as an .eml file of its own, whole or not at all, readable by the owner alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def send(self, message: EmailMessage) -> str:
        """Write the mail under its Message-ID and return its path; a second time replaces the file."""
        name = re.sub(r"[^A-Za-z0-9.-]", "_", message["Message-ID"].strip("<>").partition("@")[0]) + ".eml"
        target = self._folder / name
        temporary = self._folder / f".{name}.{secrets.token_hex(8)}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write(temporary, message.as_bytes())
            temporary.replace(target)
            _sync(self._folder)
        except OSError as error:
            with suppress(OSError):  # what is left of a file that could not be written is no mail
                temporary.unlink(missing_ok=True)
            raise Unavailable(
                f"the outbox folder could not be written ({type(error).__name__}, errno {error.errno}); "
                "make room or correct its permissions, the mail is tried again"
            ) from None
        return str(target)

    def greet(self) -> str:
        """Return the folder after writing something there and removing it again; raises `OSError`."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = self._folder / f".{secrets.token_hex(8)}"
        _write(temporary, b"")
        temporary.unlink()
        return str(self._folder)


class SmtpOutbox:
    """Hands each mail to a mail server: `smtp://[user:password@]host[:port]`, or `smtps://` for TLS at once.

    Over `smtp://` the server must offer STARTTLS, unless it is on this very machine. `smtp+plain://`
    gives that up by name, and with it any password: for a mail catcher on a network of its own.
    """

    def __init__(self, url: str, *, context: ssl.SSLContext | None = None) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in ("smtp", "smtps", "smtp+plain") or not parts.hostname:
            raise Misconfigured(
                "CONSENT_SMTP_URL must look like smtp://user:password@host:587 or smtps://host"
            )
        self._in_the_clear = parts.scheme == "smtp+plain"
        if self._in_the_clear and parts.username:
            raise Misconfigured(
                "CONSENT_SMTP_URL would send a password in the clear; use smtp:// or smtps://"
            )
        self._tls_at_once = parts.scheme == "smtps"
        self._host = parts.hostname
        self._port = port or (465 if self._tls_at_once else 587)
        self._user = unquote(parts.username or "")
        self._password = unquote(parts.password or "")
        self._context = context or ssl.create_default_context()

    def __repr__(self) -> str:
        return f"SmtpOutbox({self._host}:{self._port})"

    def send(self, message: EmailMessage) -> str:
        """Hand the mail over; the place is the server, and how many of its recipients it would not take."""
        place = self._place
        try:
            with self._connect() as server:
                # Not `send_message`: it writes ">From" where a line begins with "From".
                refused = server.sendmail(*_envelope(message), message.as_bytes())
        except (smtplib.SMTPException, OSError) as error:
            raise Unavailable(
                f"the mail server {place} did not take the mail ({_what(error)}); it is tried again"
            ) from None
        return place + (f" ({len(refused)} recipients refused)" if refused else "")

    def greet(self) -> str:
        """Return the server's address after connecting, encrypting and logging in; nothing is sent."""
        try:
            with self._connect():
                return self._place
        except (smtplib.SMTPException, OSError) as error:
            raise Unavailable(
                f"the mail server {self._place} does not let us in ({_what(error)}); "
                "correct CONSENT_SMTP_URL, or let this machine reach it"
            ) from None

    @property
    def _place(self) -> str:
        return f"{'smtps' if self._tls_at_once else 'smtp'}://{self._host}:{self._port}"

    def _connect(self) -> smtplib.SMTP:
        if self._tls_at_once:
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                self._host, self._port, timeout=TIMEOUT_S, context=self._context
            )
        else:
            server = smtplib.SMTP(self._host, self._port, timeout=TIMEOUT_S)
        try:
            self._secure(server)
            if self._user:
                server.login(self._user, self._password)
        except BaseException:
            server.close()
            raise
        return server

    def _secure(self, server: smtplib.SMTP) -> None:
        server.ehlo_or_helo_if_needed()
        if self._tls_at_once or self._in_the_clear:
            return
        if server.has_extn("starttls"):
            if needs_tls(self._host):
                server.starttls(context=self._context)
                server.ehlo()
        elif needs_tls(self._host):
            raise Unavailable(
                f"the mail server {self._host} offers no STARTTLS, and nothing is sent in the clear; "
                "use smtps://, or a server that encrypts"
            )


def needs_tls(host: str) -> bool:
    """Return whether mail to this host must be encrypted: any but this very machine."""
    if host.casefold() == "localhost":
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True


def _envelope(message: EmailMessage) -> tuple[str, list[str]]:
    """Return who sends the mail, and to whom, as plain addresses."""
    return message["From"].addresses[0].addr_spec, [one.addr_spec for one in message["To"].addresses]


def _what(error: Exception) -> str:
    """Return the kind of error and the server's code, never its text: that may repeat an address."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = sorted({code for code, _ in error.recipients.values()})
        return f"every recipient was refused, {', '.join(map(str, codes))}"
    code = getattr(error, "smtp_code", None) or getattr(error, "errno", None)
    return type(error).__name__ + (f", {code}" if code else "")


def _write(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

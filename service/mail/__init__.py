"""Mail to the organisation's own people: one letter a night, over SMTP or into a folder.

`compose.py` gives a letter its envelope, `outbox.py` hands it over, `nightly.py` sees to it that a
night's letter is sent at most once. Nothing here writes to recipients of marketing.
"""

from service.mail.compose import Letter, compose, message_id, parse_mailboxes
from service.mail.nightly import send_nightly
from service.mail.outbox import FolderOutbox, Outbox, SmtpOutbox, needs_tls

__all__ = [
    "FolderOutbox",
    "Letter",
    "Outbox",
    "SmtpOutbox",
    "compose",
    "message_id",
    "needs_tls",
    "parse_mailboxes",
    "send_nightly",
]

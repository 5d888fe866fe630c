"""Who is who: the address directory, per-person keys, sealed payloads and unsubscribe tokens.

Personal data lives here and nowhere else, and never in the clear. A person is 32 random bytes;
the directory finds them by a keyed hash of the address; what they said is sealed under a key of
their own, wrapped by the key-encryption key outside the database (tlog.md 3.4). Nothing here
commits, and nothing here appends to the ledger.
"""

from service.vault.directory import Vault

__all__ = ["Vault"]

"""What a user of CRM is called where people read it. Pure."""

UNNAMED = "a deleted or unnamed user"
"""CRM names nobody who was deleted, and nobody at all to whom may not read its users."""


def called(who: str | None) -> str | None:
    """Return a user's name; where CRM told a number alone, words that a person can read."""
    return UNNAMED if who is not None and who.isascii() and who.isdecimal() else who

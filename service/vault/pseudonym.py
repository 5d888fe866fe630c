"""What a person is called where no address may stand: in mails, plans, pages, lists and messages. Pure.

One form everywhere, so that whoever reads two of them sees that it is the same person.
"""

from service.consent import SubjectId

_BYTES = 8  # 16 hex digits: two of five million people share one with a probability of 1 in 1.5 million


def by_address(address_index: bytes) -> str:
    """Return `p-` and the first 16 hex digits of the keyed hash of a person's address."""
    return f"p-{address_index[:_BYTES].hex()}"


def by_subject(sub: SubjectId | bytes) -> str:
    """Return `s-` and the first 16 hex digits of a person's random id in the ledger."""
    return f"s-{sub[:_BYTES].hex()}"

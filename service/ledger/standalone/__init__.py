"""The verifier that needs nothing of this project: one file, written apart from the rest on purpose.

It uses the standard library and `cryptography`, and other algorithms where that is sensible, so that a
mistake would have to be made twice. Exports carry a copy.
"""

from importlib import resources


def source() -> bytes:
    """Return the program's text."""
    return resources.files(__package__).joinpath("verify.py").read_bytes()

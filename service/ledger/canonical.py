"""The one way in which JSON is written before it is signed or hashed (RFC 8785, restricted).

Pure. The profile is so narrow that key order and number form leave no choice, so that every RFC 8785
writer, and most others, give the same bytes. What lies outside of it is refused, not repaired.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Final, TypeAlias

import msgspec

from service.errors import Malformed

Json: TypeAlias = "str | int | bool | Sequence[Json] | Mapping[str, Json] | None"
"""What may be signed: no floats, integers below 2**53, keys of [a-z0-9_.]."""

MAX_DEPTH: Final = 32  # far deeper than any evidence, far shallower than Python's stack

_KEY = re.compile(r"[a-z0-9_.]+")
_INTEGER_LIMIT = 1 << 53  # beyond it, JSON readers that use doubles disagree
_TORN = "a text holds half of a surrogate pair, which is not Unicode; send it whole"
_ENCODER = msgspec.json.Encoder(order="sorted")
_PLAIN = frozenset({str, bool, type(None)})
"""Types of which every value is allowed."""


def canonical(value: Json) -> bytes:
    """Return the value as RFC 8785 JSON, within a profile that leaves every writer no choice.

    Allowed are objects with keys of [a-z0-9_.], arrays, strings, integers with an absolute value below
    2**53, true, false and null, nested at most 32 deep. Raises `Malformed` for anything else.
    """
    if type(value) is not str:
        _require_profile(value, MAX_DEPTH)
    try:
        return _ENCODER.encode(value)
    except UnicodeEncodeError:
        raise Malformed(_TORN) from None


def canonical_object(value: Mapping[str, object]) -> bytes:
    """Return one object as `canonical` does, its values known to be allowed; bytes are written in base64.

    Raises `Malformed` for a name or a text that `canonical` refuses.
    """
    _require_names(value)
    try:
        return _ENCODER.encode(value)
    except UnicodeEncodeError:
        raise Malformed(_TORN) from None


def require_profile(value: Json) -> None:
    """Raise `Malformed` where `canonical` would, but for texts that are not Unicode."""
    _require_profile(value, MAX_DEPTH)


def _require_profile(value: object, depth: int) -> None:
    if value is None or isinstance(value, bool) or type(value) is str or isinstance(value, StrEnum):
        return
    if type(value) is int:
        if not -_INTEGER_LIMIT < value < _INTEGER_LIMIT:
            raise Malformed("an integer of 2**53 or more cannot be signed; send it as a text")
    elif depth == 0:
        raise Malformed(f"a value is nested more than {MAX_DEPTH} deep; send less structure")
    elif isinstance(value, dict):
        _require_names(value)
        _require_items(value.values(), depth)
    elif isinstance(value, list | tuple):
        _require_items(value, depth)
    else:
        raise Malformed(f"a value of type {type(value).__name__} cannot be signed; send a text or an integer")


def _require_items(items: Collection[object], depth: int) -> None:
    if not _PLAIN.issuperset(map(type, items)):
        for item in items:
            if type(item) is not str:
                _require_profile(item, depth - 1)


def _require_names(names: Iterable[object]) -> None:
    if not all(map(_is_name, names)):
        raise Malformed("a field's name may only hold lower-case letters, digits, dots and underscores")


@lru_cache(maxsize=1024)
def _is_name(name: object) -> bool:
    return type(name) is str and _KEY.fullmatch(name) is not None

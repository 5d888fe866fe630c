"""Read request bodies so that they mean one thing, or say what is wrong and where.

The framework's own parsing is never used: it takes `text/plain` for JSON, lets the last of two equal
keys win, and fails with 500 on invalid UTF-8 or bottomless nesting (reliability.md, fact 9). Whatever
arrives here ends as a value or as a `Malformed`, `TooLarge` or `UnsupportedMedia`.
"""

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator
from email.message import Message
from functools import lru_cache
from typing import Any, Final, NoReturn, Protocol, TypeVar
from urllib.parse import parse_qsl

import msgspec
from litestar import Request

from service.errors import Malformed, TooLarge, UnsupportedMedia

FORM_BYTES: Final = 64 * 1024
EVENTS_BYTES: Final = 5 * 1024 * 1024
QUESTION_BYTES: Final = 16 * 1024  # an address, a reason and a date

JSON: Final = "application/json"
URLENCODED: Final = "application/x-www-form-urlencoded"

_MAX_DEPTH = 32  # as deep as an entry's payload may be (ledger/canonical.py)
_MAX_FIELDS = 50
_MAX_DIGITS = 16  # of an integer below 2**53
_INTEGER_LIMIT = 1 << 53  # beyond it, JSON readers that use doubles disagree
_PATIENCE_S = 30  # a body of this size takes a second; who needs longer is holding us up
_INLINE_BYTES = 64 * 1024  # what is larger is decoded in a thread, so that others are still served
_PLAIN = re.compile(r"[a-z_]{1,40}")  # what names of ours look like
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"required field `(.*)`$", re.DOTALL)
_STEPS = re.compile(r"\.([^.\[]+)|\[(\d+)\]")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")

_DOUBTFUL = re.compile(rb"[\s:,\[](?:-|[0-9]{16})")
"""What a quick reader would take and a strict one may not: integers of many digits."""
_OPENING = (b"{", b"[")
_NAME_END = re.compile(rb'"[ \t\r\n]*:')
"""Ends every name of an object; inside a text it can stand too, never the other way round."""

T = TypeVar("T")
AnyRequest = Request[Any, Any, Any]


class Fields(Protocol):
    """The header fields of a request."""

    def get(self, name: str, default: str, /) -> str:
        """Return the first field of this name (lower case)."""

    def getall(self, name: str, default: list[str], /) -> list[str]:
        """Return all fields of this name."""


class Asked(Protocol):
    """As much of a request as this module reads: the framework's own, or one that came past it."""

    @property
    def headers(self) -> Fields:
        """The header fields."""

    def stream(self) -> AsyncIterator[bytes]:
        """Yield the body in parts."""


async def read_json(request: Asked, limit_bytes: int) -> object:
    """Return the value of a JSON body; its type is `application/json` and nothing near it."""
    _require_media(request, (JSON,))
    return await _decode(decode_json, await read_body(request, limit_bytes))


async def read_form(request: AnyRequest, limit_bytes: int = FORM_BYTES) -> object:
    """Return the fields of an urlencoded body."""
    _require_media(request, (URLENCODED,))
    return decode_form(await read_body(request, limit_bytes))


async def read_either(request: AnyRequest, limit_bytes: int = FORM_BYTES) -> object:
    """Return the value of a body that is JSON or urlencoded, as its media type says."""
    media = _require_media(request, (JSON, URLENCODED))
    body = await read_body(request, limit_bytes)
    return decode_json(body) if media == JSON else decode_form(body)


async def read_body(request: Asked, limit_bytes: int) -> bytes:
    """Return the body's bytes; `TooLarge` as soon as the announced or received length is over the limit."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and len(announced) < _MAX_DIGITS and int(announced) > limit_bytes:
        _refuse_size(limit_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(_PATIENCE_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit_bytes:
                    _refuse_size(limit_bytes)
    except TimeoutError:
        raise Malformed(f"the body did not arrive within {_PATIENCE_S} seconds; send it again") from None
    return bytes(body)


def decode_json(body: bytes) -> object:
    """Return the JSON value in `body`; `Malformed` names the path of whatever has no one meaning."""
    try:
        value = _decode_plain(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        value = _DOUBT
    return _decode_carefully(body) if value is _DOUBT else value


def _decode_plain(body: bytes) -> object:
    """Return the value of a body that means one thing at first sight, `_DOUBT` for any other.

    Every name ends in a quote and a colon, so a name that stands twice makes more of those than names.
    """
    if body[:1] not in _OPENING or b"\\u0000" in body or _DOUBTFUL.search(body):
        return _DOUBT
    value = msgspec.json.decode(body)
    return value if _count_names(value, _MAX_DEPTH) == len(_NAME_END.findall(body)) else _DOUBT


def _count_names(value: object, depth: int) -> int:
    """Return how many names the objects inside a value have; far too many where it is nested too deep."""
    if type(value) is not dict and type(value) is not list:
        return 0
    if depth == 0:
        return _INTEGER_LIMIT
    names, inside = (len(value), value.values()) if type(value) is dict else (0, value)
    for item in inside:
        if type(item) is dict or type(item) is list:
            names += _count_names(item, depth - 1)
    return names


def _decode_carefully(body: bytes) -> object:
    text = _decode_text(body)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=lambda name: _Wrong(f"{name} is not a JSON number"),
        )
    except json.JSONDecodeError as error:
        raise Malformed(
            f"the body is not JSON: {error.msg} at line {error.lineno} column {error.colno}"
        ) from None
    except RecursionError:
        _refuse_depth("")
    _require_clean(value, "", _MAX_DEPTH)
    return value


def decode_form(body: bytes) -> dict[str, str]:
    """Return the fields of an urlencoded body, each name once; `Malformed` names the field at fault."""
    if bad := _BAD_ESCAPE.search(body):
        raise Malformed(f"the percent sign at byte {bad.start()} does not begin an escape of two hex digits")
    try:
        text = _decode_text(body)
        pairs = parse_qsl(
            text,
            keep_blank_values=True,
            strict_parsing=bool(text),
            errors="strict",
            max_num_fields=_MAX_FIELDS,
        )
    except UnicodeDecodeError:
        raise Malformed("an escape in the body is not UTF-8; send every text in UTF-8") from None
    except ValueError:
        raise Malformed(
            f"the body is not name=value pairs joined by &, at most {_MAX_FIELDS} of them"
        ) from None
    fields = _object(pairs)
    _require_clean(fields, "", 1)
    assert isinstance(fields, dict), "a repeated name was refused just above"
    return fields


def convert(value: object, kind: type[T], *, at: str = "") -> T:
    """Return `value` as `kind`, unknown fields refused; `Malformed` carries the field's path below `at`.

    What a caller wrote is never repeated: of a name that is not known it is said where it stands.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        field = path.rstrip("`").removeprefix("." if not at else "")
        if unknown := _UNKNOWN.fullmatch(message):
            message = (
                f"name {_position(value, path.rstrip('`'), unknown[1])} of this object is not known here"
            )
        elif missing := _MISSING.search(message):
            field = join(field, missing[1])
        elif message.startswith("Invalid enum value"):
            message = "this is none of the values that are taken here"
        raise Malformed(
            f"{message[:200]}; see /openapi.json", field=(at + _under(at, field))[:200] or None
        ) from None


def join(path: str, name: str, position: int = 1) -> str:
    """Return the path of a field of the object at `path`, named by its place where its name is not plain.

    A name may be anything, an address too, so only what looks like ours is repeated.
    """
    shown = name if _PLAIN.fullmatch(name) else f"name {position}"
    return f"{path}.{shown}" if path else shown


def _position(value: object, path: str, name: str) -> int:
    """Return the place, from 1, of a name among those of the object at a path like `.events[3].evidence`."""
    for field, index in _STEPS.findall(path):
        if index and isinstance(value, list):
            value = value[int(index)]
        elif isinstance(value, dict):
            value = value.get(field)
    return list(value).index(name) + 1 if isinstance(value, dict) and name in value else 1


def _under(at: str, field: str) -> str:
    return f".{field}" if at and field and field[0] not in ".[" else field


def _require_media(request: Asked, allowed: tuple[str, ...]) -> str:
    """Return the body's media type if it is one of `allowed`, in UTF-8, not compressed."""
    declared = request.headers.getall("content-type", [])
    media = _media(declared[0]) if len(declared) == 1 else None
    if media is None or media not in allowed:
        raise UnsupportedMedia(f"send this as Content-Type: {' or '.join(allowed)}, in UTF-8")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMedia("send this without Content-Encoding; compressed bodies are not read here")
    return media


@lru_cache(maxsize=64)
def _media(declared: str) -> str | None:
    """Return the media type in a Content-Type, None where it has parameters other than UTF-8."""
    message = Message()
    message["content-type"] = declared
    media = message.get_content_type() if "/" in declared else None
    parameters = {str(name).lower(): str(value) for name, value in message.get_params(failobj=[])[1:]}
    plain = parameters.pop("charset", "utf-8").lower() == "utf-8" and not parameters
    return media if plain else None


async def _decode(decoder: Any, body: bytes) -> object:  # noqa: ANN401  # either decoder of this module
    return decoder(body) if len(body) <= _INLINE_BYTES else await asyncio.to_thread(decoder, body)


def _decode_text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"the body is not UTF-8: byte {error.start} does not belong there") from None


_DOUBT: Final = object()
"""Stands for a body that the strict reader must judge."""


class _Wrong:
    """Stands in a decoded value where something has no one meaning, until its path is known."""

    def __init__(self, why: str) -> None:
        self.why = why


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | _Wrong:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    names = [name for name, _ in pairs]
    first = next(place for place, name in enumerate(names) if names.count(name) > 1)
    again = names.index(names[first], first + 1)
    return _Wrong(
        f"names {first + 1} and {again + 1} of this object are the same, it stands twice; send it once"
    )


def _integer(text: str) -> int | _Wrong:
    if len(text.lstrip("-")) > _MAX_DIGITS or abs(int(text)) >= _INTEGER_LIMIT:
        return _Wrong("this integer is not below 2**53; send it as a text")
    return int(text)


def _float(text: str) -> float | _Wrong:
    value = float(text)
    return value if math.isfinite(value) else _Wrong("this number is out of range; send it as a text")


def _require_clean(value: object, path: str, depth: int) -> None:
    """Refuse what `_Wrong` marks, texts that are not Unicode or hold NUL, and deep nesting."""
    match value:
        case _Wrong():
            raise Malformed(value.why, field=path or None)
        case str():
            _require_text(value, path)
        case dict() | list() if depth == 0:
            _refuse_depth(path)
        case dict():
            for position, (name, item) in enumerate(value.items(), start=1):
                _require_text(name, path)
                _require_clean(item, join(path, name, position), depth - 1)
        case list():
            for position, item in enumerate(value):
                _require_clean(item, f"{path}[{position}]", depth - 1)
        case _:
            pass


def _require_text(text: str, path: str) -> None:
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise Malformed("a text holds half of a surrogate pair, which is not Unicode", field=path or None)
    if "\0" in text:
        raise Malformed("a text holds the character NUL, which no text needs", field=path or None)


def _refuse_depth(path: str) -> NoReturn:
    raise Malformed(
        f"the body is nested more than {_MAX_DEPTH} deep; send less structure", field=path[:200] or None
    )


def _refuse_size(limit_bytes: int) -> NoReturn:
    raise TooLarge(f"the body is over the limit of {limit_bytes} bytes; send less at once")

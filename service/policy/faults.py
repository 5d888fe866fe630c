"""Everything about a table that does not fit its shape, where the decoder stops at the first. Pure.

Each value is tried against its own type, so that one wrong number hides no other. Nothing is decided
here that the decoder would not say: a table without faults decodes, one with any does not.
"""

import types
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime
from typing import Any, Union, get_args, get_origin

import msgspec

from service.policy.lines import Path

Fault = tuple[Path, str]
"""Where, and what is wrong there."""
_PAIR = 2  # a key's type and a value's


def faults(told: object, kind: Any, path: Path = ()) -> Iterator[Fault]:  # noqa: ANN401  # a type, as annotations have it
    """Yield what keeps `told` from being a `kind`: a msgspec struct, or a tuple or mapping of them."""
    shape = _shape(told, kind)
    found = list(_inside(told, shape, path))
    yield from found or _whole(told, kind, path)
    if found and not path and isinstance(told, Mapping):
        yield from _among(told, kind, {where[0] for where, _ in found if where})


def _among(told: Mapping[str, Any], kind: Any, wrong: AbstractSet[str | int]) -> Iterator[Fault]:  # noqa: ANN401  # as above
    """Yield what a file's other keys say against each other, which a fault further down would hide."""
    required = {one.encode_name for one in msgspec.structs.fields(kind) if one.required}
    if required <= told.keys() - wrong:
        yield from _whole({name: value for name, value in told.items() if name not in wrong}, kind, ())


def _inside(told: object, kind: Any, path: Path) -> Iterator[Fault]:  # noqa: ANN401  # as above
    """Yield the faults of the parts of a table or an array."""
    parts = get_args(kind)
    if isinstance(told, Mapping) and _is_struct(kind):
        yield from _fields(told, kind, path)
    elif isinstance(told, Mapping) and get_origin(kind) is dict and len(parts) == _PAIR:
        for name, value in told.items():
            yield from faults(value, parts[1], (*path, name))
    elif _is_array(told) and get_origin(kind) is tuple and parts[1:] == (...,):
        for number, value in enumerate(told):  # type: ignore[arg-type]  # `_is_array` says so
            yield from faults(value, parts[0], (*path, number))


def _fields(told: Mapping[str, Any], kind: Any, path: Path) -> Iterator[Fault]:  # noqa: ANN401  # as above
    known = {one.encode_name: one for one in msgspec.structs.fields(kind)}
    tag = kind.__struct_config__.tag_field
    for name in told:
        if name not in known and name != tag:
            yield (*path, name), f"Object contains unknown field `{name}`"
    for name, one in known.items():
        if name in told:
            yield from faults(told[name], one.type, (*path, name))
        elif one.required:
            yield path, f"Object missing required field `{name}`"


def _whole(told: object, kind: Any, path: Path) -> Iterator[Fault]:  # noqa: ANN401  # as above
    """Yield what the decoder says about a value whose parts are all right, each by itself."""
    try:
        msgspec.convert(told, kind, builtin_types=(datetime, date))
    except msgspec.ValidationError as error:
        yield path, str(error)


def _shape(told: object, kind: Any) -> Any:  # noqa: ANN401  # as above
    """Return which type of a union a value says it is, by its tag; the union itself where it says none."""
    if get_origin(kind) not in (Union, types.UnionType) or not isinstance(told, Mapping):
        return kind
    structs = [one for one in get_args(kind) if _is_struct(one)]
    tagged = [
        one for one in structs if told.get(one.__struct_config__.tag_field) == one.__struct_config__.tag
    ]
    return tagged[0] if tagged else kind


def _is_struct(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _is_array(told: object) -> bool:
    return isinstance(told, Sequence) and not isinstance(told, str | bytes)

"""What one sub-request of a composite request says of another's answer: `@{1:$.data[0].id}`. Pure."""

import re
from collections.abc import Mapping
from typing import Any

Answered = dict[str, Any]
"""Bodies of what was called, by the number of the sub-request; None for what failed."""

_REFERENCE = re.compile(r"@\{([^:{}]*):\$([^{}]*)\}")
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")


class UnresolvedError(Exception):
    """A reference to what was not called yet, failed, or holds nothing there."""

    def __init__(self, reference: str) -> None:
        super().__init__(reference)
        self.reference = reference


def resolve(given: Any, answered: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any JSON, in and out
    """Return JSON with every reference replaced; raises `UnresolvedError`.

    A text that is one reference becomes what it refers to, of whatever type; within a text it becomes text.
    """
    if isinstance(given, dict):
        return {name: resolve(value, answered) for name, value in given.items()}
    if isinstance(given, list):
        return [resolve(value, answered) for value in given]
    if not isinstance(given, str):
        return given
    if whole := _REFERENCE.fullmatch(given):
        return _value(whole, answered)
    return _REFERENCE.sub(lambda match: str(_value(match, answered)), given)


def _value(match: re.Match[str], answered: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any JSON
    value: Any = answered.get(match[1])
    steps = list(_STEP.finditer(match[2]))
    is_path = "".join(step[0] for step in steps) == match[2]
    for step in steps if is_path else ():
        try:
            value = value[step[1]] if step[1] else value[int(step[2])]
        except (LookupError, TypeError):
            value = None
    if value is None or not is_path:
        raise UnresolvedError(match[0])
    return value

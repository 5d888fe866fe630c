"""The language of `criteria=` in a search: text becomes SQL, or the reason why it cannot.

criteria   ( criteria and|or criteria ... ) | ( Field:operator:value )
value      anything; `(`, `)`, `,` and a backslash are written with a backslash before them
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from service.zoho.simulator.clock import parse as parse_time
from service.zoho.simulator.crm.fields import Field, Kind

_SIMPLE = {
    "equals": "=",
    "not_equal": "!=",
    "greater_than": ">",
    "greater_equal": ">=",
    "less_than": "<",
    "less_equal": "<=",
}
_TEXTS = (Kind.TEXT, Kind.EMAIL, Kind.PHONE, Kind.PICKLIST)
_HEAD = re.compile(r"\s*(\w+):(\w+):")


class CriteriaError(Exception):
    """A text that is no criteria for this module."""


@dataclass(slots=True)
class Criteria:
    """Parsed criteria: an SQL condition with its values, and how many comparisons it holds."""

    sql: str
    values: list[object]
    count: int


def parse(text: str, fields: Mapping[str, Field]) -> Criteria:
    """Return what the criteria say about a module's fields; raise `CriteriaError` for nonsense."""
    criteria, rest = _group(text.strip(), fields)
    if rest.strip():
        raise CriteriaError(rest)
    return criteria


def _group(text: str, fields: Mapping[str, Field]) -> tuple[Criteria, str]:
    if not text.startswith("("):
        raise CriteriaError(text)
    inner = text[1:].lstrip()
    if not inner.startswith("("):
        return _comparison(inner, fields)
    criteria, rest = _group(inner, fields)
    while (joint := re.match(r"\s*(and|or)\s*(?=\()", rest, re.IGNORECASE)) is not None:
        right, rest = _group(rest[joint.end() :], fields)
        sql = f"({criteria.sql} {joint[1].upper()} {right.sql})"
        criteria = Criteria(sql, criteria.values + right.values, criteria.count + right.count)
    if not rest.lstrip().startswith(")"):
        raise CriteriaError(rest)
    return criteria, rest.lstrip()[1:]


def _comparison(text: str, fields: Mapping[str, Field]) -> tuple[Criteria, str]:
    head = _HEAD.match(text)
    field = fields.get(head[1]) if head else None
    if head is None or field is None or not field.stored:
        raise CriteriaError(text)
    parts, rest = _values(text[head.end() :])
    sql, values = _sql(field, head[2], parts)
    return Criteria(sql, values, 1), rest


def _values(text: str) -> tuple[list[str], str]:
    """Return the value's parts between commas, unescaped, and what follows the closing bracket."""
    parts, at = [""], 0
    while at < len(text) and text[at] != ")":
        if text[at] == "\\" and at + 1 < len(text):
            at += 1
            parts[-1] += text[at]
        elif text[at] == ",":
            parts.append("")
        else:
            parts[-1] += text[at]
        at += 1
    if at >= len(text):
        raise CriteriaError(text)
    return parts, text[at + 1 :]


def _sql(field: Field, operator: str, parts: list[str]) -> tuple[str, list[object]]:
    name, whole = field.api_name, ",".join(parts)
    if field.kind in _TEXTS and operator in ("equals", "starts_with"):
        pattern = f"%{_plain(whole)}%" if operator == "equals" else f"{_plain(whole)}%"
        return f"{name} LIKE ? ESCAPE '\\'", [pattern]
    if operator == "in":
        return f"{name} IN ({','.join('?' * len(parts))})", [_value(field, part) for part in parts]
    if operator == "between" and len(parts) == 2:  # noqa: PLR2004 - from and to
        return f"{name} BETWEEN ? AND ?", [_value(field, part) for part in parts]
    if operator not in _SIMPLE or (field.kind is Kind.BOOLEAN and operator not in ("equals", "not_equal")):
        raise CriteriaError(operator)
    return f"{name} {_SIMPLE[operator]} ?", [_value(field, whole)]


def _plain(text: str) -> str:
    return re.sub(r"([%_\\])", r"\\\1", text)


def _value(field: Field, text: str) -> object:
    match field.kind:
        case Kind.BOOLEAN if text in ("true", "false"):
            return int(text == "true")
        case Kind.DATETIME if (seconds := parse_time(text)) is not None:
            return seconds
        case Kind.ID | Kind.USER if text.isdigit():
            return int(text)
        case Kind.BOOLEAN | Kind.DATETIME | Kind.ID | Kind.USER:
            raise CriteriaError(text)
        case _:
            return text

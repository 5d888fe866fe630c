"""Where in a TOML file a key stands: for messages that name the line. Pure.

Not a parser: it is asked about text that `tomllib` has read already, and follows table headers and the
keys that begin a line.
"""

import re
from collections.abc import Iterator, Sequence

Path = tuple[str | int, ...]

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_MENTIONED = re.compile(r"`\$((?:\.[\w-]+|\[\d+\]|\[\.\.\.\])*)`")
_STEP = re.compile(r"\.([\w-]+)|\[(\d+)\]|(\[\.\.\.\])")
_FIELD = re.compile(r"(?:unknown field|required field) `([\w-]+)`")


def line_of(text: str, path: Path) -> int:
    """Return the line (from 1) of the longest part of `path` that the text has; 1 where it has none."""
    places = dict(_places(text))
    for length in range(len(path), 0, -1):
        if path[:length] in places:
            return places[path[:length]]
    return 1


def path_in(message: str) -> Path:
    """Return the path that a message of msgspec names: `$.rules[3].months`, or an unknown field there."""
    found = _MENTIONED.search(message)
    steps: list[str | int] = []
    for name, number, _unnamed in _STEP.findall(found[1] if found else ""):
        if not name and not number:
            break
        steps.append(name or int(number))
    field = _FIELD.search(message)
    return (*steps, field[1]) if field else tuple(steps)


def _places(text: str) -> Iterator[tuple[Path, int]]:
    """Yield the path and line of each table and each key that begins a line."""
    table: Path = ()
    counts: dict[Path, int] = {}
    closing: str | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if closing is None and (header := _HEADER.match(line)):
            table = _table(_names(header[2]), counts, array=header[1] == "[[")
            yield table, number
        elif closing is None and (key := _KEY.match(line)):
            yield (*table, *_names(key[1])), number
        closing = _left_open(line, closing)


def _table(names: Sequence[str], counts: dict[Path, int], *, array: bool) -> Path:
    """Return the path of a table with the numbers of the arrays that it stands in; count a new member."""
    path: Path = ()
    for position, name in enumerate(names):
        path = (*path, name)
        last = position == len(names) - 1
        if last and array:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = (*path, counts[path])
    return path


def _names(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))


def _left_open(line: str, closing: str | None) -> str | None:
    """Return the quotes that would end a text of several lines which is open after this line."""
    rest = line
    while True:
        if closing is None:
            starts = [(rest.find(quotes), quotes) for quotes in ('"""', "'''") if quotes in rest]
            if not starts:
                return None
            at, closing = min(starts)
        else:
            at = rest.find(closing)
            if at < 0:
                return closing
            rest, closing = rest[at + len(closing) :], None
            continue
        rest = rest[at + len(closing) :]

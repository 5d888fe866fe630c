"""Read the lines of a file to be imported: each is a claim, or says what is wrong with it.

A line at fault is named by its number and its field; what stands in it is never repeated.
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeAlias
from zlib import crc32

import msgspec

from service.errors import Malformed
from service.intake import Claim
from service.policy import PolicySet
from service.vault.address import fold
from service.web.events import EventIn, Evidence, claim_of
from service.web.strict import convert, decode_json, join

SOURCE: Final = "import"
KINDS: Final = {"grant": "consent.granted", "withdraw": "consent.withdrawn", "suppress": "suppression.added"}
LONGEST: Final = 64 * 1024  # bytes of one line
_EVENT = ("email", "purpose", "occurred_at", "country")
_EVIDENCE = frozenset(field.name for field in msgspec.structs.fields(Evidence))


@dataclass(frozen=True, slots=True)
class Wrong:
    """A line that cannot be recorded, by its number in the file."""

    number: int
    why: str


Line: TypeAlias = Claim | Wrong


def read_lines(
    path: Path, policy: PolicySet, now: datetime, *, mine: int = 0, processes: int = 1
) -> Iterator[Line]:
    """Yield what each line says; of several `processes`, the lines about the people of number `mine`.

    Raises `Malformed` where the file as a whole cannot be read.
    """
    rows = _csv_rows(path) if path.suffix.lower() == ".csv" else _json_rows(path)
    for number, row in rows:
        if isinstance(row, Malformed):
            yield from [_wrong(number, row)] if mine == 0 else []
        elif (
            processes == 1 or crc32(fold(str(row.get("email"))).encode(errors="replace")) % processes == mine
        ):
            yield _line(number, row, policy, now)


def _line(number: int, row: Mapping[str, Any], policy: PolicySet, now: datetime) -> Line:
    try:
        event = convert(_told(row), EventIn)
        claim = claim_of(event, "-", source=SOURCE, policy=policy, now=now)
    except Malformed as error:
        return _wrong(number, error)
    said = msgspec.json.encode([event, claim.address], order="sorted")
    return replace(claim, key=sha256(said).hexdigest())


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the event of a flat line: what is not about the event itself is evidence."""
    unknown = row.keys() - {"kind", *_EVENT} - _EVIDENCE
    if unknown:
        raise Malformed(
            "a name that no line has; see `consent-ledger import --help`", field=join("", min(unknown))
        )
    kind = row.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise Malformed(f"a kind is one of {', '.join(KINDS)}", field="kind")
    event = {name: row[name] for name in _EVENT if name in row}
    evidence = {name: value for name, value in row.items() if name in _EVIDENCE}
    return {**event, "category": KINDS[kind], "provenance": "import", "evidence": evidence}


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | Malformed]]:
    """Yield the rows of a CSV file in UTF-8 by the header's names; empty cells say nothing."""
    with path.open(encoding="utf-8-sig", errors="strict", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            names = next(reader, [])
            if len(set(names)) != len(names) or "email" not in names:
                raise Malformed("the first line names the columns, each once, one of them email")
            for cells in reader:
                yield reader.line_num, _row(names, cells)
        except (csv.Error, UnicodeDecodeError):
            raise Malformed(f"the file is not CSV in UTF-8 after line {reader.line_num}") from None


def _row(names: list[str], cells: list[str]) -> dict[str, Any] | Malformed:
    if len(cells) != len(names):
        return Malformed(f"{len(cells)} cells, where the header names {len(names)}")
    if any("\0" in cell for cell in cells):
        return Malformed("a cell holds the character NUL")
    return {name: cell for name, cell in zip(names, cells, strict=True) if cell}


def _json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | Malformed]]:
    """Yield the objects of a file with one of them per line; empty lines are passed over."""
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(LONGEST + 1), b""), 1):
            if len(line) > LONGEST:
                raise Malformed(
                    f"line {number} is over {LONGEST} bytes; this is not one JSON object per line"
                )
            if line.strip():
                yield number, _object(line)


def _object(line: bytes) -> dict[str, Any] | Malformed:
    try:
        value = decode_json(line)
    except Malformed as error:
        return error
    return value if isinstance(value, dict) else Malformed("a line is one JSON object")


def _wrong(number: int, error: Malformed) -> Wrong:
    return Wrong(number, f"{error.field}: {error}" if error.field else str(error))

"""The file that a bulk read leaves: a zip with one CSV, read row by row and believed only when it is whole.

Implements facts `zoho-crm` section 3.1. Nothing of the file is held in memory but the row at hand.
"""

import csv
import hashlib
import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from service.errors import Unreachable, ZohoError

ENDPOINT = "GET /crm/bulk/v8/read/{id}/result"
ID = "id"
Row = Mapping[str, str]


def rows(file: BinaryIO, columns: Sequence[str], *, expected: int | None) -> Iterator[Row]:
    """Yield the rows of a result's zip, each with `columns`; `expected` is how many the job says it wrote.

    Raises `ZohoError` with the code COLUMN_MISSING that names the columns which the file lacks, and
    `Unreachable` for a file that is broken, or shorter or longer than expected: after the last row, so
    nothing may be concluded from rows that are missing before the iterator has ended.
    """
    with _readable(), zipfile.ZipFile(file) as archive:
        inside = [name for name in archive.namelist() if name.lower().endswith(".csv")]
        if len(inside) != 1:
            raise _broken("it does not hold exactly one CSV")
        with archive.open(inside[0]) as entry, io.TextIOWrapper(entry, "utf-8-sig", newline="") as text:
            yield from _rows(csv.reader(text, strict=True), columns, expected)


def sha256(file: BinaryIO) -> bytes:
    """Return the SHA-256 of a whole file, which is at its beginning again afterwards."""
    digest = hashlib.sha256()
    while chunk := file.read(65_536):
        digest.update(chunk)
    file.seek(0)
    return digest.digest()


def _rows(lines: Iterator[Sequence[str]], columns: Sequence[str], expected: int | None) -> Iterator[Row]:
    header = _header(next(lines, ()), columns)
    width, count = len(header), 0
    for line in lines:
        if len(line) != width:
            raise _broken(f"row {count + 1} has {len(line)} cells under {width} columns")
        count += 1
        yield dict(zip(header, line, strict=True))
    if expected is not None and count != expected:
        raise _broken(f"it holds {count} rows where the job wrote {expected}")


def _header(found: Sequence[str], columns: Sequence[str]) -> Sequence[str]:
    """Return the header with our spelling of the id, whose case is not certain; all columns must be there."""
    header = [ID if name.lower() == ID else name for name in found]
    missing = [name for name in columns if name not in header]
    if missing:
        raise ZohoError(
            f"the file of a bulk read lacks the column {', '.join(missing)}, so nothing of it was used; "
            "check in CRM that the API user may read the field, and its name in policies/zoho.toml",
            code="COLUMN_MISSING",
            endpoint=ENDPOINT,
        )
    return header


@contextmanager
def _readable() -> Iterator[None]:
    """Turn what a damaged zip or CSV raises into our own error, which repeats nothing of the file."""
    try:
        yield
    except (zipfile.BadZipFile, csv.Error, UnicodeDecodeError, EOFError, NotImplementedError) as error:
        raise _broken(type(error).__name__) from None


def _broken(why: str) -> Unreachable:
    return Unreachable(
        f"the file of a bulk read is not whole ({why}), so nothing of it was used; run again",
        code="BULK_FILE_BROKEN",
        endpoint=ENDPOINT,
    )

"""Zip files with one CSV: made from rows, kept in the simulator's memory, streamed out, read back in."""

import csv
import io
import zipfile
from collections.abc import AsyncIterator, Iterable, Sequence
from sqlite3 import Connection
from tempfile import SpooledTemporaryFile

from service.zoho.simulator.wire import Reply
from service.zoho.simulator.world import World

CHUNK = 256 * 1024
SPOOL = 32 * 1024 * 1024


def keep(
    world: World, file_id: str, name: str, header: Sequence[str], rows: Iterable[Sequence[object]]
) -> int:
    """Write `{name}.zip` with `{name}.csv` in it under `file_id`; return the number of rows."""
    count = 0
    with SpooledTemporaryFile(max_size=SPOOL) as file:
        with (
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
            archive.open(f"{name}.csv", "w", force_zip64=True) as entry,
            io.TextIOWrapper(entry, encoding="utf-8", newline="") as text,
        ):
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(header)
            for row in rows:
                writer.writerow(row)
                count += 1
        file.seek(0)
        put(world.db, file_id, f"{name}.zip", file.read())
    return count


def put(db: Connection, file_id: str, name: str, body: bytes) -> None:
    """Keep a file as it is."""
    db.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", (file_id, name, body))


def download(world: World, file_id: str) -> Reply | None:
    """Return a kept file as an answer that is streamed, None if there is none."""
    row = world.db.execute("SELECT rowid, name, length(body) FROM files WHERE id = ?", (file_id,)).fetchone()
    if row is None:
        return None
    number, name, size = row
    return Reply(
        media_type=world.text("bulk.media_type"),
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Length": str(size),
        },
        chunks=_chunks(world.db, number),
    )


def table_of(db: Connection, file_id: str) -> list[list[str]]:
    """Return the rows of the one CSV in a kept zip, header first; raise `BadZipFile` for another file."""
    row = db.execute("SELECT body FROM files WHERE id = ?", (file_id,)).fetchone()
    return rows_of(row[0]) if row else []


def rows_of(body: bytes) -> list[list[str]]:
    """Return the rows of the one CSV in a zip; raise `BadZipFile` if it does not hold exactly one."""
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        inside = archive.namelist()
        if len(inside) != 1 or not inside[0].lower().endswith(".csv"):
            raise zipfile.BadZipFile("not exactly one .csv")
        return list(csv.reader(io.StringIO(archive.read(inside[0]).decode("utf-8-sig"))))


async def _chunks(db: Connection, number: int) -> AsyncIterator[bytes]:
    with db.blobopen("files", "body", number, readonly=True) as blob:
        while chunk := blob.read(CHUNK):
            yield chunk

"""A small witness (c2sp.org/tlog-witness): it cosigns what continues the largest tree it has seen.

What it has seen is in a database, and moves by compare-and-swap *before* it answers; so two requests at
once cannot make it sign two histories, whichever process serves them.
"""

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, Text, insert, select, update
from sqlalchemy.exc import IntegrityError

from service.db import Database, engine_from_url
from service.errors import Malformed, Tampered
from service.ledger import merkle
from service.ledger.merkle import EMPTY
from service.ledger.note import COSIGNATURE, Verifies, derive_key_id, format_key, split_note
from service.ledger.proof import Checkpoint, open_checkpoint
from service.ledger.quorum import Party
from service.ledger.witness import (
    SIZE_TYPE,
    Addition,
    decode_request,
    encode_size,
    monitoring_path,
    read_witness_key,
)

tables = MetaData()
seen = Table(
    "seen",
    tables,
    Column("origin", Text, primary_key=True),
    Column("size", Integer, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("note", LargeBinary, nullable=False),
)

Answer = tuple[int, str, bytes]


@dataclass
class Witness:
    """One witness with its key and its memory; `clock` gives the POSIX seconds it signs with."""

    name: str
    db: Database
    logs: dict[str, Verifies]
    clock: object
    requests: list[Addition] = field(default_factory=list)

    def __post_init__(self):
        self._key = Ed25519PrivateKey.from_private_bytes(self.name.encode().ljust(32, b"."))
        self._public = self._key.public_key().public_bytes_raw()
        self._key_id = derive_key_id(self.name, COSIGNATURE, self._public)
        engine = engine_from_url(self.db.url)  # one that may create tables
        tables.create_all(engine)
        engine.dispose()

    @property
    def vkey(self) -> str:
        return format_key(self.name, self._key_id, COSIGNATURE, self._public)

    def party(self, url: str) -> Party:
        return Party(name=self.name, vkey=self.vkey, key=read_witness_key(self.vkey), url=url)

    def add_checkpoint(self, body: bytes) -> Answer:
        try:
            addition = decode_request(body)
            text, _ = split_note(addition.note)
            claimed = Checkpoint.parse(text)
        except (Malformed, Tampered):
            return 400, "text/plain", b"malformed\n"
        self.requests.append(addition)
        if claimed.origin not in self.logs:
            return 404, "text/plain", b"unknown log\n"
        try:
            new = open_checkpoint(addition.note, [self.logs[claimed.origin]])
        except Tampered:
            return 403, "text/plain", b"not signed by that log\n"
        if addition.old > new.size:
            return 400, "text/plain", b"old is larger than the checkpoint\n"
        return self._move(addition, new)

    def latest(self, path: str) -> Answer:
        for origin in self.logs:
            row = self._row(origin)
            if row is not None and path == monitoring_path(origin):
                return 200, "text/plain", row.note
        return 404, "text/plain", b"nothing here\n"

    def _move(self, addition: Addition, new: Checkpoint) -> Answer:
        row = self._row(new.origin)
        size, root = (0, EMPTY) if row is None else (row.size, row.root)
        if addition.old != size:
            return 409, SIZE_TYPE, encode_size(size)
        if size == 0 and addition.proof:
            return 422, "text/plain", b"a first contact proves nothing\n"
        if not merkle.verify_consistency(size, new.size, root, new.root, addition.proof):
            return 422, "text/plain", b"the log does not continue what was seen\n"
        line = self._sign(new.text())
        if not self._swap(new, addition, line, expected=None if row is None else size):
            return 409, SIZE_TYPE, encode_size(self._row(new.origin).size)
        return 200, "text/plain", line

    def _swap(self, new: Checkpoint, addition: Addition, line: bytes, *, expected: int | None) -> bool:
        """Move from the expected size to the new one; False if another request was faster."""
        values = {"size": new.size, "root": new.root, "note": addition.note + line}
        mine = (seen.c.origin == new.origin, seen.c.size == expected)
        try:
            with self.db.begin() as tx:
                if expected is None:
                    tx.execute(insert(seen).values(origin=new.origin, **values))
                    return True
                return tx.execute(update(seen).where(*mine).values(**values)).rowcount == 1
        except IntegrityError:
            return False

    def _row(self, origin: str):
        with self.db.read() as tx:
            return tx.execute(select(seen).where(seen.c.origin == origin)).one_or_none()

    def _sign(self, text: bytes) -> bytes:
        at_s = int(self.clock())
        signature = self._key.sign(b"cosignature/v1\ntime %d\n" % at_s + text)
        told = self._key_id + at_s.to_bytes(8, "big") + signature
        return f"— {self.name} ".encode() + base64.b64encode(told) + b"\n"


@contextmanager
def serving(answer_post, answer_get=None) -> Iterator[str]:
    """Serve two functions over HTTP on loopback: of (path, body), and of path; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self._give(answer_post(self.path, body))

        def do_GET(self):
            self._give((404, "text/plain", b"") if answer_get is None else answer_get(self.path))

        def _give(self, answer: Answer):
            status, kind, body = answer
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def witness_server(witness: Witness) -> Iterator[str]:
    """Serve a witness over HTTP."""

    def post(path: str, body: bytes) -> Answer:
        return witness.add_checkpoint(body) if path == "/add-checkpoint" else (404, "text/plain", b"")

    with serving(post, lambda path: witness.latest(path.removeprefix("/"))) as url:
        yield url

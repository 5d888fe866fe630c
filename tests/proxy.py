"""A socket between the service and PostgreSQL that can cut the line at the worst moment."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import make_url

COMMIT = b"COMMIT\x00"
WRITES = b"FOR UPDATE"
"""What only a transaction that appends says."""


class Proxy:
    """Forwards bytes; once armed, cuts the next appending connection around its COMMIT, so many times.

    `reached` tells whether the server gets that COMMIT: its client cannot know. While `closed`, which a
    cut may bring about, nobody gets through.
    """

    def __init__(self, target: Path, folder: Path) -> None:
        self.cuts = 0
        self.reached = True
        self.closed = False
        self.closed_after_cut = False
        self._target = str(target / ".s.PGSQL.5432")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, *, reached: bool, cuts: int = 1) -> None:
        self.reached, self.cuts = reached, cuts

    def close(self) -> None:
        # A listener that is merely closed would leave `accept` waiting for ever.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.closed:
                    client.close()
                else:
                    _Line(self, client, self._target)


class _Line:
    def __init__(self, proxy: Proxy, client: socket.socket, target: str) -> None:
        self._proxy, self._client = proxy, client
        self._server = socket.socket(socket.AF_UNIX)
        self._server.connect(target)
        self._cut = False
        self._writes = False
        for work in (self._requests, self._answers):
            threading.Thread(target=work, daemon=True).start()

    def _requests(self) -> None:
        with suppress(OSError):
            while data := self._client.recv(1 << 16):
                self._writes = self._writes or WRITES in data
                if self._writes and COMMIT in data and self._proxy.cuts:
                    self._proxy.cuts -= 1
                    self._cut = True
                    self._proxy.closed = self._proxy.closed_after_cut
                    if not self._proxy.reached:
                        break
                self._writes = self._writes and COMMIT not in data
                self._server.sendall(data)
        if not (self._cut and self._proxy.reached):
            self._end()

    def _answers(self) -> None:
        with suppress(OSError):
            while data := self._server.recv(1 << 16):
                if self._cut:
                    break  # the server has answered the COMMIT, and its client will never hear of it
                self._client.sendall(data)
        self._end()

    def _end(self) -> None:
        for end in (self._client, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextmanager
def between(url: str) -> Iterator[tuple[Proxy, str]]:
    """Yield a proxy before this database, and the URL that leads through it."""
    target = make_url(url)
    host = target.query["host"]
    assert isinstance(host, str)
    with TemporaryDirectory(prefix="proxy-", dir="/tmp") as folder:
        proxy = Proxy(Path(host), Path(folder))
        try:
            yield proxy, target.update_query_dict({"host": folder}).render_as_string(hide_password=False)
        finally:
            proxy.close()

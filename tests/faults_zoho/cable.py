"""A TCP line between the clients and Zoho that is slow, breaks, or swallows everything."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

PIECE = 7
"""Bytes at a time while the line is sliced: less than any word of HTTP."""


@dataclass(slots=True)
class Cable:
    """Forwards bytes to `port`.

    A `hole` takes requests and answers nothing; `resets` tells after how many bytes of an answer the
    connections to come break off, one each; a `sliced` line gives a few bytes at a time.
    """

    port: int
    hole: bool = False
    sliced: bool = False
    resets: list[int] = field(default_factory=list)
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with suppress(OSError), client, socket.create_connection(("127.0.0.1", self.port)) as server:
            there = threading.Thread(target=self._requests, args=(client, server), daemon=True)
            there.start()
            self._answers(client, server)

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(1 << 16):
                if not self.hole:
                    server.sendall(data)
            server.shutdown(socket.SHUT_RDWR)

    def _answers(self, client: socket.socket, server: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := server.recv(1 << 16):
            if self.resets:
                client.sendall(data[: self.resets.pop(0)])
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
                return
            for start in range(0, len(data), PIECE if self.sliced else len(data)):
                client.sendall(data[start : start + (PIECE if self.sliced else len(data))])
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


@contextmanager
def cable(url: str) -> Iterator[Cable]:
    """Yield a line to the server at `url`."""
    line = Cable(int(url.rpartition(":")[2]))
    thread = threading.Thread(target=line.accept, daemon=True)
    thread.start()
    yield line
    with suppress(OSError):
        line.listener.shutdown(socket.SHUT_RDWR)
    line.listener.close()
    thread.join(5)

"""A server on loopback that keeps what it is sent, for callbacks and webhooks."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Thread
from time import monotonic, sleep

WAIT_S = 5.0


@dataclass
class Receiver:
    url: str = ""
    status: int = 200
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    changed: Condition = field(default_factory=Condition)

    def wait(self, count: int) -> list[dict]:
        """Return the JSON bodies of the first `count` requests, as soon as they are there."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.requests) >= count, WAIT_S), self.requests
            return [json.loads(body) for _, _, body in self.requests[:count]]


def delivered(sim, count: int) -> list[dict]:
    """Return what the simulator has posted, once `count` deliveries have come to an end."""
    deadline = monotonic() + WAIT_S
    while monotonic() < deadline:
        done = [d for d in sim.control("deliveries")["deliveries"] if d["outcome"] != "waiting"]
        if len(done) >= count:
            return done
        sleep(0.02)
    raise AssertionError(f"fewer than {count} deliveries")


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Keep every POST until the block ends."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            with receiver.changed:
                receiver.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                receiver.changed.notify_all()
            self.send_response(receiver.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()

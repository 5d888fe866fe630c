"""Catch the browser that comes back from Zoho's consent page, on this machine alone."""

import hmac
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from pydantic import SecretStr

from service.errors import Misconfigured, Unavailable, ZohoDenied

PORT: Final = 8714
"""Where the browser comes back to; registered with the client, so it is always the same."""
PATH: Final = "/callback"
PATIENCE_S: Final = 300.0
"""How long a person may take to log in and agree."""
SILENT_S: Final = 5.0
"""How long a connection may say nothing."""

_DONE: Final = b"<!doctype html><meta charset=utf-8><title>Consent ledger</title><p>%s</p>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """What the browser brought: the grant code, and the accounts host of the person's data centre."""

    code: SecretStr = field(repr=False)
    accounts_url: str | None


class Catcher:
    """Listens on loopback for one redirect that carries our `state`; everything else is turned away."""

    def __init__(self, server: HTTPServer, state: str) -> None:
        self._server = server
        self._state = state
        self._found: dict[str, str] = {}

    @property
    def redirect_uri(self) -> str:
        """Return the address that must be registered for the client, letter by letter."""
        return f"http://localhost:{self._server.server_address[1]}{PATH}"

    def wait(self, patience_s: float = PATIENCE_S) -> Returned:
        """Return what the browser brings; `ZohoDenied` if the person refused, `Unavailable` if late."""
        ends = time.monotonic() + patience_s
        while not self._found:
            left = ends - time.monotonic()
            if left <= 0:
                raise Unavailable("no browser came back in time; run the command again")
            self._server.timeout = left
            self._server.handle_request()
        if "code" not in self._found:
            raise ZohoDenied(
                "the consent page came back without a code; agree to all scopes, as somebody who may",
                code=self._found.get("error", "NO_CODE")[:60],
            )
        return Returned(code=SecretStr(self._found["code"]), accounts_url=self._found.get("accounts-server"))

    def take(self, target: str, host: str) -> tuple[int, str]:
        """Return status and words for one request; remembers what it brings if it is ours."""
        url = urlsplit(target)
        told = dict(parse_qsl(url.query))
        if url.path != PATH or host.rpartition(":")[0] not in ("localhost", "127.0.0.1"):
            return 404, "There is nothing here."
        if not hmac.compare_digest(told.get("state", "").encode(), self._state.encode()):
            return 400, "This is not the answer to our question. Begin again from the terminal."
        self._found = told
        return 200, "Thank you. You can close this window and go back to the terminal."


@contextmanager
def catching(port: int, state: str) -> Iterator[Catcher]:
    """Yield a catcher on this port of loopback; 0 takes any. `Misconfigured` where the port is taken."""
    try:
        server = _Server(port)
    except OSError as error:
        raise Misconfigured(
            f"port {port} cannot be listened on ({error.strerror}); choose another with --port, and register "
            "that redirect address"
        ) from None
    with server:
        server.catcher = Catcher(server, state)
        yield server.catcher


class _Server(HTTPServer):
    catcher: Catcher

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    """Answers one request of the browser; logs nothing, since the address holds the code."""

    timeout = SILENT_S

    def do_GET(self) -> None:
        """Take the redirect."""
        assert isinstance(self.server, _Server), "only our own server has this handler"
        status, words = self.server.catcher.take(self.path, self.headers.get("host", ""))
        body = _DONE % words.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's signature
        """Say nothing."""

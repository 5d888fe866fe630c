"""A server on loopback that answers with exact bytes, where the simulator is too honest for a test."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = b'{"access_token":"1000.aaaaaaaa.bbbbbbbb","token_type":"Bearer","expires_in":3600}'


@dataclass
class Said:
    """One scripted answer; `status` 0 hangs up without a word."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0


@dataclass
class Heard:
    method: str
    path: str
    body: bytes
    headers: dict[str, str]
    port: int
    """The caller's, which tells connections apart."""


class Stub:
    """Answers `METHOD /path` from its script, in order; the last answer is given for ever."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.script: dict[str, list[Said]] = {"POST /oauth/v2/token": [Said(TOKEN)]}
        self.heard: list[Heard] = []
        self.mutex = threading.Lock()

    def says(self, line: str, *answers: Said) -> None:
        self.script[line] = list(answers)

    def calls(self, line: str) -> list[Heard]:
        return [h for h in self.heard if f"{h.method} {h.path.split('?')[0]}" == line]

    def take(self, heard: Heard) -> Said:
        with self.mutex:
            self.heard.append(heard)
            answers = self.script.get(f"{heard.method} {heard.path.split('?')[0]}", [Said(b"<html>", 404)])
            return answers.pop(0) if len(answers) > 1 else answers[0]


@contextmanager
def listening() -> Iterator[Stub]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 65_536  # one segment per answer: two would wait 40 ms for each other

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            heard = Heard(self.command, self.path, body, headers, self.client_address[1])
            said = stub.take(heard)
            time.sleep(said.delay_s)
            if not said.status:
                self.close_connection = True
                return
            self.send_response(said.status)
            for name, value in said.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(said.body)))
            self.end_headers()
            self.wfile.write(said.body)

        do_GET = do_POST = do_PUT = answer  # noqa: N815  # the names that http.server calls

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    stub = Stub(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner

from service.anchor.published import PublishedLog
from service.cli.verify import verify
from service.errors import Malformed, Unavailable
from service.ledger.replay.judge import Beliefs, at_once, judge
from service.ledger.verify import State
from tests.ledger.corpus import SOUND
from tests.ledger.evidence import LOG

TOKEN = "cl_auditor_secret"


class Handler(BaseHTTPRequestHandler):
    """Any web server: entries for an auditor's key alone, compressed."""

    def do_GET(self):
        path = self.path.removeprefix("/log/")
        data = SOUND.get(path) if path != "tile/0/001" or self.server.whole else None
        if path.startswith("tile/entries") and self.headers["Authorization"] != f"Bearer {TOKEN}":
            self.send_error(401)
        elif self.server.broken:
            self.send_error(500)
        elif data is None:
            self.send_error(404)
        else:
            self.send_response(200)
            if path.startswith("tile/entries"):
                data = gzip.compress(data)
                self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.whole, running.broken = True, False
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def verdict(server, token=TOKEN):
    with PublishedLog(f"http://127.0.0.1:{server.server_port}/log", api_key=token) as source:
        return judge(source, Beliefs(log_vkey=LOG.vkey), at_once, lambda _done, _total: None)


def test_a_log_is_checked_over_http(server):
    assert verdict(server).state is State.GOOD


def test_a_log_whose_entries_are_not_shown_is_incomplete(server):
    found = verdict(server, token=None)
    assert (found.state, found.reason.partition(" ")[0]) == (State.INCOMPLETE, "tile/entries/000")


def test_a_tile_that_the_server_lost_is_missed(server):
    server.whole = False
    assert verdict(server).reason == "tile/0/001 is missing; what is here holds"


def test_a_server_that_fails_is_no_evidence_of_anything(server):
    server.broken = True
    with pytest.raises(Unavailable, match="answered 500 for checkpoint"):
        verdict(server)


def test_what_is_no_url_is_refused():
    with PublishedLog("http://host:not-a-port") as source, pytest.raises(Malformed, match="URL of a log"):
        source.read("checkpoint")


def test_entries_that_are_shown_to_auditors_only_are_not_called_missing(server):
    url = f"http://127.0.0.1:{server.server_port}/log"
    found = CliRunner().invoke(verify, [url, "--key", LOG.vkey, "--processes", "1"])
    assert found.exit_code == 2
    assert "tile/entries/000 is not readable without --api-key" in found.stdout

"""Several processes that answer at one address: none outlives the one that started them."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from tests import servers

PATIENCE_S = 60


@pytest.fixture
def served(tmp_path: Path):
    """Yield a running service of two processes, its address, and the companion once it runs."""
    told = os.environ | {
        "CONSENT_STATE_DIR": str(tmp_path / "state"),
        "CONSENT_DATABASE_URL": f"sqlite:///{tmp_path / 'ledger.db'}",
    }
    command = [sys.executable, "-m", "service", "serve", "--port", "0", "--processes", "2"]
    process = psutil.Popen(command, env=told, stderr=subprocess.PIPE, text=True)
    try:
        port = int(process.stderr.readline().rsplit(":", 1)[1])
        (companion,) = process.children()
        yield process, f"http://127.0.0.1:{port}", companion
    finally:
        if process.is_running():
            process.kill()
        process.communicate(timeout=PATIENCE_S)


def ended(process: psutil.Process) -> bool:
    """Whether it is dead, be it buried or not: that is up to whoever is process 1 here."""
    with suppress(psutil.NoSuchProcess):
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    return True


def answers(url: str) -> bool:
    return httpx.get(f"{url}/healthz", timeout=10).is_success


def test_who_is_asked_to_leave_takes_the_companion_along(served):
    process, url, companion = served
    assert answers(url)
    process.terminate()
    assert process.wait(PATIENCE_S) == 0
    assert ended(companion)


def test_a_companion_does_not_outlive_a_killed_parent(served):
    process, _, companion = served
    process.send_signal(signal.SIGKILL)
    servers.await_end(companion)  # raises where it does not end
    assert ended(companion)

"""A simulator of one's own for tests that change something, and a shared one for tests that only look."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from service.zoho.simulator import Simulator, names, running
from tests.zoho.simulator.receiver import Receiver, receiving

CREDENTIALS = {
    "client_id": names.CLIENT_ID,
    "client_secret": names.CLIENT_SECRET,
    "refresh_token": names.REFRESH_TOKEN,
    "grant_type": "refresh_token",
}


@contextmanager
def _signed_in(sim: Simulator) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=sim.url, trust_env=False) as client:
        answer = client.post("/oauth/v2/token", data=CREDENTIALS).json()
        client.headers["Authorization"] = f"Zoho-oauthtoken {answer['access_token']}"
        yield client


@pytest.fixture
def credentials() -> dict[str, str]:
    return dict(CREDENTIALS)


@pytest.fixture(scope="session")
def _land() -> Iterator[Simulator]:
    with running(contacts=60, seed=3) as simulator:
        yield simulator


@pytest.fixture
def sim(_land: Simulator) -> Simulator:
    """A simulator of 60 people, planted afresh for this test."""
    _land.control("replant", {})
    return _land


@pytest.fixture
def zoho(sim: Simulator) -> Iterator[httpx.Client]:
    """A client with a token, for a simulator that nobody else sees."""
    with _signed_in(sim) as client:
        yield client


@pytest.fixture
def sign_in(sim: Simulator) -> Iterator[Callable[[], httpx.Client]]:
    """Sign in anew, as often as the clock has jumped over a token's life."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(_signed_in(sim))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A server that callbacks and webhooks may go to."""
    with receiving() as server:
        yield server


@pytest.fixture(scope="session")
def still() -> Iterator[Simulator]:
    """A simulator of 2,600 people that no test may change."""
    with running(contacts=2_600, seed=7) as simulator:
        yield simulator


@pytest.fixture(scope="session")
def reader(still: Simulator) -> Iterator[httpx.Client]:
    """A client with a token for the simulator that nobody changes."""
    with _signed_in(still) as client:
        yield client


@pytest.fixture
def somebody(sim: Simulator) -> str:
    """The address of a person with one CRM record who is active in Campaigns and has been granted."""
    return sim.control("truth/single_soft_bounce")["emails"][0]

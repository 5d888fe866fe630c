"""Clients of the simulator, and of a stub that says what it is told; only sleeping moves their clock."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from service.policy import ZohoMapping
from service.settings import Settings
from service.zoho.mapping import Zoho, connect
from service.zoho.pace import Pace
from service.zoho.simulator import running
from tests.zoho.stub import Stub, listening

MAPPING = Path(__file__).parents[2] / "policies" / "zoho.toml"


@dataclass
class Time:
    """A clock for tests: sleeping moves it and takes no time."""

    now: datetime = datetime(2026, 5, 10, 12, 0, tzinfo=UTC)
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)

    def pace(self, **more) -> Pace:
        return Pace(clock=lambda: self.now, sleep=self.sleep, chance=lambda: 1.0, **more)


def settings_for(url: str, **more) -> Settings:
    return Settings(
        zoho_accounts_url=url,
        zoho_crm_url=url,
        zoho_campaigns_url=url,
        zoho_client_id="1000.SIMULATOR",
        zoho_client_secret="simulator-secret",
        zoho_refresh_token="1000.simulator.refresh",
        **more,
    )


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def mapping() -> ZohoMapping:
    return msgspec.toml.decode(MAPPING.read_bytes(), type=ZohoMapping)


@pytest.fixture
def sim():
    with running(contacts=400, seed=7) as simulator:
        yield simulator


@pytest.fixture
def zoho(sim, time, mapping) -> Iterator[Zoho]:
    with connect(settings_for(sim.url), mapping, pace=time.pace()) as clients:
        yield clients


@pytest.fixture
def stub() -> Iterator[Stub]:
    with listening() as server:
        yield server


@pytest.fixture
def told(stub, time, mapping) -> Iterator[Zoho]:
    """Clients that talk to the stub."""
    with connect(settings_for(stub.url), mapping, pace=time.pace()) as clients:
        yield clients

"""A started ledger, and nights to report about."""

from collections.abc import Iterator

import pytest

from service.db import Database
from service.intake import Intake
from tests.running import start


@pytest.fixture
def intake(database: Database) -> Iterator[Intake]:
    """Yield an intake that takes claims, on every store in turn."""
    with start(database) as intake:
        yield intake

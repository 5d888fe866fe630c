"""An installation that was begun once, copied for each test."""

import shutil

import pytest

from service import app
from service.settings import Settings


@pytest.fixture(scope="session")
def _begun(tmp_path_factory):
    folder = tmp_path_factory.mktemp("begun") / "state"
    with app.running(_settings(folder)) as parts:
        parts.publisher().publish()
    return folder.parent


@pytest.fixture
def begun(_begun, tmp_path) -> Settings:
    """Settings of an embedded installation with keys, a fence and one published checkpoint."""
    for name in ("state", "outside"):
        shutil.copytree(_begun / name, tmp_path / name)
    return _settings(tmp_path / "state")


def _settings(folder) -> Settings:
    return Settings(
        state_dir=folder,
        database_url=f"sqlite:///{folder / 'ledger.db'}",
        fence_file=folder.with_name("outside") / "fence",
    )

"""Fresh databases for the tests: SQLite, the lock file's PostgreSQL, and Debian's PostgreSQL 15 beside it.

A test that asks for `database_url` (or `engine`, or `begin`) runs once on each store, on a migrated
database of its own: the ledger's tables cannot be emptied, rightly. The servers start when the first test
needs them, serve all test processes, and are ended by the process that began the run.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import Engine

from service.db import Begin, Database, migrate
from tests import servers, statements
from tests.servers import Postgres

IN_CI = os.environ.get("CI") == "true"
POSTGRES = ["postgresql", *(["postgresql15"] if IN_CI or servers.DEBIAN_15.exists() else [])]
"""Where PostgreSQL 15 is missing there are no tests of it; in CI they fail instead."""

ARTIFACTS = Path(__file__).parent.parent / ".artifacts"
ON_BOTH_VERSIONS = {
    "test_walls.py",
    "test_db.py",
    "test_migrations.py",
    "test_servers.py",
    "test_store.py",
    "test_sequencer.py",
    "test_outcomes.py",
    "test_processes.py",
    "test_intake.py",
    "test_scrub.py",
    "test_crash.py",
}
"""Files whose tests run on every PostgreSQL that is there."""

SHARED = pytest.StashKey[Path]()
SWIFT = pytest.StashKey[Path]()
TEMPLATE = "template_migrated"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def pytest_configure(config: pytest.Config) -> None:
    """Make the folders that servers live in, one on a disk; processes started by xdist are told of them."""
    statements.share()
    told = getattr(config, "workerinput", None)
    if told:
        config.stash[SHARED], config.stash[SWIFT] = Path(told["servers"]), Path(told["swift"])
    else:
        config.stash[SHARED] = servers.make_folder()
        config.stash[SWIFT] = servers.make_folder(where=servers.quick_place())
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(config.stash[SWIFT])  # where pytest puts `tmp_path`
        os.environ["XDG_STATE_HOME"] = str(config.stash[SWIFT] / "home")  # fences stay out of the real one
        (ARTIFACTS / "faults.txt").unlink(missing_ok=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let everything run on both versions of PostgreSQL: `make test TESTS=--every-postgresql`."""
    parser.addoption(
        "--every-postgresql", action="store_true", help="run every test on PostgreSQL 15 as well"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep on PostgreSQL 15 the tests of what depends on its version: walls, migrations, appends.

    Everything runs on SQLite and on the lock file's PostgreSQL; twice the same SQL tells nothing new.
    """
    if config.getoption("every_postgresql"):
        return
    left = [item for item in items if "postgresql15" in item.name and item.path.name not in ON_BOTH_VERSIONS]
    config.hook.pytest_deselected(items=left)
    gone = set(left)
    items[:] = [item for item in items if item not in gone]


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    """Tell a process started by xdist where the servers live."""
    node.workerinput["servers"] = str(node.config.stash[SHARED])
    node.workerinput["swift"] = str(node.config.stash[SWIFT])


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the servers, in the process that made their folder."""
    if not hasattr(config, "workerinput"):
        servers.remove(config.stash[SWIFT])
        servers.remove(config.stash[SHARED])


@pytest.fixture(scope="session")
def shared(pytestconfig: pytest.Config) -> Path:
    """Return the folder, on a disk, that all test processes of this run share."""
    return pytestconfig.stash[SHARED]


@pytest.fixture
def disk(shared: Path) -> Iterator[Path]:
    """Yield a folder of the test's own on a disk, where `tmp_path` may be in memory."""
    folder = shared / f"disk-{uuid4().hex[:8]}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres(pytestconfig: pytest.Config, shared: Path) -> Callable[[str], Postgres]:
    """Return how to reach a running server, "postgresql" or "postgresql15"; the first who asks starts it."""

    def running(version: str) -> Postgres:
        programs = servers.binaries(version, shared)
        if programs is None:
            pytest.fail(f"{version} is not installed (apt-get install postgresql-15)")
        with servers.locked(shared / f"{version}.lock"):
            folder = pytestconfig.stash[SWIFT] / version
            if not folder.exists():
                started = servers.start(version, folder, servers.QUICK, shared=shared)
                assert started is not None
                _make_template(started)
        return Postgres(folder=folder, binaries=programs, settings=servers.QUICK)

    return running


@pytest.fixture(params=["sqlite", *POSTGRES])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield the URL of a fresh migrated database, on every store in turn."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_url")
    else:
        with fresh(request.getfixturevalue("postgres")(request.param)) as url:
            yield url


@pytest.fixture(params=POSTGRES)
def postgresql_url(request: pytest.FixtureRequest, postgres: Callable[[str], Postgres]) -> Iterator[str]:
    """Yield the URL of a fresh migrated PostgreSQL database, on every version in turn."""
    with fresh(postgres(request.param)) as url:
        yield url


@pytest.fixture
def sqlite_url(shared: Path, tmp_path: Path) -> str:
    """Return the URL of a fresh migrated SQLite file in the test's own folder."""
    template = shared / "template.db"
    with servers.locked(shared / "sqlite.lock"):
        if not template.exists():
            migrate(f"sqlite:///{shared / 'unfinished.db'}")
            (shared / "unfinished.db").rename(template)
    target = tmp_path / "ledger.db"
    shutil.copyfile(template, target)
    target.chmod(0o600)
    return f"sqlite:///{target}"


@pytest.fixture
def empty_postgresql_url(postgres: Callable[[str], Postgres]) -> Iterator[str]:
    """Yield the URL of a PostgreSQL database without any table."""
    with fresh(postgres("postgresql"), template="template0") as url:
        yield url


@pytest.fixture
def durable_postgres(shared: Path) -> Iterator[Postgres]:
    """Yield a server of the test's own to kill at will: fsync on, a migrated database `ledger`."""
    with _own(shared, servers.DURABLE) as server:
        server.create_database("ledger")
        migrate(server.url("ledger"))
        yield server


@pytest.fixture
def bare_postgres(shared: Path) -> Iterator[Postgres]:
    """Yield a server of the test's own as it comes out of its box: no role but the superuser."""
    with _own(shared, servers.QUICK, roles=False) as server:
        yield server


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Yield a fresh migrated database, on every store in turn."""
    with closing(Database(database_url)) as database:
        yield database


@pytest.fixture
def engine(database: Database) -> Engine:
    """Return the engine of a fresh migrated database."""
    return database.engine


@pytest.fixture
def begin(database: Database) -> Begin:
    """Return how a test opens a transaction to write in."""
    return database.begin


@pytest.fixture(scope="session")
def chromium() -> str:
    """Return the path of the browser for page tests; without one they are skipped, in CI they fail."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        message = "Chromium is missing (apt-get install chromium fonts-dejavu-core)"
        pytest.fail(message) if IN_CI else pytest.skip(message)
    return path


@pytest.fixture(scope="session")
def artifacts() -> Path:
    """Return the folder for what a person may want to look at after the run, such as screenshots."""
    ARTIFACTS.mkdir(exist_ok=True)
    return ARTIFACTS


@pytest.fixture
def figures(artifacts: Path, request: pytest.FixtureRequest) -> Callable[..., None]:
    """Return how a test of a fault says what it counted: printed, and kept in `.artifacts/faults.txt`."""

    def tell(fault: str, **counted: object) -> None:
        words = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in counted.items())
        line = f"{fault}: {words}"
        print(line)  # noqa: T201  # `pytest -rP` shows it
        with servers.locked(artifacts / "faults.lock"), (artifacts / "faults.txt").open("a") as file:
            file.write(f"{line}  [{request.node.name}]\n")

    return tell


def _make_template(server: Postgres) -> None:
    server.create_database(TEMPLATE)
    migrate(server.url(TEMPLATE))


@contextmanager
def fresh(server: Postgres, template: str = TEMPLATE) -> Iterator[str]:
    """Yield the URL of a new copy of a database of this server."""
    name = f"test_{uuid4().hex}"
    server.create_database(name, template)
    try:
        yield server.url(name)
    finally:
        server.drop_database(name)


@contextmanager
def _own(shared: Path, settings: dict[str, str], *, roles: bool = True) -> Iterator[Postgres]:
    folder = shared / f"own-{uuid4().hex[:8]}"
    server = servers.start("postgresql", folder, settings, shared=shared, roles=roles)
    assert server is not None
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)

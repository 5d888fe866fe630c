"""A reconciler in a process of its own: ledger and clients opened anew beside those of the test."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime

from service.db import Database
from service.reconciler.context import Context, Progress
from service.zoho.mapping import connect
from service.zoho.quota import Quota
from tests.reconciler.conftest import hasty, settings
from tests.running import start


@contextmanager
def reconciler(
    database: str,
    vendor: str,
    *,
    now: Callable[[], datetime],
    progress: Progress,
    quota: Callable[[Database], Quota] | None = None,
) -> Iterator[Context]:
    """What the reconciler is handed, on the database and the simulated organisation at these addresses."""
    with (
        closing(Database(database)) as db,
        start(db, now=now) as intake,
        connect(settings(vendor), intake.policy, pace=hasty(), quota=quota and quota(db)) as zoho,
    ):
        yield Context(
            db=db,
            intake=intake,
            policy=intake.policy,
            crm=zoho.crm,
            campaigns=zoho.campaigns,
            now=now,
            progress=progress,
        )

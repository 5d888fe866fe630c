"""A worker in a process of its own that stops at one step, so that it can be killed there."""

import time
from contextlib import closing
from pathlib import Path

from service.db import Database
from service.reconciler.context import Context
from service.reconciler.enforce import carry_out
from service.zoho.mapping import connect
from tests.reconciler.conftest import Clock, hasty, settings
from tests.running import start


def work(database: str, vendor: str, step: str, mark: str) -> None:
    """Carry out, and leave a mark and wait for ever once `step` is reached."""

    def progress(now: str, _done: int, _total: int) -> None:
        if now == step:
            Path(mark).touch()
            time.sleep(600)

    with (
        closing(Database(database)) as db,
        start(db) as intake,
        connect(settings(vendor), intake.policy, pace=hasty()) as zoho,
    ):
        context = Context(
            db=db,
            intake=intake,
            policy=intake.policy,
            crm=zoho.crm,
            campaigns=zoho.campaigns,
            now=Clock(),
            progress=progress,
        )
        carry_out(context, worker="killed")

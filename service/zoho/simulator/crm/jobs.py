"""Bulk jobs over the simulated clock: which state a job is in, and the moment at which it is done."""

from collections.abc import Callable
from typing import Any

from service.zoho.simulator import shelf
from service.zoho.simulator.world import World

Job = dict[str, Any]
QUEUED_AT, STARTED_AT = 0.2, 0.4
"""Shares of a job's duration after which it is queued and in progress."""


def progress(world: World, job: Job) -> float:
    """Return how far a job is, 1.0 for done; a job that never ends stays short of it."""
    if world.text("bulk.fate") == "never":
        return 0.9
    duration_s = world.number("bulk.duration_ms") / 1000
    return 1.0 if not duration_s else (world.clock.now() - job["started_at"]) / duration_s


def finish_due(world: World, kind: str, finish: Callable[[World, Job], None]) -> None:
    """Finish the open jobs of a kind whose time has come, and call back who asked for it."""
    for key, job in shelf.every(world.db, f"{kind}_open"):
        if progress(world, job) >= 1.0:
            shelf.drop(world.db, f"{kind}_open", key)
            finish(world, job)
            shelf.put(world.db, kind, key, job)


def find(world: World, kind: str, key: str) -> Job | None:
    """Return a job of a kind, open or done."""
    return shelf.get(world.db, kind, key) or shelf.get(world.db, f"{kind}_open", key)


def call_back(world: World, job: Job, body: object) -> None:
    """Post a finished job's status to the address that it named."""
    if job.get("callback"):
        world.outbox.post("bulk", job["callback"]["url"], body)

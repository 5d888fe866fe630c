"""Checks of what the organisation pays for, of what is left of today, and of our clock against others."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import func, select

from service.cli.doctor.finding import Look, fail, fine, warn
from service.cli.doctor.scene import Scene
from service.db import crm_record
from service.zoho import licence
from service.zoho.mapping import Zoho
from service.zoho.transport import Call
from service.zoho.wire import Answer

TIME = "this machine: timedatectl"
DETAILS = "CRM: Setup > Developer Space > APIs"
SHARE_OF_A_DAY = 0.25
"""A full observation that takes more than this of a day's credits leaves too little for repairs."""
LEAST_LEFT = 0.1
ROWS_A_CALL, CREDITS_A_CALL = 2_000, 3
"""COQL at its largest (facts `zoho-crm`, section 6)."""
SOME_S, MUCH_S = 5.0, 30.0
"""Verifiers refuse an entry that was received more than 30 s before its left neighbour."""


def plan(scene: Scene) -> Iterator[Look]:
    """Look at edition and allowance, at what is left today, and at what one full observation takes."""
    zoho = scene.zoho.need()
    found = licence.read(zoho.transports["crm"])
    seen = f"edition {found.edition}, {found.users} users: {found.allowance:,} credits in 24 hours"
    todo = "take a larger edition, or let fewer other programs call this organisation"
    if found.edition == licence.FREE.name:
        yield warn(f"{seen}, the least that any edition has", todo, DETAILS)
    else:
        yield fine(seen)
    own = scene.policy.need().enforcement.quota.credits_per_day
    if own > found.allowance:
        yield warn(
            f"the policy reckons with {own:,} credits a day, more than the edition has",
            "correct credits_per_day, or leave it at 0 for the edition's own",
            "policies/enforcement.toml",
        )
    yield from _left(_org(zoho), found.allowance)
    yield from _need(scene, min(own or found.allowance, found.allowance))


def _left(answer: Answer, allowance: int) -> Iterator[Look]:
    told = answer.headers.get("x-api-credits-remaining", "")
    if not told.isdecimal():
        yield fine("less than half of today's credits are used")
        return
    left = int(told)
    seen = f"{left:,} credits are left in this 24 hours"
    todo = "wait before large runs; look which programs use them"
    yield warn(seen, todo, DETAILS) if left < LEAST_LEFT * allowance else fine(seen)


def _need(scene: Scene, allowance: int) -> Iterator[Look]:
    if not scene.is_migrated:
        return
    with scene.db.need().read() as tx:
        records = tx.scalar(select(func.count()).select_from(crm_record)) or 0
    if not records:
        return
    need = -(-records // ROWS_A_CALL) * CREDITS_A_CALL
    seen = f"one full observation of {records:,} records takes about {need:,} credits by COQL"
    if need > SHARE_OF_A_DAY * allowance:
        yield warn(seen, "grant ZohoCRM.bulk.READ, or observe less often", DETAILS)
    else:
        yield fine(seen)


def clock(scene: Scene) -> Iterator[Look]:
    """Look at our clock against Zoho's and the database's; what is signed carries our time."""
    before = scene.now()
    answer = _org(scene.zoho.need())
    middle = before + (scene.now() - before) / 2
    theirs = answer.dated()
    if theirs is None:
        yield warn("Zoho's answer bears no date", "nothing; a proxy in between may have removed it", TIME)
        return
    # The header has whole seconds, cut.
    yield _skew("Zoho", max(0.0, abs((theirs - middle).total_seconds()) - 1.0))


def database_clock(scene: Scene) -> Iterator[Look]:
    """Look at our clock against the database's; the embedded one has ours."""
    db = scene.db.need()
    if db.dialect == "sqlite":
        return
    before = scene.now()
    with db.read() as tx:
        theirs: datetime = tx.execute(select(func.clock_timestamp())).scalar_one()
    middle = before + (scene.now() - before) / 2
    yield _skew("the database", abs((theirs - middle).total_seconds()))


def _skew(whose: str, seconds: float) -> Look:
    seen = f"our clock and that of {whose} differ by {seconds:.0f} s"
    if seconds <= SOME_S:
        return fine(f"our clock and that of {whose} agree")
    todo = "let this machine take its time from the network (NTP)"
    return (fail if seconds > MUCH_S else warn)(seen, todo, TIME)


def _org(zoho: Zoho) -> Answer:
    endpoint = "GET /crm/v8/org"
    return zoho.transports["crm"].send(Call(method="GET", path="/crm/v8/org", endpoint=endpoint, credits=1))

"""Ask about a person: the question is written into the ledger first, and only then answered.

If the question cannot be recorded there is no answer (reliability.md, S18). Whether the address is
known makes no difference to the status, and little to the time.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from service.errors import Malformed
from service.intake import Claim
from service.intake.access import look_up, stated
from service.reports.evidence import bundle
from service.reports.history import History, history
from service.vault import address as addresses
from service.web.edge import LOOKUP_S, Edge, at_least
from service.web.recording import record


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Who wants to know what about which address, and why; `as_of` None is now."""

    actor: str
    address: str
    reason: str
    as_of: datetime | None = None


def question(*, actor: str, email: str, reason: str, as_of: datetime | None, now: datetime) -> Question:
    """Return the question if it has a purpose, an address and no future; `Malformed` names the field."""
    if as_of is not None and as_of > now:
        raise Malformed("this moment has not come yet; ask as of a moment that has passed", field="as_of")
    return Question(actor=actor, reason=stated(reason), address=addresses.parse(email), as_of=as_of)


async def ask_history(edge: Edge, asked: Question) -> History:
    """Return the history of the address, the recorded question included."""
    async with at_least(LOOKUP_S):
        await _record_access(edge, asked, "history")
        return await asyncio.to_thread(_history, edge, asked)


async def ask_bundle(edge: Edge, asked: Question, *, with_staff: bool = False) -> bytes:
    """Return the bundle about the address as a zip file; the look-up says whether staff are named in it."""
    make = partial(bundle, edge.intake, asked.address, as_of=asked.as_of, with_staff=with_staff)
    async with at_least(LOOKUP_S):
        await _record_access(edge, asked, "bundle with staff" if with_staff else "bundle")
        return await asyncio.to_thread(make, at=edge.now())


async def _record_access(edge: Edge, asked: Question, what: str) -> None:
    await record(edge, await asyncio.to_thread(_access, edge, asked, what))


def _access(edge: Edge, asked: Question, what: str) -> Claim:
    with edge.db.read() as tx:
        return look_up(
            edge.intake.vault,
            tx,
            address=asked.address,
            actor=asked.actor,
            reason=asked.reason,
            asked_for=what,
            at=edge.now(),
        )


def _history(edge: Edge, asked: Question) -> History:
    with edge.db.read() as tx:
        return history(edge.intake, tx, asked.address, at=edge.now(), as_of=asked.as_of)

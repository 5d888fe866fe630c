"""The short way: carry people's withdrawals to both products, prove them, within seconds.

The decision is read again now, not when the task was written, and once more right before each write, so
that an older withdrawal never overrides a newer consent. Campaigns, which mails, and CRM are stopped at
the same time; one follows even if the other failed. Everything can be repeated: a crash or an error gives
the task back, a half that was done stays done, and what is found done already is recorded as such.
"""

from collections.abc import Callable

from service.reconciler import many, tasks
from service.reconciler.context import Context
from service.reconciler.stopping import stop_in_crm
from service.reconciler.turn import Carried, Turn

__all__ = ["Carried", "carry_out", "look_back"]

LIMIT = 200
"""People carried out in one turn, where they asked for it themselves."""
OTHERS = 4
"""All others come so many in a turn, so that a withdrawal never waits for a long one."""

STEPS = {"campaigns_at": many.stop_in_campaigns, "crm_at": stop_in_crm}
"""What stops each half, by the column that remembers it."""

IDLE_S = 1.0
"""How long to rest where nobody is to be looked for."""
CALL_S = 1.4
"""How long to rest for each call of a look: half of what the window of 450 calls in five minutes allows."""


def carry_out(context: Context, *, worker: str, limit: int = LIMIT, others: Context | None = None) -> Carried:
    """Carry out what is due, people's own words first; several withdrawals of one person are one.

    `others` is what those are carried out with who said nothing themselves: clients that leave a part of
    each window to those who did.
    """
    now = context.now()
    with context.db.read() as tx:
        if not tasks.waiting(tx, now):
            return Carried()
    with context.db.begin() as tx:
        claimed = tasks.claim(tx, worker=worker, now=now, limit=limit, others=OTHERS)
    if not claimed:
        return Carried()
    own = any(item.own for mine in claimed.values() for item in mine)
    turn = Turn(context=context if own else others or context, worker=worker, claimed=claimed, steps=STEPS)
    with turn.leased():
        return turn.run()


def look_back(
    context: Context,
    *,
    worker: str,
    found: Callable[[Carried], None] = lambda _: None,
    others: many.Others = lambda _: None,
) -> float:
    """Look on Campaigns' lists for those whom the workflow was triggered for; return how long to rest, in s.

    Who is seen is recorded and done; the others are looked for again, until they are stopped one by one.
    `others` hears who else has left each list: the watch does not read it meanwhile.
    Raises `ZohoError` where a list cannot be read.
    """
    began = context.now()
    with context.db.read() as tx:
        awaited = tasks.awaited(tx)
    if not awaited:
        return IDLE_S
    seen, rest, calls = many.read_lists(context, awaited)
    after = 0
    while True:
        with context.db.begin() as tx:
            claimed = tasks.claim_triggered(
                tx, worker=worker, now=context.now(), before=began, after=after, limit=LIMIT
            )
        if not claimed:
            for members in rest:
                others(members)
            return max(IDLE_S, calls * CALL_S)
        after = max(item.id for mine in claimed.values() for item in mine)
        steps = {"campaigns_at": lambda context, stops, _still: many.confirm(context, stops, seen)}
        turn = Turn(context=context, worker=worker, claimed=claimed, steps=steps)
        with turn.leased():
            found(turn.run())

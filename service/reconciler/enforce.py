"""The short way: carry people's withdrawals to both products, prove them, within seconds.

The decision is read again now, not when the task was written, and once more right before each write, so
that an older withdrawal never overrides a newer consent. Campaigns, which mails, and CRM are stopped at
the same time; one follows even if the other failed. Everything can be repeated: a crash or an error gives
the task back, a half that was done stays done, and what is found done already is recorded as such.
"""

from service.reconciler import many, tasks
from service.reconciler.context import Context
from service.reconciler.stopping import stop_in_crm
from service.reconciler.turn import Carried, Turn

__all__ = ["Carried", "carry_out"]

LIMIT = 200
"""People carried out in one turn, where they asked for it themselves."""
OTHERS = 4
"""All others come so many in a turn, so that a withdrawal never waits for a long one."""

STEPS = {"campaigns_at": many.stop_in_campaigns, "crm_at": stop_in_crm}
"""What stops each half, by the column that remembers it."""


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

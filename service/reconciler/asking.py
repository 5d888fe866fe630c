"""When CRM was asked, by CRM's own clock: what changed since is asked for by that, whatever ours shows."""

from dataclasses import dataclass
from datetime import datetime

from service.reconciler.context import Context


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The moment right before some questions, on both clocks."""

    ours: datetime
    theirs: datetime

    def by_crm(self, context: Context) -> datetime:
        """Return the moment by CRM's clock, after its answers: those before may have told of no clock yet.

        Of two accounts of it the earlier one counts, so that what is asked for again is more, never less.
        """
        return min(self.theirs, context.crm.now() - (context.now() - self.ours))


def ask(context: Context) -> Asked:
    """Return this moment, before the first question."""
    return Asked(ours=context.now(), theirs=context.crm.now())

"""What the fold answers for one person and one purpose. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from service.consent.event import Event


class State(StrEnum):
    """What a person's events say about one purpose."""

    PERMITTED = "permitted"
    REFUSED = "refused"
    PENDING = "pending"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The answer for one purpose at one moment; `decided_by` is the index of the deciding entry.

    `rule` is the id of the rule that decided, where one did, `policy` the digest of the set that it stands
    in. `warnings` are what rules say that are not in force.
    """

    purpose: str
    state: State
    reason: str
    decided_by: int | None = None
    decided_at: datetime | None = None
    valid_until: datetime | None = None
    suppressed: str | None = None
    suppressed_by: int | None = None
    rule: str | None = None
    policy: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def may_mail(self) -> bool:
        """Return whether this person may be mailed: permitted and not suppressed."""
        return self.state is State.PERMITTED and self.suppressed is None

    @property
    def must_stop(self) -> bool:
        """Return whether both products must say stop: refused or suppressed."""
        return self.state is State.REFUSED or self.suppressed is not None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Return every reason behind `may_mail`, the consent first."""
        return (self.reason,) if self.suppressed is None else (self.reason, self.suppressed)


def decided(event: Event, purpose: str, state: State, reason: str, *, rule: str | None = None) -> Standing:
    """Return the standing that one event decides."""
    return Standing(
        purpose=purpose,
        state=state,
        reason=reason,
        rule=rule,
        decided_by=event.index,
        decided_at=event.occurred_at,
        valid_until=event.valid_until,
    )

"""The tables of `enforcement.toml` that limit a run: permissive changes, breakers, canaries. Pure."""

from datetime import datetime, time, timedelta
from typing import Annotated, Literal

import msgspec

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Hour = Annotated[int, msgspec.Meta(ge=0, le=23)]


class Permissive(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What lets somebody be mailed again: on what evidence, by how many people's approval, and when.

    Up to `one_approval_until` people one approval is enough, above it two different people approve.
    `off_hours` are the hours from the first until the second, in which such changes are written: those of
    the clock that `opens` is asked with.
    """

    one_approval_until: Count = 10
    weakest_grade: Literal["A", "B", "C", "D", "E", "F"] = "C"
    fresh_days: Count = 365
    off_hours: tuple[Hour, Hour] = (20, 6)

    def approvals(self, people: int) -> int:
        """Return how many different people must approve changes about so many."""
        return 0 if people == 0 else 1 if people <= self.one_approval_until else 2

    def opens(self, now: datetime) -> datetime:
        """Return when permissive changes may be written: now, or when the off-hours begin."""
        begins, ends = self.off_hours
        inside = begins <= now.hour < ends if begins < ends else now.hour >= begins or now.hour < ends
        if inside or begins == ends:
            return now
        first = datetime.combine(now.date(), time(begins), tzinfo=now.tzinfo)
        return first if first > now else first + timedelta(days=1)


class Breaker(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one product may show in one run before nothing more is permitted in it, or written to it at all.

    The share of re-permissions counts from `re_permissions_free` people on; in a small organisation one
    person is a large share.
    """

    re_permissions: Count = 200
    re_permission_share: Share = 0.02
    re_permissions_free: Count = 10
    unknown_values: Share = 0.01
    one_actor: Count = 100


class Breakers(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The limits per product."""

    crm: Breaker = Breaker()
    campaigns: Breaker = Breaker(unknown_values=0.5)


class Canaries(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where our own contacts live: a domain of ours, and for the bounced one a domain without mailboxes.

    An empty `domain` means that there are none.
    """

    domain: str = ""
    dead_domain: str = ""
    module: str = "Contacts"


class Flapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """After how many undoings within how many days a change is reported and not written again."""

    undone_limit: Annotated[int, msgspec.Meta(ge=1)] = 2
    within_days: Count = 30

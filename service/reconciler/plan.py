"""A plan as data: every write, why, by when and at what cost, and the digest that an approval names. Pure.

Stops are written by the run that plans them. What permits waits for people to approve it (`plans`).
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from service.ledger.canonical import Json, canonical
from service.reconciler.enforcement import CAMPAIGNS
from service.reconciler.lasting import lasting

CRM_BATCH = 100
"""Records of one write; 10 of them cost one credit (facts zoho-crm, section 6)."""
CRM_READ = 50
"""Records of one read-back, for one credit."""
FEW = 100
"""Up to so many refusals are read back one by one, more by reading the lists again."""
LIST_PAGE = 500
"""Members of one page of a list, for the estimate."""

AGAIN = "consented again"
COUNTS_AGAIN = "the original consent counts again"
"""Why somebody may be let go: a newer word of theirs, or a correction of what stood against the older one."""

Direction = Literal["stop", "permit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One write; `target` is `crm:<module>/<record id>` or `campaigns`. `due_at` None: no law sets one.

    `basis` is what the mirror showed, where that decides whether a permissive change is still right.
    `contested`: somebody undid it as often as the policy bears, so it is reported and not written again.
    `undone_by` is who did, as far as the product tells.
    """

    target: str
    address_index: bytes
    sub: bytes | None
    kind: str
    field: str
    old: str
    new: str
    reason: str
    cause_idx: int | None
    due_at: datetime | None
    due_rule: str | None
    direction: Direction = "stop"
    basis: str = ""
    contested: bool = False
    undone_by: str | None = None

    def told(self) -> dict[str, Json]:
        """Return what an approval is about, as it is hashed."""
        return {
            "target": self.target,
            "person": self.address_index.hex(),
            "direction": self.direction,
            "kind": self.kind,
            "field": self.field,
            "from": self.old,
            "to": self.new,
            "cause": self.cause_idx,
            "due": None if self.due_at is None else int(self.due_at.timestamp() * 1000),
            "rule": self.due_rule,
            "basis": self.basis,
            "contested": self.contested,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one run would write, most urgent first, and what it leaves to people.

    `changes` are stops, `permits` what waits for approval, `contested` what is not fought any more.
    `re_permissions` are people whom a product holds back although a newer live consent permits, whether
    or not there is a change for them. `reports` counts kinds that are listed only. Costs are estimates.
    """

    run_id: int
    changes: tuple[Change, ...]
    re_permissions: int
    reports: Mapping[str, int]
    without_consent: Mapping[tuple[str, str], int]
    calls: int
    crm_credits: int
    policy: str
    permits: tuple[Change, ...] = ()
    contested: tuple[Change, ...] = ()

    @property
    def people(self) -> int:
        """Return how many people the stops are about."""
        return len({item.address_index for item in self.changes})

    @property
    def to_permit(self) -> int:
        """Return how many people wait for an approval."""
        return len({item.address_index for item in self.permits})

    @property
    def everything(self) -> tuple[Change, ...]:
        """Return every change that is stored."""
        return (*self.changes, *self.contested, *self.permits)

    @property
    def digest(self) -> bytes:
        """Return what names exactly these changes under exactly these rules."""
        return _digest((item.told() for item in sorted(self.everything, key=_named)), self.policy)

    def summary(self, now: datetime) -> str:
        """Return the plan in a few lines for a terminal; names nobody."""
        in_crm = sum(item.target != CAMPAIGNS for item in self.changes)
        lines = [
            f"Plan of run {self.run_id}: stop {self.people} people",
            f"  writes: {in_crm} CRM records, {len(self.changes) - in_crm} contacts in Campaigns",
            f"  under the policy set {self.policy[:16]}",
            f"  cost: about {self.calls} calls and {self.crm_credits} CRM credits",
        ]
        lines += self._deadlines(now)
        for reason, count in sorted(self._reasons().items(), key=lambda pair: -pair[1]):
            lines.append(f"  {count:>7}  {reason}")
        lines += self._lasting()
        lines += self._left_to_people()
        return "\n".join(lines)

    def _deadlines(self, now: datetime) -> Iterator[str]:
        due = sorted((item.due_at, item.due_rule or "") for item in self.changes if item.due_at is not None)
        late = [one for one in due if one[0] < now]
        if late:
            since, rule = late[0]
            yield f"  {len(late)} of its writes are overdue, the first since {since:%Y-%m-%d} ({rule})"
        if len(late) < len(due):
            at, rule = due[len(late)]
            yield f"  next deadline: {at:%Y-%m-%d %H:%M} UTC ({rule})"

    def _reasons(self) -> dict[str, int]:
        people: dict[str, set[bytes]] = {}
        for item in self.changes:
            people.setdefault(item.reason, set()).add(item.address_index)
        return {reason: len(found) for reason, found in people.items()}

    def _lasting(self) -> Iterator[str]:
        """Yield, by reason, how many of the writes cannot be undone."""
        reasons = Counter(why for item in self.changes if (why := lasting(item.target, item.direction)))
        for why, count in sorted(reasons.items()):
            yield f"  {count:>7}  of these writes cannot be undone: {why}"

    def _left_to_people(self) -> Iterator[str]:
        if self.contested:
            people = len({item.address_index for item in self.contested})
            yield f"  {people:>7}  undone by somebody again and again: reported, not written"
        if self.re_permissions:
            yield f"  {self.re_permissions:>7}  could be mailed again; needs approval, not written"
        for kind, count in sorted(self.reports.items()):
            yield f"  {count:>7}  {kind}: listed, not written"
        if unknown := sum(self.without_consent.values()):
            yield (
                f"  {unknown:>7}  permitted by a product without a consent that we know: listed, not written"
            )


def digest(told: Iterable[Mapping[str, Json]], policy: str) -> bytes:
    """Return the SHA-256 over canonical JSON of changes, in an order of their own, and the policy."""
    return _digest(sorted(told, key=lambda one: (str(one["target"]), str(one["person"]))), policy)


def _digest(told: Iterable[Mapping[str, Json]], policy: str) -> bytes:
    """Return the same of changes that are in that order already, one at a time: there may be a million."""
    made = hashlib.sha256(b'{"changes":[')
    for number, one in enumerate(told):
        made.update((b"," if number else b"") + canonical(one))
    made.update(b'],"policy":' + canonical(policy) + b"}")
    return made.digest()


def _named(item: Change) -> tuple[str, bytes]:
    return item.target, item.address_index


def basis_in_crm(since: datetime | None, mode: str | None) -> str:
    """Return what a record showed about its opt-out; another text means that somebody touched it since."""
    moment = "unknown" if since is None else f"{since:%Y-%m-%d %H:%M:%S}"
    return f"opted out since {moment}, {mode or 'not told how'}"


def cost(changes: Sequence[Change], lists: int) -> tuple[int, int]:
    """Return the estimated (calls, CRM credits) of writing the changes and reading them back."""
    calls = crm_credits = 0
    targets = {item.target for item in changes if item.target != CAMPAIGNS}
    for module in {target.partition("/")[0] for target in targets}:
        count = sum(target.partition("/")[0] == module for target in targets)
        reads = -(-count // CRM_READ)
        calls += -(-count // CRM_BATCH) + reads
        crm_credits += -(-count // 10) + reads
    refusals = sum(item.target == CAMPAIGNS for item in changes)
    calls += refusals * (2 + lists)
    return calls + (refusals if refusals <= FEW else lists * (1 + refusals // LIST_PAGE)), crm_credits


def cost_of_permits(permits: Sequence[Change], lists: int) -> tuple[int, int]:
    """Return the estimated (calls, CRM credits) of letting people go: records one by one, lists read back."""
    in_crm = len({item.target for item in permits if item.target != CAMPAIGNS})
    contacts = sum(item.target == CAMPAIGNS for item in permits)
    reads = 2 * -(-in_crm // CRM_READ)
    back = 2 * lists if contacts else 0
    return in_crm + reads + contacts + back, in_crm + reads


def urgency(item: Change) -> tuple[bool, float, bool, str, bytes]:
    """Return what sorts changes: the legal deadline, then the cost (a CRM record is the cheaper write)."""
    due = 0.0 if item.due_at is None else item.due_at.timestamp()
    return item.due_at is None, due, item.target == CAMPAIGNS, item.target, item.address_index

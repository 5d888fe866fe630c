"""A plan as data: every write, why, by when and at what cost; it only ever stops.

Made from one run's `drift` rows and the mirrors. Re-permissions and lags are listed, not planned.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, case, exists, insert, literal, select, update

from service.db import change, crm_address, crm_record, drift, member, standing, subject
from service.policy import PolicySet
from service.reconciler.diff import RE_PERMISSION, STOPPING, Found
from service.reconciler.enforcement import CAMPAIGNS
from service.reconciler.port import Member

CRM_BATCH = 100
"""Records of one write; 10 of them cost one credit (facts zoho-crm, section 6)."""
CRM_READ = 50
"""Records of one read-back, for one credit."""
FEW = 100
"""Up to so many refusals are read back one by one, more by reading the lists again."""
LIST_PAGE = 500
"""Members of one page of a list, for the estimate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One write; `target` is `crm:<module>/<record id>` or `campaigns`. `due_at` None: no law sets one."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one run would write, most urgent first, and what it leaves to people.

    `re_permissions` are people whom a product holds back although a newer live consent permits; they
    are never written from here. `reports` counts kinds that are listed only. Costs are estimates.
    """

    run_id: int
    changes: tuple[Change, ...]
    re_permissions: int
    reports: Mapping[str, int]
    without_consent: Mapping[tuple[str, str], int]
    calls: int
    crm_credits: int
    policy: str

    @property
    def people(self) -> int:
        """Return how many people the changes are about."""
        return len({item.address_index for item in self.changes})

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
        if self.re_permissions:
            lines.append(f"  {self.re_permissions:>7}  could be mailed again; needs approval, not written")
        lines += [
            f"  {count:>7}  {kind}: listed, not written" for kind, count in sorted(self.reports.items())
        ]
        if unknown := sum(self.without_consent.values()):
            lines.append(
                f"  {unknown:>7}  permitted by a product without a consent that we know: listed, not written"
            )
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


def plan(tx: Connection, run_id: int, found: Found, *, policy: PolicySet) -> Plan:
    """Return the plan of this run from its `drift` rows; all records that share an address are written."""
    lists = tuple(entry.name for entry in policy.zoho.campaigns.lists if entry.purpose == policy.zoho.governs)
    crm = [_crm_change(row, policy) for row in tx.execute(_crm_rows(run_id, policy.zoho.governs))]
    campaigns = [
        _refusal(row, policy) for row in tx.execute(_member_rows(run_id, policy.zoho.governs, lists))
    ]
    changes = tuple(sorted([*crm, *campaigns], key=_urgency))
    calls, crm_credits = cost(changes, len(lists))
    return Plan(
        run_id=run_id,
        changes=changes,
        re_permissions=found.kinds.get(RE_PERMISSION, 0),
        reports={k: n for k, n in found.kinds.items() if k not in STOPPING and k != RE_PERMISSION},
        without_consent=found.without_consent,
        calls=calls,
        crm_credits=crm_credits,
        policy=policy.digest.hex(),
    )


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


def keep(tx: Connection, plan: Plan) -> None:
    """Keep the plan's changes, so that a crash while they are applied loses neither a write nor its proof.

    What an earlier plan left unwritten and this one plans again is superseded there. What it left and
    this one does not plan was written after all, by an answer that got lost: it still waits for its proof.
    """
    rows = [
        {
            "run_id": plan.run_id,
            "target": item.target,
            "address_index": item.address_index,
            "sub": item.sub,
            "kind": item.kind,
            "cause_idx": item.cause_idx,
            "due_at": item.due_at,
            "due_rule": item.due_rule,
            "state": "planned",
        }
        for item in plan.changes
    ]
    for part in _parts(rows):
        tx.execute(insert(change), part)
    again = change.alias("again")
    replanned = exists().where(
        again.c.run_id == plan.run_id,
        again.c.target == change.c.target,
        again.c.address_index == change.c.address_index,
    )
    earlier = and_(change.c.run_id < plan.run_id, change.c.state == "planned")
    tx.execute(update(change).where(earlier, replanned).values(state="superseded", code="REPLANNED"))


def cause(must_stop: ColumnElement[Any]) -> ColumnElement[int | None]:
    """Return the entry that decides for stopping: the refusal, else what suppresses."""
    refused = standing.c.state == "refused"
    return case((refused, standing.c.decided_by), (must_stop == 1, standing.c.suppressed_by))


def _crm_rows(run_id: int, purpose: str) -> Select[Any]:
    return (
        _rows(purpose, crm_record.c.module, crm_record.c.record_id)
        .join(crm_address, crm_address.c.address_index == drift.c.address_index)
        .join(
            crm_record,
            and_(
                crm_record.c.module == crm_address.c.module, crm_record.c.record_id == crm_address.c.record_id
            ),
        )
        .where(drift.c.run_id == run_id, drift.c.action == "stop", crm_record.c.opted_out == 0)
    )


def _member_rows(run_id: int, purpose: str, lists: tuple[str, ...]) -> Select[Any]:
    active = (
        select(member.c.address_index)
        .where(
            member.c.address_index == drift.c.address_index,
            member.c.list_name.in_(lists),
            member.c.status == Member.ACTIVE.value,
        )
        .exists()
    )
    return _rows(purpose, literal(CAMPAIGNS).label("module")).where(
        drift.c.run_id == run_id, drift.c.action == "stop", active
    )


def _rows(purpose: str, *columns: Any) -> Select[Any]:  # noqa: ANN401  # columns of any table
    return (
        select(
            *columns,
            drift.c.address_index,
            subject.c.sub,
            drift.c.kind,
            drift.c.due_at,
            drift.c.due_rule,
            cause(standing.c.must_stop).label("cause_idx"),
        )
        .select_from(drift)
        .outerjoin(subject, subject.c.address_index == drift.c.address_index)
        .outerjoin(standing, and_(standing.c.sub == subject.c.sub, standing.c.purpose == purpose))
    )


def _crm_change(row: Any, policy: PolicySet) -> Change:  # noqa: ANN401  # a result row
    target = f"crm:{row.module}/{row.record_id}"
    return _change(row, target, policy.zoho.crm.opt_out_field, old="false", new="true")


def _refusal(row: Any, policy: PolicySet) -> Change:  # noqa: ANN401  # a result row
    mapping = policy.zoho.campaigns
    return _change(row, CAMPAIGNS, mapping.permission_label, old=mapping.granted, new=mapping.refused)


def _change(row: Any, target: str, field: str, *, old: str, new: str) -> Change:  # noqa: ANN401  # a result row
    return Change(
        target=target,
        address_index=row.address_index,
        sub=row.sub,
        kind=row.kind,
        field=field,
        old=old,
        new=new,
        reason=STOPPING[row.kind],
        cause_idx=row.cause_idx,
        due_at=row.due_at,
        due_rule=row.due_rule,
    )


def _urgency(item: Change) -> tuple[bool, float, str, bytes]:
    due = 0.0 if item.due_at is None else item.due_at.timestamp()
    return item.due_at is None, due, item.target, item.address_index


def _parts(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    return (rows[start : start + 1_000] for start in range(0, len(rows), 1_000))

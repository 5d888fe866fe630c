"""A plan in the tables, as a run leaves it: people held back who consented again, and stops of its own."""

from datetime import datetime, timedelta

from service.db import contact, crm_address, crm_record, drift, member, run
from service.reconciler import keeping, permissible
from service.reconciler.enforcement import CAMPAIGNS
from service.reconciler.plan import Change, Plan
from service.web.edge import Edge


def a_plan(edge: Edge, emails: list[str], *, stops: int = 0, contested: int = 0, **rules) -> Plan:
    """Keep a plan that lets these people go; they are on the list as unsubscribed, and opted out in CRM."""
    now = edge.now()
    with edge.db.begin() as tx:
        made = tx.execute(
            run.insert().values(kind="reconcile", state="done", started_at=now, summary="{}")
        ).inserted_primary_key
        assert made is not None
        run_id = int(made[0])
        for number, email in enumerate(emails):
            _held_back(edge, tx, run_id, (number, email))
        permits = permissible.permits(tx, run_id, policy=edge.policy, now=now)
        plan = Plan(
            run_id=run_id,
            changes=tuple(_stop(edge, number, now) for number in range(stops)),
            contested=tuple(_stop(edge, 900 + number, now, contested=True) for number in range(contested)),
            permits=tuple(permits),
            re_permissions=len(emails),
            reports={},
            without_consent={},
            calls=14,
            crm_credits=3,
            policy=edge.policy.digest.hex(),
        )
        keeping.keep(tx, plan, policy=edge.policy, applying=True, at=now)
    return plan


def _held_back(edge: Edge, tx, run_id: int, who: tuple[int, str]) -> None:
    (number, email), vault, now = who, edge.intake.vault, edge.now()
    index, sealed = vault.address_index(email), vault.seal_address(email)
    record = {"module": "Contacts", "record_id": f"57{number:05d}"}
    tx.execute(
        crm_record.insert().values(
            **record,
            opted_out=1,
            modified_at=now - timedelta(days=90),
            unsubscribed_mode="Unsubscribe link",
            unsubscribed_at=now - timedelta(days=90),
            jurisdiction="DE",
            views="newsletter,",
            seen_run=run_id,
            unknown=0,
        )
    )
    tx.execute(crm_address.insert().values(**record, address_index=index, address=sealed))
    tx.execute(
        contact.insert().values(
            address_index=index, address=sealed, permission="refused", since=now, seen_run=run_id
        )
    )
    tx.execute(
        member.insert().values(
            list_name="newsletter", address_index=index, status="unsub", since=now, seen_run=run_id
        )
    )
    tx.execute(
        drift.insert().values(
            run_id=run_id,
            kind="re_permission",
            address_index=index,
            jurisdiction="DE",
            since=now,
            action="permit",
            state="found",
        )
    )


def _stop(edge: Edge, number: int, now: datetime, *, contested: bool = False) -> Change:
    in_crm = number % 2 == 0
    return Change(
        target=f"crm:Contacts/58{number:05d}" if in_crm else CAMPAIGNS,
        address_index=edge.intake.vault.address_index(f"stop{number}@example.com"),
        sub=None,
        kind="unsubscribed_not_in_crm",
        field="Email_Opt_Out" if in_crm else "Marketing Permission",
        old="false" if in_crm else "Granted",
        new="true" if in_crm else "Refused",
        reason="left in Campaigns",
        cause_idx=number,
        due_at=now + timedelta(days=number - 1),
        due_rule="us.canspam.optout_deadline",
        contested=contested,
        undone_by="Petra Lindqvist" if contested else None,
    )

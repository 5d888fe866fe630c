"""Nights for tests: runs, drift and withdrawals as the reconciler leaves them in the tables."""

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert

from service.db import breaker, change, drift, mailing, plan, run, task

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
TONIGHT = datetime(2026, 11, 23, 2, 30, tzinfo=UTC)
RULE = "us.canspam.optout_deadline"


def person(number: int) -> bytes:
    return hashlib.sha256(f"person {number}".encode()).digest()


def a_run(tx: Connection, started_at: datetime = TONIGHT, **changes: Any) -> int:
    told = {
        "kind": "nightly",
        "state": "done",
        "started_at": started_at,
        "finished_at": started_at + timedelta(minutes=4),
        "summary": {},
        **changes,
    }
    told["summary"] = json.dumps(told["summary"])
    return tx.execute(insert(run).values(told)).inserted_primary_key[0]


def found(tx: Connection, run_id: int, kind: str, people: Iterable[int], **changes: Any) -> None:
    told = {
        "run_id": run_id,
        "kind": kind,
        "sub": None,
        "jurisdiction": "US",
        "since": TONIGHT - timedelta(days=2),
        "due_at": TONIGHT + timedelta(days=9),
        "due_rule": RULE,
        "action": "stop",
        "state": "repaired",
        **changes,
    }
    rows = [{**told, "address_index": person(number)} for number in people]
    tx.execute(insert(drift), rows)


def withdrawn(
    tx: Connection, received_at: datetime, *, stopped_s: float | None, proved_s: float | None, **changes: Any
) -> None:
    done = stopped_s is not None and proved_s is not None
    tx.execute(
        insert(task).values(
            {
                "sub": person(0),
                "cause_idx": 1,
                "received_at": received_at,
                "due_at": received_at + timedelta(days=10),
                "due_rule": RULE,
                "state": "done" if done else "open",
                "attempts": 1,
                "not_before": received_at,
                "stopped_at": None if stopped_s is None else received_at + timedelta(seconds=stopped_s),
                "proved_at": None if proved_s is None else received_at + timedelta(seconds=proved_s),
                **changes,
            }
        )
    )


def mailed(tx: Connection, night: str, at: datetime) -> None:
    tx.execute(
        insert(mailing).values(
            night=night, message_id=f"<{night}@x>", state="sent", claimed_at=at, sent_at=at, place="somewhere"
        )
    )


def a_month(tx: Connection) -> int:
    """Thirty nights with a first flood, quiet weeks, two nights without a look, and tonight's 412."""
    for back in range(29, 0, -1):
        at = TONIGHT - timedelta(days=back)
        if back in (9, 8):
            a_run(tx, at, state="refused", summary={"reason": "Campaigns returned no members"})
            continue
        earlier = a_run(tx, at)
        found(
            tx,
            earlier,
            "unsubscribed_not_in_crm",
            range(1000, 1000 + (160 if back == 29 else 20 + back * 7 % 31)),
        )
        if back == 15:
            found(tx, earlier, "complaint_not_in_crm", range(5000, 5009), state="failed")
    tonight = a_run(tx, summary={"without_consent": 4630})
    found(tx, tonight, "unsubscribed_not_in_crm", range(250))
    found(tx, tonight, "opted_out_by_hand", range(250, 340))
    found(tx, tonight, "permission_refused_in_campaigns", range(340, 400))
    found(tx, tonight, "complaint_not_in_crm", range(400, 412), due_rule="gmail.unsub_deadline")
    found(
        tx,
        tonight,
        "list_lag_missing",
        range(600, 630),
        action="report",
        state="open",
        due_at=None,
        due_rule=None,
    )
    found(
        tx,
        tonight,
        "list_lag_stale",
        range(630, 650),
        action="report",
        state="open",
        due_at=None,
        due_rule=None,
    )
    for number in range(40):
        withdrawn(
            tx, NOW - timedelta(hours=1 + number / 4), stopped_s=1.5 + number / 10, proved_s=2.5 + number / 8
        )
    return tonight


def a_plan(tx: Connection, run_id: int, *, permits: int = 0, contested: int = 0, **changes: Any) -> None:
    """A plan that waits for approval, and stops in it that somebody undoes."""
    told = {
        "digest": person(1),
        "policy": person(2),
        "state": "open",
        "approvals": 1,
        "calls": 1,
        "credits": 1,
    }
    tx.execute(insert(plan).values({"run_id": run_id, "made_at": TONIGHT, **told, **changes}))
    rows = [("permit", "proposed", number, None) for number in range(permits)]
    rows += [("stop", "contested", 500 + number, "Petra Lindqvist") for number in range(contested)]
    for direction, state, number, by in rows:
        tx.execute(
            insert(change).values(
                run_id=run_id,
                target=f"crm:Contacts/{number}",
                address_index=person(number),
                kind="complaint_not_in_crm",
                direction=direction,
                state=state,
                undone_by=by,
            )
        )


def tripped(tx: Connection, run_id: int, target: str, stops: str, name: str = "canary polarity") -> None:
    tx.execute(
        insert(breaker).values(
            run_id=run_id,
            target=target,
            name=name,
            stops=stops,
            reason="the refused canary reads granted in Campaigns",
            tripped_at=TONIGHT,
        )
    )

"""Everybody compared in halves side by side, on both stores."""

import pytest
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import DBAPIError

from service.db import crm_record, drift, run
from service.reconciler import diff, slices
from service.reconciler.diff import Found
from service.reconciler.ledger_side import Only

NOBODY_IS_MANY = 0
EVERYBODY_IS_FEW = 1_000_000


def compared(made, many: int) -> tuple[Found, set[tuple]]:
    """Compare in a run of its own; return what was found, and the rows kept."""
    context, at = made.context, made.clock()
    with made.db.begin() as tx:
        values = {"kind": "reconcile", "state": "observing", "started_at": at, "summary": "{}"}
        run_id = tx.execute(insert(run).values(values)).inserted_primary_key[0]
    with made.db.begin() as tx:
        found = diff.compare(
            tx, run_id, policy=context.policy, vault=context.vault, now=context.now(), many=many
        )
    asked = (
        drift.c.kind,
        drift.c.address_index,
        drift.c.sub,
        drift.c.due_at,
        drift.c.due_rule,
        drift.c.action,
    )
    with made.db.read() as tx:
        return found, {tuple(row) for row in tx.execute(select(*asked).where(drift.c.run_id == run_id))}


def test_halves_side_by_side_find_what_one_statement_finds(organisation):
    organisation.run(applying=False)
    one, halves = compared(organisation, EVERYBODY_IS_FEW), compared(organisation, NOBODY_IS_MANY)
    assert len(one[1]) >= 10
    assert {row[1][0] <= slices.HALVES[0].last for row in one[1]} == {True, False}
    assert halves == one


def test_both_halves_see_what_stood_when_the_comparison_began(organisation):
    organisation.run(applying=False)
    if organisation.db.dialect == "sqlite":
        pytest.skip("nobody else writes while the comparison holds SQLite's one lock")
    asked = {}

    def statement(only: Only):
        asked[only] = len(asked)
        if len(asked) == 1:  # the readers stand, nothing was read yet
            with organisation.db.begin() as other:
                other.execute(update(crm_record).values(opted_out=1))
        return select(crm_record.c.opted_out).distinct()

    with organisation.db.begin() as tx:
        seen = {row.opted_out for part in slices.partitions(tx, statement, NOBODY_IS_MANY) for row in part}
    assert len(asked) == len(slices.HALVES)
    assert 0 in seen


def test_a_transaction_that_wrote_compares_alone_and_sees_what_it_wrote(organisation):
    organisation.run(applying=False)
    if organisation.db.dialect == "sqlite":
        pytest.skip("SQLite does not tell whether a transaction wrote")

    def statement(only: Only):
        assert only is None
        return select(crm_record.c.opted_out).distinct()

    with organisation.db.begin() as tx:
        tx.execute(update(crm_record).values(opted_out=1))
        (part,) = slices.partitions(tx, statement, NOBODY_IS_MANY)
    assert [row.opted_out for row in part] == [1]


def test_a_half_that_fails_ends_the_comparison_and_gives_its_connections_back(organisation):
    def statement(only: Only):
        return select(text("nothing_of_this_name"))

    with pytest.raises(DBAPIError, match="nothing_of_this_name"), organisation.db.begin() as tx:
        list(slices.partitions(tx, statement, NOBODY_IS_MANY))
    assert organisation.db.engine.pool.checkedout() == 0

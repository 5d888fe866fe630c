"""A correction reaches the products by an approved plan, like every other permission."""

from sqlalchemy import select

from service.db import happening
from service.intake.correcting import Person, approve, propose
from service.reconciler import showing
from tests.reconciler.conftest import World, stopped
from tests.running import claim, withdrawal


def correction(made: World, entry: int) -> int:
    """The entry that corrects this one."""
    with made.db.read() as tx:
        return tx.scalars(select(happening.c.idx).where(happening.c.corrects == entry)).one()


def test_who_was_withdrawn_by_mistake_is_let_go_by_a_plan_and_not_before(small: World):
    email = small.ordinary()
    by_phone = withdrawal(email, source="api:desk", evidence={"control": "phone"})
    small.intake.record([claim(email)])
    small.run()
    [wrong] = small.intake.record([by_phone])
    small.run()
    assert stopped(small, email)
    people = [Person(account=name, role="approver", via="terminal") for name in ("ada", "bea")]
    proposed = propose(small.intake, people[0], email, wrong.index, "another one", now=small.clock())
    for who in people:
        approve(small.intake, who, proposed.proposal, now=small.clock())
    made = small.run()
    index = small.intake.vault.address_index(email)
    [said] = {item.reason for item in made.plan.permits if item.address_index == index}
    assert said.startswith("the original consent counts again, entry ")
    assert f"entry {correction(small, wrong.index)} corrects what stood against it" in said
    with small.db.read() as tx:
        shown = showing.show(tx, made.run_id, now=small.clock())
    assert {one.reason for one in shown.totals if one.direction == "permit"} == {
        "the original consent counts again"
    }
    assert stopped(small, email)

"""A correction reaches the products by an approved plan, like every other permission."""

from service.intake.correcting import Person, approve, propose
from tests.reconciler.conftest import World, stopped
from tests.running import claim, withdrawal


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
    assert index in {item.address_index for item in made.plan.permits}
    assert stopped(small, email)

"""Whom Do-Not-Mail gives back: only who consented anew, live, with evidence; and nobody whom it protects."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from service.consent import Category, Provenance
from service.db import happening, standing
from service.intake.erasures import ErasureList
from service.intake.forgetting import erase
from service.vault import address
from tests.reconciler.conftest import World
from tests.reconciler.test_plan import decide, with_rules
from tests.running import NOTICE, claim


def opted_out(made: World) -> str:
    """Somebody in Do-Not-Mail, whose stop the ledger has seen."""
    email = made.emails("opted_out_both")[0]
    made.run()
    made.clock.ahead += timedelta(minutes=5)
    return email


def tell(made: World, email: str, **more) -> None:
    made.intake.record([claim(email, received_at=made.clock(), **more)])
    made.clock.ahead += timedelta(minutes=5)


def proposed(made: World, **rules) -> set[str]:
    """Plan; return in which products somebody could be let go: nothing else is ever written."""
    found = made.run(policy=with_rules(made, **rules))
    return {item.target.partition(":")[0] for item in found.plan.permits}


def in_campaigns(made: World, email: str) -> bool:
    return "active" in made.person(email)["campaigns"]["lists"].values()


def test_what_was_not_witnessed_live_with_evidence_brings_nobody_back(small):
    email = opted_out(small)
    for provenance in (Provenance.IMPORT, Provenance.BACKFILL, Provenance.OBSERVED):
        tell(small, email, provenance=provenance, occurred_at=small.clock())
    assert not proposed(small, weakest_grade="F")
    tell(small, email, evidence={})
    assert not proposed(small)
    tell(small, email)
    assert proposed(small) == {"crm", "campaigns"}


@pytest.mark.parametrize("category", [Category.COMPLAINT, Category.BOUNCE_HARD])
def test_who_ever_complained_or_bounced_is_not_brought_back_even_when_that_was_lifted(small, category):
    email = opted_out(small)
    tell(small, email, category=category, source="relay", evidence={})
    tell(small, email, category=Category.SUPPRESSION_LIFTED, source="support", evidence={})
    tell(small, email)
    assert small.standing(email).state == "permitted"
    assert proposed(small) == {"crm"}


def test_a_consent_that_is_only_implied_brings_nobody_back(small):
    email = opted_out(small)
    tell(small, email)
    tell(small, email, evidence=NOTICE | {"basis": "implied", "fact": "purchase", "fact_at": "2026-01-31"})
    implied = select(func.max(happening.c.idx)).where(happening.c.fact == "purchase").scalar_subquery()
    with small.db.begin() as tx:
        tx.execute(update(standing).where(standing.c.state == "permitted").values(decided_by=implied))
    assert not proposed(small, weakest_grade="F")


def test_who_is_erased_after_the_approval_is_not_brought_back(small, tmp_path):
    small.intake.erasures = ErasureList(tmp_path / "erasures")
    email = opted_out(small)
    tell(small, email)
    policy = with_rules(small)
    found = small.run(policy=policy)
    decide(small, found.run_id, found.plan.digest, policy=policy)
    erase(small.intake, address.parse(email), reason="request")
    small.run(policy=policy)
    assert not in_campaigns(small, email)

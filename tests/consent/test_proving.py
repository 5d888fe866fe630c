"""What must have come with a consent, and what makes it none: rules of evidence in the fold."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.consent import Category, Clock, Event, Ground, Proof, Rules, State, brought, standing

SHOWS = frozenset({"notice_sha256", "control"})
LAW = Proof(rule="law.shown", demands=SHOWS)
SPOILS = Proof(rule="law.spoils", forbids=frozenset({"prechecked"}))
WAITS = Proof(rule="law.waits", wait_months=12)
UNASKED = Proof(rule="law.unasked", forbids=frozenset({"asked_back_after_optout"}))
STEPS = Proof(rule="law.steps", forbids=frozenset({"one_step_after_optout"}))


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def said(category: Category, on: str, *names: str, index: int = 1, **more) -> Event:
    told = {"grade": "C", "brought": SHOWS | frozenset(names), **more}
    return Event(
        index=index,
        category=category,
        purpose="marketing",
        occurred_at=day(on),
        recorded_at=day(on),
        source="form",
        **told,
    )


def fold(at: str, *events: Event, proofs: tuple[Proof, ...], **more):
    return standing(events, "marketing", Rules(proofs=proofs, **more), day(at))


def test_a_consent_that_came_without_what_a_rule_demands_does_not_count_and_the_rule_is_named():
    found = fold("2026-02-01", said(Category.GRANTED, "2026-01-01", brought=frozenset()), proofs=(LAW,))
    assert (found.state, found.may_mail, found.rule) == (State.UNKNOWN, False, "law.shown")
    assert "entry 1" in found.reason
    assert "came without control, notice sha256" in found.reason


def test_a_consent_that_brought_it_counts():
    assert fold("2026-02-01", said(Category.GRANTED, "2026-01-01"), proofs=(LAW, SPOILS)).may_mail


def test_what_a_rule_forbids_makes_a_consent_none_whatever_else_came_with_it():
    found = fold("2026-02-01", said(Category.GRANTED, "2026-01-01", "prechecked"), proofs=(LAW, SPOILS))
    assert (found.may_mail, found.rule) == (False, "law.spoils")
    assert "came with prechecked" in found.reason


def test_it_makes_an_implied_consent_none_too_and_demands_of_words_do_not_touch_that():
    ground = Ground(fact="purchase", at=day("2026-01-01"))
    implied = {"implied": {"purchase": (Clock(rule="law.purchase", months=24),)}}
    plain = said(Category.GRANTED, "2026-01-01", ground=ground, brought=frozenset())
    assert fold("2026-02-01", plain, proofs=(LAW, SPOILS), **implied).may_mail
    spoilt = replace(plain, brought=frozenset({"prechecked"}))
    assert fold("2026-02-01", spoilt, proofs=(LAW, SPOILS), **implied).rule == "law.spoils"


def test_a_refusal_stays_and_says_which_later_consent_does_not_lift_it():
    found = fold(
        "2026-03-01",
        said(Category.WITHDRAWN, "2026-01-01"),
        said(Category.GRANTED, "2026-02-01", "prechecked", index=2),
        proofs=(SPOILS,),
    )
    assert (found.state, found.must_stop, found.decided_by) == (State.REFUSED, True, 1)
    assert found.rule == "law.spoils"
    assert "entry 2" in found.reason


def test_a_consent_that_held_before_is_not_ended_by_one_that_does_not_count_and_says_so():
    found = fold(
        "2026-03-01",
        said(Category.GRANTED, "2026-01-01"),
        said(Category.GRANTED, "2026-02-01", "prechecked", index=2),
        proofs=(SPOILS,),
    )
    assert (found.may_mail, found.decided_by) == (True, 1)
    assert any("entry 2" in warning and "law.spoils" in warning for warning in found.warnings)


def test_a_good_consent_after_a_bad_one_counts_and_the_bad_one_is_not_spoken_of():
    found = fold(
        "2026-03-01",
        said(Category.GRANTED, "2026-01-01", "prechecked"),
        said(Category.GRANTED, "2026-02-01", index=2),
        proofs=(SPOILS,),
    )
    assert (found.may_mail, found.decided_by, found.warnings) == (True, 2, ())


def test_a_confirmation_shows_what_its_request_showed():
    asked = said(Category.REQUESTED, "2026-01-01")
    answer = said(Category.CONFIRMED, "2026-01-02", index=2, brought=frozenset())
    assert fold("2026-02-01", asked, answer, proofs=(LAW,)).may_mail
    alone = fold("2026-02-01", answer, proofs=(LAW,))
    assert (alone.may_mail, alone.rule) == (False, "law.shown")


def test_a_confirmation_does_not_mend_a_request_that_was_spoilt():
    asked = said(Category.REQUESTED, "2026-01-01", "prechecked")
    found = fold(
        "2026-02-01", asked, said(Category.CONFIRMED, "2026-01-02", index=2, grade="A"), proofs=(SPOILS,)
    )
    assert (found.state, found.rule) == (State.PENDING, "law.spoils")


@pytest.mark.parametrize(
    ("on", "mailable"), [("2026-01-31", False), ("2026-02-27", False), ("2026-02-28", True)]
)
def test_who_opted_out_and_was_asked_again_too_soon_is_not_mailed(on, mailable):
    found = fold(
        "2027-01-01",
        said(Category.WITHDRAWN, "2025-02-28"),
        said(Category.GRANTED, on, index=2),
        proofs=(WAITS,),
    )
    assert found.may_mail is mailable
    assert mailable or (found.rule == "law.waits" and "before 2026-02-28" in found.reason)


def test_who_comes_back_unasked_need_not_wait():
    found = fold(
        "2026-03-01",
        said(Category.WITHDRAWN, "2026-01-01"),
        said(Category.GRANTED, "2026-02-01", "own_initiative", index=2),
        proofs=(WAITS,),
    )
    assert found.may_mail


def test_where_nobody_who_opted_out_may_be_asked_back_only_who_comes_unasked_counts_however_late():
    out = said(Category.WITHDRAWN, "2015-01-01")
    asked = fold("2026-03-01", out, said(Category.GRANTED, "2026-02-01", index=2), proofs=(UNASKED,))
    assert (asked.must_stop, asked.rule) == (True, "law.unasked")
    assert "nothing that says they came unasked" in asked.reason
    request = said(Category.REQUESTED, "2026-01-31", "own_initiative", index=2)
    answer = said(Category.CONFIRMED, "2026-02-01", index=3, brought=frozenset())
    assert fold("2026-03-01", out, request, answer, proofs=(UNASKED,)).may_mail
    assert not fold("2026-03-01", out, replace(request, brought=SHOWS), answer, proofs=(UNASKED,)).may_mail
    assert fold("2026-03-01", said(Category.GRANTED, "2026-02-01"), proofs=(UNASKED,)).may_mail


def test_the_wait_is_for_the_asking_not_for_the_answer():
    events = (
        said(Category.WITHDRAWN, "2025-01-10"),
        said(Category.REQUESTED, "2026-01-05", index=2),
        said(Category.CONFIRMED, "2026-01-20", index=3),
    )
    assert not fold("2026-03-01", *events, proofs=(WAITS,)).may_mail
    later = replace(events[1], occurred_at=day("2026-01-10"), recorded_at=day("2026-01-10"))
    assert fold("2026-03-01", events[0], later, events[2], proofs=(WAITS,)).may_mail


def test_every_refusal_begins_the_wait_anew():
    found = fold(
        "2026-06-01",
        said(Category.WITHDRAWN, "2025-01-01"),
        said(Category.WITHDRAWN, "2025-12-01", index=2),
        said(Category.GRANTED, "2026-02-01", index=3),
        proofs=(WAITS,),
    )
    assert (found.may_mail, "before 2026-12-01" in found.reason) == (False, True)


def test_one_who_never_opted_out_waits_for_nothing_and_takes_one_step():
    assert fold("2026-06-01", said(Category.GRANTED, "2026-02-01"), proofs=(WAITS, STEPS)).may_mail


def test_opting_in_after_an_opt_out_takes_asking_and_confirming():
    out = said(Category.WITHDRAWN, "2026-01-01")
    once = said(Category.GRANTED, "2026-02-01", index=2)
    twice = said(Category.CONFIRMED, "2026-02-02", index=3)
    one = fold("2026-03-01", out, once, proofs=(STEPS,))
    assert (one.state, one.rule) == (State.REFUSED, "law.steps")
    assert fold("2026-03-01", out, once, replace(once, index=3), proofs=(STEPS,)).state is State.REFUSED
    assert fold("2026-03-01", out, twice, proofs=(STEPS,)).state is State.REFUSED
    assert fold("2026-03-01", out, once, twice, proofs=(STEPS,)).may_mail


def test_what_was_asked_before_the_opt_out_is_no_first_step():
    asked = said(Category.REQUESTED, "2026-01-01")
    out, answer = (
        said(Category.WITHDRAWN, "2026-01-02", index=2),
        said(Category.CONFIRMED, "2026-01-03", index=3),
    )
    assert fold("2026-03-01", asked, out, answer, proofs=(STEPS,)).state is State.REFUSED


def test_a_consent_is_judged_by_the_law_of_its_day():
    dated = replace(LAW, since=day("2026-01-10"), until=day("2026-01-20"))
    mailable = {
        on: fold(
            "2026-03-01", said(Category.GRANTED, f"2026-01-{on}", brought=frozenset()), proofs=(dated,)
        ).may_mail
        for on in ("09", "10", "19", "20")
    }
    assert mailable == {"09": True, "10": False, "19": False, "20": True}


@pytest.mark.parametrize("proof", [LAW, SPOILS])
def test_a_rule_that_is_not_in_force_warns_and_changes_nothing(proof):
    event = said(Category.GRANTED, "2026-01-01", brought=frozenset({"prechecked"}))
    found = fold("2026-02-01", event, proofs=(replace(proof, counts=False),))
    assert found.may_mail
    assert any(proof.rule in warning and "not in force" in warning for warning in found.warnings)


def test_a_consent_of_which_nothing_was_kept_stands_as_it_was_decided_then():
    event = said(Category.GRANTED, "2026-01-01", brought=None)
    assert fold("2026-02-01", event, proofs=(LAW, SPOILS)).may_mail


def test_a_correction_of_the_refusal_takes_its_wait_away_as_well():
    events = (
        said(Category.WITHDRAWN, "2026-01-01"),
        said(Category.GRANTED, "2026-02-01", index=2),
        said(Category.CORRECTION, "2026-02-02", index=3, corrects=1),
    )
    assert not fold("2026-03-01", *events[:2], proofs=(WAITS, STEPS)).may_mail
    assert fold("2026-03-01", *events, proofs=(WAITS, STEPS)).may_mail


def test_only_names_that_rules_know_are_kept_and_only_where_something_was_told():
    told = {
        "control": "tick",
        "notice_sha256": "",
        "identity_check": "none",
        "prechecked": False,
        "email": "cyd@example.com",
        "note": "blue eyes",
        "bundled": True,
    }
    assert brought(told) == {"control", "bundled"}


_NAMES = st.frozensets(st.sampled_from(["control", "notice_sha256", "prechecked", "own_initiative"]))
_KINDS = st.sampled_from([Category.GRANTED, Category.REQUESTED, Category.CONFIRMED, Category.WITHDRAWN])


@given(
    told=st.lists(st.tuples(_KINDS, st.integers(0, 40), _NAMES), min_size=1, max_size=4),
    double=st.booleans(),
)
def test_rules_of_evidence_permit_nobody_whom_the_fold_does_not_permit_without_them(told, double):
    events = [
        replace(
            said(kind, "2025-01-01", index=at, brought=names),
            occurred_at=day("2025-01-01") + timedelta(days=20 * when),
            recorded_at=day("2025-01-01") + timedelta(days=20 * when),
        )
        for at, (kind, when, names) in enumerate(told, 1)
    ]
    strict = Rules(proofs=(LAW, SPOILS, WAITS, STEPS, UNASKED), double_opt_in=double)
    lax = Rules(double_opt_in=double)
    at = day("2030-01-01")
    under = standing(events, "marketing", strict, at)
    free = standing(events, "marketing", lax, at)
    assert free.may_mail or not under.may_mail
    assert under.must_stop or not free.must_stop
    for other in permutations(events):
        assert standing(other, "marketing", strict, at) == under

"""One test per sentence about standing, then the maths of it by property."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.consent import GRANTS, STOPS, Category, Event, Provenance, Rules, Standing, State, standing

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
NOW = NOON + 400 * DAY
RULES = Rules()
DOUBLE = Rules(double_opt_in=True)


def event(
    category: Category, day: float = 0, *, index: int = 1, recorded: float | None = None, **more
) -> Event:
    told = {"purpose": "marketing", "source": "form:newsletter", "grade": "C", **more}
    return Event(
        index=index,
        category=category,
        occurred_at=NOON + day * DAY,
        recorded_at=NOON + (day if recorded is None else recorded) * DAY,
        **told,
    )


def fold(*events: Event, rules: Rules = RULES, at: datetime = NOW) -> Standing:
    return standing(events, "marketing", rules, at)


GRANTED = event(Category.GRANTED, 1, index=1)
WITHDRAWN = event(Category.WITHDRAWN, 2, index=2)


def test_without_any_event_nothing_is_known_and_nobody_is_mailed():
    found = fold()
    assert (found.state, found.may_mail, found.decided_by) == (State.UNKNOWN, False, None)


def test_a_grant_with_sufficient_evidence_permits_and_is_named_as_the_reason():
    found = fold(GRANTED)
    assert found.may_mail
    assert (found.state, found.decided_by, found.decided_at) == (State.PERMITTED, 1, GRANTED.occurred_at)
    assert "grade C" in found.reason


def test_a_grant_without_sufficient_evidence_changes_nothing():
    weak = event(Category.GRANTED, 5, index=9, grade="D")
    assert fold(weak).state is State.UNKNOWN
    assert "without sufficient evidence" in fold(weak).reason
    assert fold(WITHDRAWN, weak) == fold(WITHDRAWN)
    assert fold(GRANTED, weak) == fold(GRANTED)


def test_the_weakest_grade_that_permits_is_the_policys():
    weak = event(Category.GRANTED, grade="E")
    assert fold(weak, rules=Rules(weakest_grade="E")).may_mail
    assert not fold(weak, rules=Rules(weakest_grade="D")).may_mail


@pytest.mark.parametrize("category", [Category.WITHDRAWN, Category.REFUSED])
def test_a_later_refusal_beats_a_grant(category):
    found = fold(GRANTED, replace(WITHDRAWN, category=category))
    assert (found.state, found.decided_by, found.must_stop) == (State.REFUSED, 2, True)


def test_a_later_grant_beats_a_refusal():
    assert fold(WITHDRAWN, event(Category.GRANTED, 3, index=3)).may_mail


def test_the_later_occurrence_wins_never_the_later_arrival():
    late_news = event(Category.GRANTED, 1, index=7, recorded=9)
    assert fold(WITHDRAWN, late_news).state is State.REFUSED
    late_refusal = event(Category.WITHDRAWN, 0.5, index=8, recorded=9)
    assert fold(GRANTED, late_refusal).may_mail


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_a_tie_goes_to_the_refusal(order):
    grant, refusal = order
    found = fold(event(Category.GRANTED, index=grant), event(Category.WITHDRAWN, index=refusal))
    assert found.state is State.REFUSED


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_a_tie_of_two_grants_goes_to_the_one_that_ends_sooner(order):
    first, second = order
    ended = event(Category.GRANTED, index=first, valid_until=NOON + DAY)
    assert fold(ended, event(Category.GRANTED, index=second)).state is State.EXPIRED


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_a_tie_of_a_bounce_and_its_lifting_stays_suppressed(order):
    first, second = order
    found = fold(
        GRANTED,
        event(Category.BOUNCE_HARD, 3, index=first),
        event(Category.SUPPRESSION_LIFTED, 3, index=second),
    )
    assert found.suppressed is not None


def test_stop_everything_beats_every_topic():
    everything = replace(WITHDRAWN, purpose=None)
    found = fold(GRANTED, everything)
    assert found.state is State.REFUSED
    assert "every purpose" in found.reason


def test_a_topic_that_is_granted_after_stop_everything_is_permitted_again():
    assert fold(replace(WITHDRAWN, purpose=None), event(Category.GRANTED, 3)).may_mail


def test_what_is_said_about_another_purpose_says_nothing_about_this_one():
    assert fold(replace(GRANTED, purpose="surveys")).state is State.UNKNOWN
    assert fold(GRANTED, replace(WITHDRAWN, purpose="surveys")).may_mail


def test_implied_consent_runs_out_at_its_moment():
    implied = event(Category.GRANTED, valid_until=NOON + 10 * DAY)
    assert fold(implied, at=NOON + 10 * DAY - timedelta(milliseconds=1)).may_mail
    found = fold(implied, at=NOON + 10 * DAY)
    assert (found.state, found.must_stop) == (State.EXPIRED, False)
    assert "2026-03-11" in found.reason


@pytest.mark.parametrize("category", [Category.BOUNCE_HARD, Category.COMPLAINT, Category.SUPPRESSION_ADDED])
def test_suppression_is_kept_apart_from_consent(category):
    found = fold(GRANTED, event(category, 3, index=3, purpose=None))
    assert (found.state, found.may_mail, found.must_stop) == (State.PERMITTED, False, True)
    assert found.suppressed_by == 3
    assert len(found.reasons) == 2


def test_a_new_grant_does_not_lift_a_suppression():
    assert not fold(event(Category.BOUNCE_HARD, 1, purpose=None), event(Category.GRANTED, 2)).may_mail


def test_a_lifted_suppression_permits_again_what_was_permitted():
    assert fold(
        GRANTED,
        event(Category.COMPLAINT, 2, purpose=None),
        event(Category.SUPPRESSION_LIFTED, 3, purpose=None),
    ).may_mail


def test_lifting_a_suppression_is_no_consent():
    assert fold(event(Category.SUPPRESSION_LIFTED, 3, purpose=None)).state is State.UNKNOWN


def soft(*days: float) -> list[Event]:
    return [event(Category.BOUNCE_SOFT, day, index=10 + n, purpose=None) for n, day in enumerate(days)]


def test_repeated_soft_bounces_within_the_window_suppress():
    found = fold(GRANTED, *soft(10, 20, 30), at=NOON + 31 * DAY)
    assert not found.may_mail
    assert found.suppressed == "suppressed: 3 soft bounces in 90 days (enforcement.soft_bounce_limit)"
    assert found.suppressed_by == 12


def test_soft_bounces_below_the_limit_do_not_suppress():
    assert fold(GRANTED, *soft(10, 20), at=NOON + 31 * DAY).may_mail


def test_soft_bounces_leave_the_window():
    bounces = soft(10, 20, 30)
    assert not fold(GRANTED, *bounces, at=NOON + 100 * DAY).may_mail
    assert fold(GRANTED, *bounces, at=NOON + 100.1 * DAY).may_mail


def test_soft_bounces_before_a_lifting_do_not_count():
    lifted = event(Category.SUPPRESSION_LIFTED, 25, purpose=None)
    assert fold(GRANTED, *soft(10, 20, 30), lifted, at=NOON + 31 * DAY).may_mail


@pytest.mark.parametrize("provenance", [Provenance.IMPORT, Provenance.BACKFILL, Provenance.OBSERVED])
def test_what_was_not_recorded_live_never_lifts_a_refusal(provenance):
    grant = event(Category.GRANTED, 3, index=3, provenance=provenance)
    assert fold(WITHDRAWN, grant) == fold(WITHDRAWN)
    assert fold(grant).may_mail


@pytest.mark.parametrize("provenance", list(Provenance))
def test_a_refusal_counts_wherever_it_comes_from_and_without_evidence(provenance):
    assert fold(GRANTED, replace(WITHDRAWN, provenance=provenance, grade="F")).state is State.REFUSED


def test_a_double_opt_in_waits_for_its_confirmation():
    found = fold(GRANTED, rules=DOUBLE)
    assert (found.state, found.may_mail) == (State.PENDING, False)
    assert fold(GRANTED, event(Category.CONFIRMED, 1.1, index=2), rules=DOUBLE).may_mail


def test_a_request_is_pending_under_any_rules():
    assert fold(replace(GRANTED, category=Category.REQUESTED)).state is State.PENDING


def test_asking_again_neither_lifts_a_refusal_nor_takes_a_permission_back():
    asked = event(Category.REQUESTED, 5, index=5)
    assert fold(WITHDRAWN, asked, rules=DOUBLE).state is State.REFUSED
    assert fold(event(Category.CONFIRMED, 1), asked, rules=DOUBLE).may_mail


def test_an_answer_as_of_a_day_does_not_know_what_happened_later():
    assert fold(GRANTED, WITHDRAWN, at=NOON + 1.5 * DAY).may_mail
    assert fold(GRANTED, WITHDRAWN, at=NOON + 2 * DAY).state is State.REFUSED


def test_an_answer_as_of_a_day_does_not_know_what_was_recorded_later():
    learned_late = event(Category.WITHDRAWN, 2, index=2, recorded=30)
    assert fold(GRANTED, learned_late, at=NOON + 29 * DAY).may_mail
    assert not fold(GRANTED, learned_late, at=NOON + 30 * DAY).may_mail


@pytest.mark.parametrize("category", [Category.ACCESS, Category.ENFORCEMENT, Category.SCANNER_FETCHED])
def test_what_others_did_with_a_record_changes_no_standing(category):
    assert fold(GRANTED, event(category, 3, index=3)) == fold(GRANTED)


@pytest.mark.parametrize("name", ["occurred_at", "recorded_at"])
def test_an_event_without_a_time_zone_is_refused_at_birth(name):
    with pytest.raises(ValueError, match=name):
        replace(GRANTED, **{name: datetime(2026, 3, 1)})  # noqa: DTZ001  # the point of the test


MOMENTS = st.integers(0, 6).map(lambda n: NOON + n * DAY)
EVENTS = st.builds(
    Event,
    index=st.just(0),
    category=st.sampled_from(Category),
    purpose=st.sampled_from(["marketing", "surveys", None]),
    occurred_at=MOMENTS,
    recorded_at=MOMENTS,
    source=st.just("source"),
    provenance=st.sampled_from(Provenance),
    grade=st.sampled_from("ABCDF"),
    valid_until=st.one_of(st.none(), MOMENTS),
)
HISTORIES = st.lists(EVENTS, max_size=7)
ANY_RULES = st.builds(Rules, double_opt_in=st.booleans(), soft_bounce_limit=st.integers(1, 3))


def number(history: list[Event]) -> list[Event]:
    return [replace(one, index=index) for index, one in enumerate(history)]


@given(HISTORIES, st.randoms(use_true_random=False), ANY_RULES, MOMENTS)
def test_the_order_of_arrival_does_not_matter(history, random, rules, at):
    shuffled = random.sample(history, len(history))
    first, second = (fold(*number(order), rules=rules, at=at) for order in (history, shuffled))
    assert (first.state, first.may_mail, first.must_stop) == (second.state, second.may_mail, second.must_stop)


@given(HISTORIES, st.sampled_from(sorted(STOPS)), ANY_RULES, st.sampled_from(["marketing", None]))
def test_a_stop_as_the_latest_event_never_leaves_a_permission(history, category, rules, purpose):
    latest = replace(event(category, 6, index=99, grade="F"), purpose=purpose)
    found = fold(*number(history), latest, rules=rules)
    assert not found.may_mail
    assert found.must_stop


@given(HISTORIES, ANY_RULES, MOMENTS)
def test_without_a_grant_there_is_never_a_permission(history, rules, at):
    ungranted = [one for one in number(history) if one.category not in GRANTS]
    assert fold(*ungranted, rules=rules, at=at).state is not State.PERMITTED


@given(HISTORIES, ANY_RULES, MOMENTS)
def test_every_answer_names_an_event_of_the_history_or_none(history, rules, at):
    found = fold(*number(history), rules=rules, at=at)
    indexes = {one.index for one in number(history)}
    assert {found.decided_by, found.suppressed_by} <= indexes | {None}
    assert (found.suppressed is None) == (found.suppressed_by is None)

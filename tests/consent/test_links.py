"""Receipts link back to what they supersede or end, record a refusal, and never change."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from service.consent import Category, Event
from service.consent.links import STATES, TYPES, links

AT = datetime(2026, 5, 1, tzinfo=UTC)


def event(index, category, purpose="marketing", **changes):
    return Event(
        index=index,
        category=category,
        purpose=purpose,
        occurred_at=AT,
        recorded_at=AT,
        source="form:newsletter",
        **changes,
    )


def test_the_first_word_supersedes_nothing_and_a_refusal_is_a_word():
    [link] = links([event(3, Category.REFUSED)]).values()
    assert (link.event_type, link.event_state, link.supersedes) == ("refused", "ConsentRefused", ())


def test_a_withdrawal_is_a_termination_that_names_the_consent_it_ends():
    found = links([event(1, Category.GRANTED), event(2, Category.WITHDRAWN)])
    assert found[2].event_state == "ConsentWithdrawn"
    assert (found[2].supersedes, found[2].terminates) == ((1,), (1,))


def test_a_withdrawal_of_everything_ends_the_consent_to_each_purpose():
    told = [
        event(1, Category.GRANTED),
        event(2, Category.GRANTED, "events"),
        event(3, Category.REFUSED, "ads"),
    ]
    found = links([*told, event(4, Category.WITHDRAWN, None)])
    assert (found[4].supersedes, found[4].terminates) == ((1, 2, 3), (1, 2))


def test_a_consent_given_again_renews_the_one_before():
    found = links([event(1, Category.GRANTED), event(5, Category.GRANTED)])
    assert (found[1].event_state, found[5].event_state) == ("ConsentGiven", "RenewedConsentGiven")
    assert found[5].supersedes == (1,)


def test_after_a_withdrawal_of_everything_a_new_consent_supersedes_it():
    found = links([event(1, Category.WITHDRAWN, None), event(2, Category.GRANTED)])
    assert (found[2].event_state, found[2].supersedes) == ("ConsentGiven", (1,))


def test_another_purpose_is_left_alone():
    assert links([event(1, Category.GRANTED, "events"), event(2, Category.WITHDRAWN)])[2].supersedes == ()


def test_bounces_are_no_consent_events():
    found = links([event(1, Category.GRANTED), event(2, Category.BOUNCE_HARD, None)])
    assert (found[2].event_type, found[2].event_state, found[2].supersedes) == ("bounced", None, ())


def test_a_correction_names_what_it_corrects_and_the_next_word_supersedes_what_held_before():
    correction = event(3, Category.CORRECTION, None, corrects=2)
    told = [event(1, Category.GRANTED), event(2, Category.WITHDRAWN), correction, event(4, Category.REFUSED)]
    found = links(told)
    assert (found[3].event_type, found[3].corrects) == ("corrected", 2)
    assert found[4].supersedes == (1,)


def test_a_corrected_consent_was_invalidated():
    found = links([event(1, Category.GRANTED), event(2, Category.CORRECTION, None, corrects=1)])
    assert found[2].event_state == "ConsentInvalidated"


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(STATES)), st.sampled_from(["marketing", "events", None])),
        max_size=12,
    ),
    st.integers(0, 12),
)
def test_what_comes_later_never_changes_a_link_that_was_given(told, size):
    events = [event(index, category, purpose) for index, (category, purpose) in enumerate(told)]
    whole = links(events)
    for index, link in links(events[:size]).items():
        assert whole[index] == link
        assert all(earlier < index for earlier in link.supersedes)


def test_every_category_about_a_person_has_an_event_type():
    about_nobody = {
        "log.genesis",
        "key.rotated",
        "directory.rekey",
        "policy.adopted",
        "index.epoch",
        "log.frozen",
    }
    assert {c.value for c in Category} - {c.value for c in TYPES} == about_nobody | {"subject.opened"}

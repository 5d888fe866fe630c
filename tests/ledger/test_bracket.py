"""Times that others gave the log bracket a moment, and claim no more than they are worth."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ledger.bracket import Place, bracket

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Told:
    """A size attested so many minutes after noon."""

    size: int
    minutes: int
    who: str = "w1.example"

    @property
    def at(self):
        return NOON + timedelta(minutes=self.minutes)


def test_without_anchors_nothing_is_claimed():
    found = bracket([], NOON)
    assert not found.trusted
    assert found.words() == "no trusted time: by our own clock only."
    assert found.place(0) is Place.UNDECIDED


def test_a_moment_lies_between_the_last_anchor_before_it_and_the_first_after():
    found = bracket([Told(3, -60), Told(10, -5), Told(14, 7), Told(20, 30)], NOON)
    assert (found.before, found.after) == (Told(10, -5), Told(14, 7))
    places = [found.place(index) for index in (0, 9, 10, 13, 14, 99)]
    assert places == [Place.SURELY] * 2 + [Place.UNDECIDED] * 2 + [Place.LATER] * 2
    assert "before it: 10 entries at 2026-03-01 11:55:00 UTC by w1.example" in found.words()
    assert "after it: 14 entries at 2026-03-01 12:07:00 UTC" in found.words()


def test_an_anchor_at_the_moment_itself_counts_as_before_it():
    assert bracket([Told(4, 0)], NOON).place(3) is Place.SURELY


@pytest.mark.parametrize(
    ("anchors", "index", "place"),
    [
        ([Told(5, -1)], 4, Place.SURELY),
        ([Told(5, -1)], 5, Place.UNDECIDED),
        ([Told(5, 1)], 4, Place.UNDECIDED),
        ([Told(5, 1)], 5, Place.LATER),
    ],
)
def test_one_anchor_decides_on_its_side_alone(anchors, index, place):
    assert bracket(anchors, NOON).place(index) is place


def test_a_time_stamp_given_late_to_an_old_checkpoint_does_not_shrink_what_was_there():
    found = bracket([Told(10, -5), Told(3, 1, "tsa.example"), Told(12, 9)], NOON)
    assert found.after == Told(12, 9)
    assert found.place(9) is Place.SURELY


def test_the_largest_size_by_then_counts_whoever_attested_it():
    found = bracket([Told(10, -9), Told(8, -1, "slow.example")], NOON)
    assert found.before == Told(10, -9)


@given(
    st.lists(st.builds(Told, st.integers(0, 50), st.integers(-100, 100))),
    st.integers(0, 60),
    st.integers(-100, 100),
)
def test_no_entry_is_sure_that_no_anchor_by_then_holds(anchors, index, minutes):
    moment = NOON + timedelta(minutes=minutes)
    held = any(one.at <= moment and index < one.size for one in anchors)
    assert (bracket(anchors, moment).place(index) is Place.SURELY) == held

"""How somebody stood at a moment, confirmed by other clocks than ours as far as these go."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert

from service.consent import Category, Event, Provenance, State
from service.db import cosignature, time_stamp
from service.ledger.anchors import Attested
from service.ledger.bracket import bracket
from service.reports.history import as_text, history, to_json
from service.reports.history.as_of import confirm
from tests.running import claim, policies, withdrawal

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANA = "ana@example.org"


def event(index, category, minutes):
    """An event about every purpose, so many minutes after noon by our own clock."""
    at = NOON + timedelta(minutes=minutes)
    told = {"occurred_at": at, "recorded_at": at, "source": "form:newsletter", "provenance": Provenance.LIVE}
    return Event(index=index, category=category, purpose="marketing", grade="A", **told)


def anchor(size, minutes):
    return Attested(size=size, at=NOON + timedelta(minutes=minutes), who="w1.example")


GRANTED, WITHDRAWN = event(3, Category.GRANTED, -60), event(7, Category.WITHDRAWN, -1)


def answers(found):
    return {one.purpose: one.state for one in found.surely or ()}


def test_without_trusted_time_nothing_is_called_sure():
    found = confirm([GRANTED], policies(), bracket([], NOON))
    assert (found.surely, found.undecided, found.open) == (None, (), ())
    assert found.words() == "no trusted time: by our own clock only."


def test_what_was_attested_before_is_sure_and_what_came_between_is_undecided():
    found = confirm([GRANTED, WITHDRAWN], policies(), bracket([anchor(5, -30), anchor(9, 30)], NOON))
    assert answers(found)["marketing"] is State.PERMITTED
    assert (found.undecided, found.open) == ((7,), ("marketing",))
    assert found.words().endswith("Undecided: marketing.")


def test_what_came_between_and_changes_nothing_leaves_the_answer_decided():
    again = event(7, Category.GRANTED, -1)
    found = confirm([GRANTED, again], policies(), bracket([anchor(5, -30), anchor(9, 30)], NOON))
    assert (found.undecided, found.open) == ((7,), ())
    assert found.words().endswith("They make no difference to the answer.")


def test_what_came_after_the_later_anchor_is_neither():
    found = confirm(
        [GRANTED, event(12, Category.WITHDRAWN, 60)],
        policies(),
        bracket([anchor(5, -30), anchor(9, 30)], NOON),
    )
    assert (found.undecided, found.open) == ((), ())


def test_others_clocks_outweigh_ours():
    ours_is_ahead = event(3, Category.WITHDRAWN, 3)
    found = confirm([ours_is_ahead], policies(), bracket([anchor(5, -1)], NOON))
    assert answers(found)["marketing"] is State.REFUSED


def test_an_entry_that_would_be_undone_again_in_between_still_leaves_the_answer_open():
    between = [event(6, Category.WITHDRAWN, -3), event(7, Category.GRANTED, -2)]
    found = confirm([GRANTED, *between], policies(), bracket([anchor(5, -30), anchor(9, 30)], NOON))
    assert found.open == ("marketing",)


@pytest.fixture
def told(intake):
    """Ana consents; a witness sees the log; she withdraws; an authority stamps it."""
    intake.record([claim(ANA)])
    with intake.db.begin() as tx:
        seen = intake.store.size(tx)
        row = {"log_id": 1, "size": seen, "witness": "w1.example", "at": NOON - timedelta(hours=1)}
        tx.execute(insert(cosignature).values(**row, line=b"line"))
    intake.record([withdrawal(ANA)])
    with intake.db.begin() as tx:
        row = {"log_id": 1, "size": intake.store.size(tx), "authority": "tsa.example"}
        at = NOON + timedelta(hours=1)
        tx.execute(insert(time_stamp).values(**row, at=at, note=b"note", reply=b"reply", chain=b"chain"))
    return intake


def asked(intake, as_of):
    with intake.db.read() as tx:
        return history(intake, tx, ANA, at=datetime.now(UTC), as_of=as_of)


def test_a_history_as_of_a_moment_carries_what_brackets_it(told):
    found = to_json(asked(told, NOON))["as_of_confirmed"]
    assert (found["before"]["who"], found["after"]["who"]) == ("w1.example", "tsa.example")
    assert found["undecided"] == [found["before"]["size"]]
    assert found["open"] == ["marketing"]


def test_a_history_before_any_trusted_time_is_all_undecided(told):
    found = to_json(asked(told, NOON - timedelta(days=1)))["as_of_confirmed"]
    assert found["before"] is None
    assert found["after"]["who"] == "w1.example"
    assert {one["state"] for one in found["surely"]} == {"unknown"}


def test_the_text_says_whose_clock_confirms_the_answer(told, intake):
    assert "Confirmed: before it: 3 entries at 2026-03-01 11:00:00 UTC by w1.example" in as_text(
        asked(told, NOON)
    )


def test_a_history_of_now_says_nothing_about_a_past_moment(intake):
    intake.record([claim(ANA)])
    assert to_json(asked(intake, None))["as_of_confirmed"] is None


def test_a_history_without_any_anchor_says_so(intake):
    intake.record([claim(ANA)])
    assert "no trusted time: by our own clock only." in as_text(asked(intake, datetime.now(UTC)))

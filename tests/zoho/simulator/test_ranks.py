"""Pages of long listings: right after every change, and as cheap far behind as in front."""

from collections.abc import Callable, Iterator, Sequence
from random import Random

import pytest

from service.zoho.simulator.ranks import Listing, Ranks
from service.zoho.simulator.schema import connect

PEOPLE = 6_000
PAGE = 100
STEPS = 10
"""Virtual-machine instructions of SQLite between two ticks of the counter."""
ACTIVE = Listing(rows="members WHERE list_id = ? AND status = ?", column="contact_id", values=(1, "active"))
GRANTED = Listing(
    rows="contacts c JOIN members m ON m.contact_id = c.id AND m.list_id = ?"
    " WHERE c.permission = ? AND m.status = 'active'",
    column="c.id",
    values=(1, "Granted"),
)
SENT = Listing(
    rows="outcomes o WHERE o.campaign_id = ? AND o.action = ?",
    column="o.contact_id",
    values=(1, "sentcontacts"),
)
LISTINGS = pytest.mark.parametrize("listing", [ACTIVE, GRANTED, SENT], ids=["list", "segment", "recipients"])


@pytest.fixture
def ranks() -> Iterator[Ranks]:
    db = connect()
    numbers = [(number,) for number in range(1, PEOPLE + 1)]
    db.execute("BEGIN")
    db.executemany(
        "INSERT INTO contacts (id, email, permission, created_at)"
        " VALUES (?1, ?1 || '@example.org', iif(?1 % 3, 'Granted', 'Refused'), 0)",
        numbers,
    )
    db.executemany("INSERT INTO members VALUES (1, ?1, iif(?1 % 5, 'active', 'unsub'), 0)", numbers)
    db.executemany("INSERT INTO outcomes SELECT 1, 'sentcontacts', ?1, 0 WHERE ?1 % 7", numbers)
    db.execute("COMMIT")
    db.execute("ANALYZE")
    yield Ranks(db)
    db.close()


@LISTINGS
def test_a_page_far_behind_costs_what_one_in_front_costs(ranks: Ranks, listing: Listing) -> None:
    size = ranks.size(listing)

    front, behind = (_steps(ranks, listing, position) for position in (PAGE, size - PAGE))

    assert behind < 3 * front
    assert behind < _steps_by_offset(ranks, listing, size - PAGE) / 3


@LISTINGS
def test_a_page_costs_no_more_after_writes_to_other_tables_and_little_after_one_to_its_rows(
    ranks: Ranks, listing: Listing
) -> None:
    late = ranks.size(listing) - 2 * PAGE
    quiet = _steps(ranks, listing, late)

    ranks.db.execute("INSERT INTO tags VALUES ('Leads', 1, 'fair')")
    assert _steps(ranks, listing, late) <= quiet + 1

    ranks.db.execute("UPDATE members SET status = 'unsub' WHERE contact_id = 11")
    assert _steps(ranks, listing, late) < 2 * quiet + 3_000 // STEPS


@LISTINGS
def test_every_page_is_the_one_that_counting_from_the_beginning_gives_whatever_was_written_between(
    ranks: Ranks, listing: Listing
) -> None:
    rng = Random(5)  # noqa: S311 - reproducible changes, no secret
    changes = (
        "UPDATE members SET status = 'unsub' WHERE contact_id = ?",
        "UPDATE members SET status = 'active' WHERE contact_id = ?",
        "DELETE FROM members WHERE contact_id = ?",
        "INSERT OR IGNORE INTO members VALUES (1, ?, 'active', 0)",
        "UPDATE contacts SET permission = 'Granted' WHERE id = ?",
        "UPDATE contacts SET permission = 'Refused' WHERE id = ?",
        "DELETE FROM contacts WHERE id = ?",
        "INSERT OR IGNORE INTO outcomes VALUES (1, 'sentcontacts', ?, 0)",
    )
    for _ in range(60):
        ranks.db.execute(rng.choice(changes), (rng.randrange(1, PEOPLE + 600),))
        everybody = [
            number
            for (number,) in ranks.db.execute(
                f"SELECT {listing.column} FROM {listing.rows} ORDER BY 1", listing.values
            )
        ]
        position = rng.randrange(len(everybody) + PAGE)

        assert ranks.page(listing, position, PAGE) == everybody[position : position + PAGE]
        assert (
            ranks.page(listing, position, PAGE, descending=True)
            == everybody[::-1][position : position + PAGE]
        )
        assert ranks.size(listing) == len(everybody)


def test_a_listing_is_counted_anew_when_most_of_it_changed_at_once(ranks: Ranks) -> None:
    assert ranks.size(ACTIVE) == PEOPLE * 4 // 5

    ranks.db.execute("UPDATE members SET status = 'active'")

    assert ranks.page(ACTIVE, PEOPLE - 1, PAGE) == [PEOPLE]


def test_an_empty_listing_has_no_page(ranks: Ranks) -> None:
    nobody = Listing(rows=ACTIVE.rows, column=ACTIVE.column, values=(1, "bounce"))

    assert ranks.size(nobody) == 0
    assert ranks.page(nobody, 0, PAGE) == ranks.page(nobody, 500, PAGE) == []
    assert ranks.page(nobody, 0, PAGE, descending=True) == []


def _steps(ranks: Ranks, listing: Listing, position: int) -> int:
    return _counting(ranks, lambda: ranks.page(listing, position, PAGE))


def _steps_by_offset(ranks: Ranks, listing: Listing, position: int) -> int:
    query = f"SELECT {listing.column} FROM {listing.rows} ORDER BY 1 LIMIT ? OFFSET ?"
    return _counting(ranks, lambda: ranks.db.execute(query, (*listing.values, PAGE, position)).fetchall())


def _counting(ranks: Ranks, ask: Callable[[], Sequence[object]]) -> int:
    ticks = 0

    def tick() -> int:
        nonlocal ticks
        ticks += 1
        return 0

    ranks.db.set_progress_handler(tick, STEPS)
    assert len(ask()) == PAGE
    ranks.db.set_progress_handler(None, 0)
    return ticks

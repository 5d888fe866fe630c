"""A round over a long log: every entry and every key once, within its days, whatever happens meanwhile."""

from datetime import date, timedelta

import pytest

from service.ledger.scrub.share import Round, plan

FIRST = date(2026, 5, 1)


def nights(sizes, days, *, left_out=(), step=256):
    """The shares of one round, over a log of this size each night."""
    last, shares = None, []
    for number, size in enumerate(sizes):
        if number in left_out:
            continue
        share, began = plan(last, size, FIRST + timedelta(days=number), days, step=step)
        shares.append((number, share))
        last = Round(began=began, stop=share.stop, high=share.high, damaged=False)
        if share.ends:
            break
    return shares


@pytest.mark.parametrize(
    ("sizes", "days", "left_out"),
    [
        ([100_000] * 7, 7, ()),
        ([100_000 + 30_000 * night for night in range(7)], 7, ()),
        ([100_000] * 7, 7, (2, 3)),
        ([100_000] * 12, 7, (3, 4, 5, 6, 7, 8)),
        ([600] * 7, 7, ()),
        ([511] * 7, 7, ()),
        ([100_000], 1, ()),
    ],
    ids=["still", "growing", "two nights missed", "a week missed", "short", "within one night", "one day"],
)
def test_a_round_meets_every_entry_and_every_key_and_ends_in_time(sizes, days, left_out):
    shares = nights(sizes, days, left_out=left_out)
    assert shares[-1][0] <= max(days - 1, max(left_out, default=-1) + 1)
    assert shares[-1][1].ends
    reached, key = 0, b""
    for _, share in shares:
        assert (share.start, share.low) == (reached, key)
        assert share.start % 256 == 0
        reached, key = share.stop, share.high
    assert (reached, key) == (None, None)


def test_a_share_is_as_large_a_part_of_the_keys_as_of_the_entries():
    for (number, share), size in zip(nights([100_000] * 7, 7), [100_000] * 7, strict=False):
        if share.high is not None:
            assert int.from_bytes(share.high, "big") / 2**256 == pytest.approx(share.stop / size), number


def test_while_something_is_damaged_everything_is_looked_at_every_night():
    last = Round(began=FIRST, stop=51_200, high=b"\x80" * 32, damaged=True)
    share, began = plan(last, 100_000, FIRST + timedelta(days=3), 7)
    assert (share.start, share.ends, share.low, share.high) == (0, True, b"", None)
    assert began == FIRST + timedelta(days=3)

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from service.db import engine_from_url
from service.ledger import anchors
from service.ledger.anchors import TimeStamp
from service.ledger.witness import Cosignature

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def line(key: str, minutes: int = 0) -> Cosignature:
    at = NOON + timedelta(minutes=minutes)
    return Cosignature(key=key, at=at, line=f"— {key} {minutes}\n".encode())


def stamp(size: int, minutes: int = 0, authority: str = "tsa") -> TimeStamp:
    at = NOON + timedelta(minutes=minutes)
    return TimeStamp(authority=authority, at=at, size=size, note=b"note", reply=b"reply", chain=b"chain")


def test_of_each_witness_and_size_the_first_word_proves_most_and_the_last_shows_who_is_awake(begin):
    with begin() as tx:
        anchors.keep_cosignatures(tx, 7, [line("a"), line("b", 1)])
        anchors.keep_cosignatures(tx, 7, [line("a", 9)])
        anchors.keep_cosignatures(tx, 8, [line("a", 10)])
        assert anchors.cosigned(tx, [7]) == {7: (line("a"), line("b", 1))}
        assert anchors.cosigned(tx, [7, 8], newest=True) == {
            7: (line("a", 9), line("b", 1)),
            8: (line("a", 10),),
        }
        assert anchors.dressed(tx, 7, b"note\n") == b"note\n" + line("a", 9).line + line("b", 1).line
        assert anchors.dressed(tx, 6, b"note\n") == b"note\n"
        assert anchors.cosigned_sizes(tx, above=6) == [8, 7]
        assert anchors.cosigned_sizes(tx, above=7) == [8]


def test_the_same_word_twice_is_one(begin):
    with begin() as tx:
        for _ in range(2):
            anchors.keep_cosignatures(tx, 7, [line("a")])
            anchors.keep_time_stamp(tx, stamp(7))
        assert [(one.size, one.at, one.who) for one in anchors.attested(tx)] == [
            (7, NOON, "a"),
            (7, NOON, "tsa"),
        ]


def test_every_word_is_told_in_the_order_of_its_time(begin):
    with begin() as tx:
        anchors.keep_time_stamp(tx, stamp(9, 5))
        anchors.keep_cosignatures(tx, 4, [line("a", 1)])
        anchors.keep_time_stamp(tx, stamp(2, -5, "other"))
        assert [one.size for one in anchors.attested(tx)] == [2, 4, 9]
        assert [one.size for one in anchors.time_stamps(tx)] == [2, 9]
        assert [one.size for one in anchors.time_stamps(tx, above=2)] == [9]


@pytest.mark.parametrize("table", ["cosignature", "time_stamp"])
@pytest.mark.parametrize("statement", ["DELETE FROM {}", "UPDATE {} SET size = 1"])
def test_what_others_attested_cannot_be_changed(database_url, begin, table, statement):
    with begin() as tx:
        anchors.keep_cosignatures(tx, 7, [line("a")])
        anchors.keep_time_stamp(tx, stamp(7))
    engine = engine_from_url(database_url)  # without our own connections' guard: the walls are the database's
    with engine.connect() as tx, pytest.raises(DBAPIError, match="append-only"):
        tx.execute(text(statement.format(table)))
    engine.dispose()

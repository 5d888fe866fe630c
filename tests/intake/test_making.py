"""Entries that open nobody, in front of events about somebody known."""

from contextlib import closing

from service.db import Database
from service.intake.epoch import epoch
from service.ledger.register import Register
from tests.running import claim, indexes, start
from tests.scrubbing import findings


def test_a_ledger_with_veiled_events_of_known_people_is_whole_and_its_lists_are_an_auditors(sqlite_url):
    with closing(Database(sqlite_url)) as database:
        with start(database) as intake:
            first, second, third = (indexes(intake.record([claim(veiled=True)]))[0] for _ in range(3))
            assert (second - first, third - second) == (2, 2)
            stated = epoch(intake)
            with database.read() as tx:
                entries = intake.store.entries(tx, range(stated))
        register = Register()
        for index in range(stated):
            register.add(entries[index])
        assert len(register.rows(b"dir1")) == 3
        assert len(register.rows(b"idx1")) == 1
        assert findings(database) == []

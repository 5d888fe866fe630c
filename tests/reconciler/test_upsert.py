"""Putting rows that may exist, by several at once."""

import threading
from contextlib import closing
from datetime import UTC, datetime

from sqlalchemy import func, select

from service.db import Database, member
from service.reconciler.upsert import upsert
from tests.waiting import until


def row(index: bytes) -> dict:
    told = {"status": "active", "since": datetime.now(UTC), "was": None, "seen_run": 1}
    return {"list_name": "Newsletter", "address_index": index, **told}


def test_two_who_write_the_same_people_in_opposite_orders_wait_for_one_another(database_url):
    one, other = row(b"1" * 32), row(b"2" * 32)
    with closing(Database(database_url)) as db:
        begun = threading.Event()

        def write_backwards() -> None:
            begun.set()
            with db.begin() as tx:
                upsert(tx, member, [other], {"status": None})
                upsert(tx, member, [one], {"status": None})

        thread = threading.Thread(target=write_backwards)
        with db.begin() as tx:
            upsert(tx, member, [one], {"status": None})
            thread.start()
            until(begun.is_set, within_s=5)
            thread.join(0.2)
            upsert(tx, member, [other], {"status": None})
        thread.join(20)
        with db.read() as tx:
            assert tx.scalar(select(func.count()).select_from(member)) == 2

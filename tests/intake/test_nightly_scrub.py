"""The worker's nightly look: a share each night, an alarm until all is well again, and nothing stopped."""

from contextlib import closing
from datetime import date, datetime, timedelta

import pytest
from sqlalchemy import func, select

from service.db import Database, look
from service.intake.erasures import ErasureList
from service.intake.scrub.nightly import Scrub
from service.jobs import Worker
from service.ledger.fence import Fence
from service.ledger.scrub import looks
from service.reports.drift import Verdict, drift_report
from service.reports.render import render
from tests import running
from tests.scrubbing import CLAIM, behind_the_walls, fill

FIRST = date(2026, 5, 1)
PLACES = [
    ("leaf", "hash", f"idx = {CLAIM}", f"leaf.hash, entry {CLAIM}:"),
    ("leaf", "entry", "idx = 560", "leaf.entry, entry 560:"),
    ("node", "hash", "level = 1 AND idx = 1", "node, level 1, index 1:"),
    ("checkpoint", "root", "number = 0", "checkpoint, number 0:"),
    ("dedupe", "key", f"idx = {CLAIM + 2}", f"dedupe, of entry {CLAIM + 2}:"),
    ("payload", "sealed", f"idx = {CLAIM + 4}", f"payload.sealed, entry {CLAIM + 4}:"),
    ("subject", "r", f"opened_idx = {CLAIM + 5}", "subject, "),
    ("index_row", "row", f"key = (SELECT sub FROM event WHERE idx = {CLAIM + 8})", "index_row, subject "),
]


@pytest.fixture
def house(database, tmp_path):
    """A filled ledger, and how the worker looks at it: at most 512 entries a night."""
    fill(database, tmp_path)
    return database


def scrub(database: Database, folder) -> Scrub:
    return Scrub(
        db=database,
        keys=running.keys,
        policy=running.policies(),
        fence=Fence(folder / "fence", running.keys().log.verifier),
        erasures=ErasureList(folder / "erasures", backup_days=30),
        days=7,
        now=lambda: datetime.now().astimezone(),
        step=256,
    )


def after(database: Database, folder, night: int) -> looks.Looked:
    scrub(database, folder).look(FIRST + timedelta(days=night))
    with database.read() as tx:
        found = looks.last(tx)
    assert found is not None
    return found


def test_a_round_of_two_nights_looks_at_everything_and_the_next_one_begins_anew(house, tmp_path):
    first, second, third = (after(house, tmp_path, night) for night in range(3))
    assert (first.start, first.stop) == (0, 512)
    assert (second.start, second.stop) == (512, second.size)
    assert (third.start, third.stop) == (0, 512)
    assert [one.damage for one in (first, second, third)] == [(), (), ()]


def test_what_is_damaged_anywhere_is_found_within_one_round_and_then_every_night(house, tmp_path):
    with behind_the_walls(house.url) as intruder:
        for table, column, which, _ in PLACES:
            intruder.flip(table, column, which)
    first = after(house, tmp_path, 0)
    second = after(house, tmp_path, 1)
    assert first.damaged > 0
    assert (second.start, second.stop) == (0, second.size)  # after damage everything is looked at
    for *_, named in PLACES:
        assert any(one.startswith(named) for one in second.damage), (named, second.damage)


def test_damage_behind_tonights_share_is_found_by_the_night_whose_share_it_is_in(house, tmp_path):
    assert after(house, tmp_path, 0).damaged == 0
    with behind_the_walls(house.url) as intruder:
        intruder.flip("payload", "sealed", "idx = 530")
        intruder.flip("payload", "sealed", f"idx = {CLAIM}")
    [found] = after(house, tmp_path, 1).damage
    assert found.startswith("payload.sealed, entry 530: ")
    both = after(house, tmp_path, 2)
    assert both.damaged == 2
    with behind_the_walls(house.url) as intruder:
        intruder.flip("payload", "sealed", "idx = 530")
        intruder.flip("payload", "sealed", f"idx = {CLAIM}")
    assert after(house, tmp_path, 3).damaged == 0  # the alarm ends with the look that finds nothing


def test_the_end_of_a_night_that_was_looked_at_already_is_nothing(house, tmp_path):
    for _ in range(2):
        after(house, tmp_path, 0)
    with house.read() as tx:
        assert tx.scalar(select(func.count()).select_from(look)) == 1


def test_damage_is_the_first_thing_in_the_mail_and_stops_nothing(sqlite_url, tmp_path):
    with closing(Database(sqlite_url)) as database:
        fill(database, tmp_path)
        with behind_the_walls(database.url) as intruder:
            intruder.flip("leaf", "hash", f"idx = {CLAIM}")
        now = datetime.now().astimezone()
        sent = []

        def mail(_night: date) -> None:
            with database.read() as tx:
                sent.append(drift_report(tx, running.policies(), now=now))

        worker = Worker(
            db=database,
            carry_out=int,
            nightly={"scrub": scrub(database, tmp_path).look, "mail": mail},
            hour=0,
            now=lambda: now,
            name="a",
        )
        worker.tonight({})
        [report] = sent
        letter = render(report)
        assert report.verdict is Verdict.ACTION
        assert "LEDGER DAMAGED" in letter.subject
        for text in (letter.text, letter.html):
            assert f"leaf.hash, entry {CLAIM}" in text
            assert "Damaged places in the ledger" in text
        with running.start(database) as intake:
            running.checked(intake.submit(running.withdrawal("person-3@example.org")).result(30))


def test_a_mail_of_a_sound_ledger_says_what_was_looked_at(sqlite_url, tmp_path):
    with closing(Database(sqlite_url)) as database:
        fill(database, tmp_path)
        found = after(database, tmp_path, 0)
        with database.read() as tx:
            letter = render(drift_report(tx, running.policies(), now=datetime.now().astimezone()))
    assert f"entries 0 to 512 of {found.size}" in " ".join(letter.text.split())
    assert "DAMAGED" not in letter.subject

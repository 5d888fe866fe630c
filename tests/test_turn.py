"""Whose turn it is at a SQLite file: one at a time, in whatever process, and nobody for ever."""

import threading
from contextlib import closing
from pathlib import Path

from service.db.turn import Turn

SOON_S = 10


def test_two_holders_of_one_file_take_turns(tmp_path: Path):
    with (
        closing(Turn(str(tmp_path / "ledger.db"))) as mine,
        closing(Turn(str(tmp_path / "ledger.db"))) as theirs,
    ):
        had = threading.Event()

        def wait() -> None:
            with theirs.taken():
                had.set()

        waiting = threading.Thread(target=wait)
        with mine.taken():
            waiting.start()
            assert not had.wait(0.05)
        assert had.wait(SOON_S)
        waiting.join()


def test_one_thread_may_take_its_turn_twice(tmp_path: Path):
    with closing(Turn(str(tmp_path / "ledger.db"))) as turn, turn.taken(), turn.taken():
        pass


def test_a_database_in_memory_or_in_a_folder_that_takes_no_file_needs_no_turn(tmp_path: Path):
    for path in (None, ":memory:", str(tmp_path / "missing" / "ledger.db")):
        with closing(Turn(path)) as turn, turn.taken():
            pass
    assert list(tmp_path.iterdir()) == []

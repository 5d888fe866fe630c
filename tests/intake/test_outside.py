"""The fence and the list of erasures stand apart from what is restored (reliability.md, R09)."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from service import app
from service.anchor.attestation import Attestation
from service.cli.fencing import exposed
from service.db import payload, subject
from service.errors import Misconfigured, ReadOnly
from service.intake.erasures import ErasureList
from service.intake.forgetting import erase
from service.intake.outside import take_over
from service.ledger.fence import Fence
from service.ledger.proof import Checkpoint, sign_checkpoint
from service.ledger.quorum import LogPolicy, Party
from service.settings import Settings
from tests.running import ORIGIN, claim, keys

ANA = "ana@example.org"
NOW = datetime(2026, 5, 4, tzinfo=UTC)


@pytest.fixture
def chosen(tmp_path) -> Settings:
    """Everything by default, but for where the folder of state is."""
    state = tmp_path / "state"
    return Settings(state_dir=state, database_url=f"sqlite:///{state / 'ledger.db'}")


def published(parts) -> list[bytes]:
    parts.publisher().publish()
    with parts.db.read() as tx:
        return [parts.intake.store.head(tx)]


class TestTheWholeFolderOfStateIsRestored:
    def test_the_ledger_is_read_only_signs_no_fork_and_the_erased_stay_erased(self, chosen, tmp_path):
        with app.running(chosen) as parts:
            parts.intake.record([claim(ANA)])
        shutil.copytree(chosen.state_dir, tmp_path / "yesterday")
        with app.running(chosen) as parts:
            erase(parts.intake, ANA, reason="request")
            [newest] = published(parts)
        shutil.rmtree(chosen.state_dir)
        shutil.copytree(tmp_path / "yesterday", chosen.state_dir)
        with app.running(chosen) as parts:
            assert "the fence knows" in parts.intake.trouble
            [refused] = parts.intake.record([claim("new@example.org")])
            assert isinstance(refused, ReadOnly)
            assert parts.publisher().publish() is None
            with parts.db.read() as tx:
                assert tx.scalars(select(subject.c.sub)).all() == []
                assert tx.scalars(select(payload.c.idx)).all() == []
                assert (
                    parts.intake.store.size(tx) < Checkpoint.parse(newest.partition(b"\n\n")[0] + b"\n").size
                )

    def test_a_lost_folder_of_state_is_not_begun_anew_and_the_message_names_the_fence(self, chosen):
        with app.running(chosen):
            pass
        shutil.rmtree(chosen.state_dir)
        with pytest.raises(Misconfigured, match=f"remove {chosen.fence_path}"), app.running(chosen):
            pass


class TestWhereTheFenceIs:
    def test_each_database_has_a_folder_of_its_own_in_the_machines_state(self, chosen, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
        other = chosen.model_copy(update={"database_url": f"sqlite:///{tmp_path / 'other.db'}"})
        assert chosen.fence_path.parent.parent == tmp_path / "home" / "consent-ledger-fence"
        assert chosen.fence_path != other.fence_path
        assert chosen.erasures_path.parent == chosen.fence_path.parent

    def test_it_does_not_depend_on_who_logs_in_nor_on_the_working_folder(self, chosen, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        relative = chosen.model_copy(update={"database_url": "sqlite:///state/ledger.db"})
        assert relative.fence_path == chosen.fence_path
        one, two = (
            chosen.model_copy(update={"database_url": f"postgresql+psycopg://{who}@db/ledger"}).fence_path
            for who in ("owner:secret", "app")
        )
        assert one == two

    def test_without_xdg_it_is_in_the_home(self, chosen, tmp_path, monkeypatch):
        monkeypatch.delenv("XDG_STATE_HOME")
        monkeypatch.setenv("HOME", str(tmp_path))
        assert chosen.fence_path.is_relative_to(tmp_path / ".local" / "state")

    def test_a_home_that_takes_nothing_leaves_it_in_the_folder_of_state_with_a_warning(
        self, chosen, tmp_path, monkeypatch
    ):
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
        assert chosen.fence_path == chosen.state_dir / "fence"
        elsewhere = chosen.model_copy(update={"database_url": "postgresql+psycopg://app@db/ledger"})
        assert "has no place for the fence" in exposed(elsewhere, Attestation())

    @pytest.mark.parametrize("where", ["fence", "inner/fence"])
    def test_one_in_the_databases_own_folder_is_told_of_until_a_witness_is_named(self, chosen, where):
        inside = chosen.model_copy(update={"fence_file": chosen.state_dir / where})
        assert "brings erased people back" in exposed(inside, Attestation())
        witness = Party(name="w", vkey="", key=keys().log.verifier, url="https://w.example")
        assert exposed(inside, Attestation(policy=LogPolicy(witnesses=(witness,)))) is None
        assert exposed(chosen, Attestation()) is None


class TestWhatLaysAtTheFormerPlace:
    def fence(self, path: Path, size: int) -> Fence:
        fence = Fence(path, keys().log.verifier)
        with fence.locked():
            fence.write(sign_checkpoint(Checkpoint(ORIGIN, size, bytes(32)), keys().log))
        return fence

    @pytest.mark.parametrize(("here", "there"), [(3, 9), (9, 3)])
    def test_the_larger_checkpoint_stays(self, tmp_path, here, there):
        fence = self.fence(tmp_path / "new" / "fence", here)
        former = self.fence(tmp_path / "old" / "fence", there)
        take_over(fence, ErasureList(tmp_path / "new" / "erasures"), former)
        assert fence.read().size == 9
        assert list((tmp_path / "old").iterdir()) == []

    def test_every_erasure_of_both_lists_stays(self, tmp_path):
        here, there = (ErasureList(tmp_path / place / "erasures") for place in ("new", "old"))
        here.add(b"a" * 32, b"A" * 32, entry=3, reason="request", at=NOW)
        for who in (b"a", b"b"):
            there.add(who * 32, who.upper() * 32, entry=4, reason="request", at=NOW)
        fence = Fence(tmp_path / "new" / "fence", keys().log.verifier)
        take_over(fence, here, Fence(tmp_path / "old" / "fence", keys().log.verifier))
        assert here.read().persons.keys() == {b"a" * 32, b"b" * 32}
        assert here.read().addresses.keys() == {b"A" * 32, b"B" * 32}
        assert not there.path.exists()

    def test_a_service_takes_it_over_when_it_starts(self, chosen):
        before = chosen.model_copy(update={"fence_file": chosen.former_fence_path})
        with app.running(before) as parts:
            parts.intake.record([claim(ANA)])
            erase(parts.intake, ANA, reason="request")
        known = chosen.former_fence_path.read_bytes()
        with app.running(chosen) as parts:
            assert parts.intake.trouble is None
            assert len(parts.intake.erasures.read().persons) == 1
        assert chosen.fence_path.read_bytes() == known
        assert not chosen.former_fence_path.exists()

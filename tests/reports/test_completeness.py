"""Bundles from a real ledger show that nothing was left out, or say plainly what they do not show."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import delete, update

from service.db import index_row, index_state
from service.errors import Tampered, Unavailable
from service.intake.epoch import epoch
from service.intake.erasures import ErasureList
from service.intake.forgetting import erase
from service.ledger.index import SUBJECTS
from service.ledger.lists import KINDS
from service.ledger.verify import State, verify_bundle
from service.reports.completeness import gather
from service.reports.evidence import bundle
from tests.running import claim, keys, people, start, withdrawal

ANA = "ana@example.org"
AT = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def ana(intake):
    intake.record([claim(ANA), claim("bo@example.org"), withdrawal(ANA)])
    return intake


def judged(intake, address=ANA, *, key=True):
    verdict = verify_bundle(
        bundle(intake, address, at=AT), keys().log.vkey, keys().directory if key else None
    )
    assert verdict.state is State.GOOD, verdict.reason
    return verdict


def test_the_first_bundle_of_a_log_makes_the_epoch_that_it_rests_on(ana):
    verdict = judged(ana)
    assert verdict.complete
    assert (verdict.finding.events, verdict.finding.covered) == (2, 6)


def test_what_is_recorded_after_the_epoch_is_in_the_bundle_and_complete(ana):
    first = judged(ana)
    ana.record([claim(ANA), *people(3)])
    later = judged(ana)
    assert later.complete
    assert later.finding.covered == first.finding.covered
    assert later.finding.events == first.finding.events + 1


def test_a_person_first_seen_after_the_epoch_is_complete(ana):
    epoch(ana)
    ana.record([claim("new@example.org")])
    finding = judged(ana, "new@example.org").finding
    assert finding.complete
    assert (finding.subjects, finding.events) == (1, 1)


def test_an_address_that_was_never_known_is_shown_to_be_so(ana):
    verdict = judged(ana, "nobody@example.org")
    assert verdict.complete
    assert "this address was not known to the log" in verdict.report()


def test_without_the_directory_key_the_bundle_shows_the_person_and_says_so(ana):
    verdict = judged(ana, key=False)
    assert not verdict.complete
    assert "complete for the person shown: all 2 entries" in verdict.report()
    assert "not shown: completeness" in judged(ana, "nobody@example.org", key=False).report()


def test_a_bundle_carries_the_directory_key_only_where_that_was_asked_for(ana):
    closed = bundle(ana, ANA, at=AT)
    disclosed = bundle(ana, ANA, at=AT, disclose_key=True)
    assert b"directory_key" not in closed
    assert b"directory_key" in disclosed
    assert verify_bundle(disclosed, keys().log.vkey).complete


def test_an_address_whose_person_was_erased_is_not_called_complete(database, tmp_path):
    with start(database, erasures=ErasureList(tmp_path / "erasures", backup_days=30)) as ana:
        ana.record([claim(ANA), claim("bo@example.org"), withdrawal(ANA)])
        erase(ana, ANA, reason="request")
        verdict = judged(ana)
    assert not verdict.complete
    assert "1 identities of this address are closed" in verdict.report()


def test_no_bundle_is_given_while_the_lists_are_not_what_the_epoch_states(ana):
    epoch(ana)
    with ana.db.begin() as tx:
        tx.execute(update(index_state).values(epoch_idx=None))
    with ana.db.read() as tx, pytest.raises(Unavailable, match="index of persons is being made"):
        gather(ana, tx, ANA, ana.store.size(tx), {}, disclose_key=False)
    assert judged(ana).complete


def test_no_bundle_is_given_of_lists_in_which_a_row_was_lost(ana):
    epoch(ana)
    with ana.db.begin() as tx:
        person = ana.vault.find(tx, ANA)
        tx.execute(delete(index_row).where(index_row.c.kind == KINDS[SUBJECTS], index_row.c.key == person))
    with pytest.raises(Tampered):
        bundle(ana, ANA, at=AT)

"""Corrections: what an operator recorded about the wrong person stops counting, and stays where it is."""

from datetime import UTC, datetime, timedelta

import pytest

from service.consent import Category, Provenance, State
from service.errors import Forbidden, Malformed, NotFound, UnknownSubject
from service.intake.correcting import Person, approve, propose
from service.intake.corrections import waiting
from service.intake.erasures import ErasureList
from service.intake.forgetting import erase
from service.ledger.entry import decode
from service.reports.history import history
from tests.running import NOTICE, claim, one_standing, withdrawal

ANA = "ana@example.org"
LEGAL = Person(account="lea", role="legal", via="terminal")
FIRST = Person(account="ada", role="approver", via="terminal")
SECOND = Person(account="bea", role="approver", via="api")
WHY = "meant another Ana"


def by_operator(address=ANA, **changes):
    return withdrawal(address, source="api:desk", evidence={"control": "operator"}, **changes)


def now():
    return datetime.now(UTC) + timedelta(seconds=1)


def recorded(intake, *claims):
    return [one.index for one in intake.record(claims)]


def standing_of(intake, address=ANA):
    with intake.db.read() as tx:
        [found] = intake.standings(tx, intake.vault.find(tx, address), now())
    return found


def agreed(intake, entry, address=ANA):
    proposed = propose(intake, LEGAL, address, entry, WHY, now=now())
    approve(intake, FIRST, proposed.proposal, now=now())
    return approve(intake, SECOND, proposed.proposal, now=now())


def test_a_withdrawal_recorded_about_the_wrong_person_is_undone_once_two_people_agree(intake):
    granted, wrong = recorded(intake, claim(ANA), by_operator())
    assert standing_of(intake).state is State.REFUSED
    proposed = propose(intake, LEGAL, ANA, wrong, WHY, now=now())
    assert proposed.made is None
    assert standing_of(intake).state is State.REFUSED
    assert approve(intake, FIRST, proposed.proposal, now=now()).made is None
    assert standing_of(intake).state is State.REFUSED
    done = approve(intake, SECOND, proposed.proposal, now=now())
    found = standing_of(intake)
    assert (found.state, found.decided_by) == (State.PERMITTED, granted)
    assert f"entry {wrong} does not count: corrected by entry {done.made}" in found.reason
    assert one_standing(intake, done.subject).state == State.PERMITTED


def test_one_person_never_agrees_for_two(intake):
    _, wrong = recorded(intake, claim(ANA), by_operator())
    proposed = propose(intake, FIRST, ANA, wrong, WHY, now=now())
    approve(intake, FIRST, proposed.proposal, now=now())
    with pytest.raises(Malformed, match="agreed to correction"):
        approve(intake, FIRST, proposed.proposal, now=now())
    assert standing_of(intake).state is State.REFUSED


def test_who_may_propose_and_who_may_agree_is_a_matter_of_role(intake):
    _, wrong = recorded(intake, claim(ANA), by_operator())
    for role in ("auditor", "admin"):
        with pytest.raises(Forbidden):
            propose(intake, Person(account="x", role=role, via="api"), ANA, wrong, WHY, now=now())
    proposed = propose(intake, LEGAL, ANA, wrong, WHY, now=now())
    with pytest.raises(Forbidden):
        approve(intake, LEGAL, proposed.proposal, now=now())


def test_nothing_is_deleted_and_the_history_shows_both(intake):
    _, wrong = recorded(intake, claim(ANA), by_operator())
    done = agreed(intake, wrong)
    with intake.db.read() as tx:
        records = {one.index: one for one in history(intake, tx, ANA, at=now()).records}
    assert records[wrong].category is Category.WITHDRAWN
    told = records[done.made].evidence
    assert (told["corrects"], told["reason"], told["approved_by"]) == (wrong, WHY, ["ada", "bea"])
    assert records[done.proposal].evidence["actor"] == "lea"


def test_names_and_reasons_are_sealed_and_not_in_the_signed_line(intake):
    _, wrong = recorded(intake, claim(ANA), by_operator())
    done = agreed(intake, wrong)
    with intake.db.read() as tx:
        lines = intake.store.entries(tx, [done.proposal, done.made])
    for line in lines.values():
        assert decode(line).source == "correction"
        assert not any(word in line for word in (b"lea", b"ada", WHY.encode()))


def test_without_a_consent_of_its_own_evidence_a_correction_gives_no_permission(intake):
    weak = claim(ANA, provenance=Provenance.IMPORT, evidence={})
    _, wrong = recorded(intake, weak, by_operator())
    agreed(intake, wrong)
    found = standing_of(intake)
    assert (found.state, found.may_mail) == (State.UNKNOWN, False)


def test_what_the_person_said_since_outweighs_a_correction(intake):
    _, wrong, _ = recorded(intake, claim(ANA), by_operator(), withdrawal(ANA))
    assert propose(intake, LEGAL, ANA, wrong, WHY, now=now()).made is not None
    assert standing_of(intake).state is State.REFUSED


def test_a_bounce_that_suppresses_for_now_does_not_let_one_person_correct_alone(intake):
    bounces = [claim(ANA, category=Category.BOUNCE_SOFT, source="observed") for _ in range(3)]
    _, wrong, *_ = recorded(intake, claim(ANA), by_operator(), *bounces)
    assert standing_of(intake).suppressed is not None
    assert propose(intake, LEGAL, ANA, wrong, WHY, now=now()).made is None


def test_a_consent_recorded_about_the_wrong_person_stops_counting_at_once(intake):
    wrong = claim(ANA, source="api:desk", evidence={**NOTICE, "control": "paper"})
    [entry] = recorded(intake, wrong)
    assert standing_of(intake).may_mail
    assert propose(intake, LEGAL, ANA, entry, WHY, now=now()).made is not None
    assert standing_of(intake).state is State.UNKNOWN


@pytest.mark.parametrize(
    "own",
    [withdrawal(ANA), withdrawal(ANA, source="observed", provenance=Provenance.OBSERVED)],
    ids=["one click", "seen in a product"],
)
def test_a_persons_own_word_is_never_corrected_away(intake, own):
    _, entry = recorded(intake, claim(ANA), own)
    with pytest.raises(Malformed, match="own word"):
        propose(intake, LEGAL, ANA, entry, WHY, now=now())


def test_only_an_entry_of_that_person_is_corrected_and_only_once(intake):
    _, wrong, _ = recorded(intake, claim(ANA), by_operator(), by_operator("bo@example.org"))
    with pytest.raises(Malformed, match="has this number"):
        propose(intake, LEGAL, "bo@example.org", wrong, WHY, now=now())
    with pytest.raises(UnknownSubject):
        propose(intake, LEGAL, "nobody@example.org", wrong, WHY, now=now())
    done = agreed(intake, wrong)
    with pytest.raises(Malformed, match="corrected already"):
        propose(intake, LEGAL, ANA, wrong, "again", now=now())
    with pytest.raises(Malformed, match="counts already"):
        approve(intake, FIRST, done.proposal, now=now())


def test_what_waits_for_agreement_is_listed_until_it_counts(intake):
    _, wrong = recorded(intake, claim(ANA), by_operator())
    proposed = propose(intake, LEGAL, ANA, wrong, WHY, now=now())
    with intake.db.read() as tx:
        assert waiting(intake, tx) == [proposed]
    for who in (FIRST, SECOND):
        approve(intake, who, proposed.proposal, now=now())
    with intake.db.read() as tx:
        assert waiting(intake, tx) == []
    with pytest.raises(NotFound):
        approve(intake, FIRST, wrong, now=now())


def test_as_of_a_moment_before_it_a_correction_is_not_known(intake):
    _, wrong = recorded(intake, claim(ANA), by_operator())
    before = datetime.now(UTC)
    agreed(intake, wrong)
    with intake.db.read() as tx:
        [then] = intake.standings(tx, intake.vault.find(tx, ANA), before)
    assert then.state is State.REFUSED


def test_to_withdraw_to_correct_and_to_erase_are_three_verbs_and_each_says_which_it_was(intake, tmp_path):
    intake.erasures = ErasureList(tmp_path / "erasures")
    _, wrong = recorded(intake, claim(ANA), by_operator())
    with intake.db.read() as tx:
        kept = len(history(intake, tx, ANA, at=now()).records)  # a withdrawal erases nothing
    done = agreed(intake, wrong)
    erased = erase(intake, ANA, reason="request")
    with intake.db.read() as tx:
        lines = intake.store.entries(tx, [wrong, done.made, erased.index])
        assert intake.vault.find(tx, ANA) is None
    assert kept == len(["opened", "granted", "withdrawn"])
    assert [decode(lines[index]).category for index in sorted(lines)] == [
        Category.WITHDRAWN,
        Category.CORRECTION,
        Category.ERASURE,
    ]

import threading
from contextlib import ExitStack

import pytest

from service.ledger import anchors, attestors, merkle
from service.ledger.attestors import Level
from service.ledger.note import open_note
from service.ledger.proof import Checkpoint, sign_checkpoint
from service.ledger.witness import SIZE_TYPE, Addition, encode_request, encode_size
from tests.anchor.conftest import log_in
from tests.anchor.witness import serving, witness_server
from tests.running import ORIGIN, keys


def state(log, name="w1.example"):
    with log.db.read() as tx:
        return next(one for one in attestors.attestors(tx, log.clock()) if one.name == name)


def lines(log, above=-1):
    with log.db.read() as tx:
        return anchors.cosigned(tx, anchors.cosigned_sizes(tx, above=above))


def test_a_published_checkpoint_is_cosigned_and_the_line_holds(log, witness, party):
    published = log.publish(5)
    assert log.anchors(party).attend() == 1
    ((size, (found,)),) = lines(log).items()
    assert size == published.size == 5
    note = published.note + found.line
    assert open_note(note, [keys().log.verifier, party.key]).verified == (ORIGIN, "w1.example")
    assert state(log).succeeded_at == log.clock()


def test_the_first_contact_claims_nothing(log, witness, party):
    log.publish()
    log.anchors(party).attend()
    assert [(one.old, one.proof) for one in witness.requests] == [(0, ())]


def test_a_grown_log_is_shown_to_continue_what_the_witness_knew(log, witness, party):
    asked = log.anchors(party)
    for number in (1, 7, 250, 300):
        log.publish(number)
        assert asked.attend() == 1
    assert [one.old for one in witness.requests] == [0, 1, 8, 258]
    assert sorted(lines(log)) == [1, 8, 258, 558]


def test_a_witness_that_knows_more_than_we_remember_is_asked_again_from_there(log, witness, party):
    log.publish(4)
    log.anchors(party).attend()
    with log.db.begin() as tx:
        attestors.saw(tx, "w1.example", 0, None)
    log.publish(4)
    assert log.anchors(party).attend() == 1
    assert [one.old for one in witness.requests] == [0, 0, 4]


def test_a_witness_that_knows_less_than_we_remember_is_asked_again_from_there(log, make_witness):
    log.publish(4)
    with witness_server(make_witness()) as url:
        log.anchors(make_witness().party(url)).attend()
    replaced = make_witness("w1.example", url="sqlite:///" + make_witness().db.url[10:-3] + "-2.db")
    log.publish(4)
    with witness_server(replaced) as url:
        assert log.anchors(replaced.party(url)).attend() == 1
    assert [one.old for one in replaced.requests] == [4, 0]


def test_nothing_is_asked_twice_of_a_witness_that_answered(log, witness, party):
    log.publish()
    asked = log.anchors(party)
    assert [asked.attend(), asked.attend()] == [1, 0]
    assert len(witness.requests) == 1


def test_an_idle_log_is_cosigned_again_every_day(log, witness, party):
    log.publish()
    asked = log.anchors(party)
    asked.attend()
    log.clock.forward(days=1)
    assert log.publisher.publish() is not None
    assert asked.attend() == 1
    with log.db.read() as tx:
        assert [one.size for one in anchors.attested(tx)] == [3, 3]


def test_several_witnesses_are_asked_at_the_same_time(log, make_witness):
    barrier = threading.Barrier(3, timeout=5)
    log.publish()
    with ExitStack() as stack:
        parties = []
        for name in ("a.example", "b.example", "c.example"):
            witness = make_witness(name)

            def post(_path, body, witness=witness):
                barrier.wait()
                return witness.add_checkpoint(body)

            parties.append(witness.party(stack.enter_context(serving(post))))
        assert log.anchors(*parties).attend() == 3
    assert {one.key.split("+")[0] for one in lines(log)[3]} == {"a.example", "b.example", "c.example"}


def test_a_witness_that_is_away_stops_neither_the_log_nor_the_other_witnesses(log, party, make_witness):
    away = make_witness("away.example").party("http://127.0.0.1:9")
    log.publish()
    assert log.anchors(away, party).attend() == 1
    assert state(log, "away.example").trouble.startswith("no answer came")
    assert log.publish() is not None


def test_a_witness_that_does_not_answer_in_time_is_given_up(log, make_witness):
    held = threading.Event()
    log.publish()
    with serving(lambda _path, _body: (held.wait(10), (200, "", b""))[1]) as url:
        assert log.anchors(make_witness().party(url)).attend() == 0
        held.set()
    assert "Timeout" in state(log).trouble


@pytest.mark.parametrize(
    "answer",
    [
        (200, "text/plain", b""),
        (200, "text/plain", b"\xff\xfe"),
        (200, "text/plain", b"x" * (1 << 18)),
        (302, "text/plain", b""),
        (403, "text/plain", b"no"),
        (409, "text/plain", b"1\n"),
        (409, SIZE_TYPE, b"-1\n"),
        (409, SIZE_TYPE, b"0\n"),
        (422, "text/plain", b"no"),
        (500, "text/plain", b"no"),
    ],
)
def test_an_answer_that_is_no_cosignature_is_noted_and_nothing_is_kept(log, make_witness, answer):
    log.publish()
    with serving(lambda _path, _body: answer) as url:
        assert log.anchors(make_witness().party(url)).attend() == 0
    assert state(log).trouble
    assert not lines(log)


def test_a_witness_that_lies_is_not_believed(log, witness, make_witness):
    published = log.publish()
    other = sign_checkpoint(Checkpoint(ORIGIN, 3, bytes(32)), keys().log)
    body = encode_request(Addition(old=0, proof=(), note=other))
    status, _, wrong = make_witness("w1.example").add_checkpoint(body)
    assert status == 200
    with serving(lambda _path, _body: (200, "text/plain", wrong)) as url:
        assert log.anchors(witness.party(url)).attend() == 0
    assert "does not fit the checkpoint" in state(log).trouble
    assert not lines(log)
    assert published.size == 3


def test_a_witness_whose_clock_runs_ahead_is_not_believed(log, witness, party, clock):
    log.publish()
    witness.clock = lambda: clock.seconds() + 3600
    assert log.anchors(party).attend() == 0
    assert "not come yet" in state(log).trouble


def test_silence_is_reported_after_ten_minutes_and_is_red_after_a_day(log, witness, party):
    asked = log.anchors(witness.party("http://127.0.0.1:9"))
    log.publish()
    asked.attend()
    seen = []
    for passed in (
        {"minutes": 10},
        {"seconds": 1},
        {"hours": 23, "minutes": 49, "seconds": 59},
        {"seconds": 1},
    ):
        log.clock.forward(**passed)
        seen.append(state(log).level)
    assert seen == [Level.FINE, Level.LATE, Level.LATE, Level.RED]
    assert log.anchors(party).attend() == 1
    assert (state(log).level, state(log).trouble) == (Level.FINE, None)


def test_a_witness_that_is_no_longer_named_is_no_longer_waited_for(log, witness):
    log.anchors(witness.party("http://127.0.0.1:9")).enroll()
    log.anchors().enroll()
    with log.db.read() as tx:
        assert attestors.attestors(tx, log.clock()) == ()


def test_a_witness_keeps_its_record_over_a_restart(log, party):
    log.publish()
    log.anchors(party).attend()
    before = state(log)
    log.anchors(party).enroll()
    assert state(log) == before


def test_what_a_witness_shows_of_a_longer_log_is_noted_as_ours(log, witness, party, other_url, clock):
    log.publish(9)
    log.anchors(party).attend()
    with log_in(other_url, clock) as restored:
        restored.publish(4)
        (seen,) = restored.anchors(party).look()
        assert seen.size == 9
        with restored.db.read() as tx:
            (sighting,) = attestors.sightings(tx, proven=True)
        assert (sighting.size, sighting.root) == (9, seen.root)


def test_a_size_that_a_witness_only_claims_is_noted_as_a_claim(log, make_witness):
    log.publish(4)
    with serving(lambda _path, _body: (409, SIZE_TYPE, encode_size(10**12))) as url:
        assert log.anchors(make_witness().party(url)).attend() == 0
    with log.db.read() as tx:
        assert attestors.sightings(tx, proven=True) == []
        assert [one.size for one in attestors.sightings(tx)] == [10**12]
    assert "older backup" in state(log).trouble


def test_what_is_not_signed_by_us_is_not_shown_as_ours(log, witness):
    other = sign_checkpoint(Checkpoint(ORIGIN, 9, bytes(32)), keys(log="another").log)
    with serving(lambda *_: (200, "", b""), lambda _path: (200, "text/plain", other)) as url:
        assert log.anchors(witness.party(url)).look() == []


def request(old, note, log):
    new = Checkpoint.parse(note.partition(b"\n\n")[0] + b"\n")
    with log.db.read() as tx:
        proof = merkle.consistency_proof(old, new.size, log.store.reader(tx))
    return encode_request(Addition(old=old, proof=tuple(proof), note=note))


class TestTheWitnessItself:
    def test_it_refuses_a_rollback(self, log, witness):
        small, large = (log.publish(number).note for number in (3, 6))
        assert witness.add_checkpoint(request(0, large, log))[0] == 200
        assert witness.add_checkpoint(request(0, small, log)) == (409, SIZE_TYPE, b"9\n")
        assert witness.add_checkpoint(encode_request(Addition(old=9, proof=(), note=small)))[0] == 400

    def test_it_refuses_a_fork(self, log, witness, other_url, clock):
        ours = log.publish(6).note
        assert witness.add_checkpoint(request(0, ours, log))[0] == 200
        with log_in(other_url, clock) as other:
            same_size = other.publish(6, "another").note
            assert witness.add_checkpoint(request(6, same_size, other))[0] == 422
            longer = other.publish(6, "another").note
            assert witness.add_checkpoint(request(6, longer, other))[0] == 422

    def test_it_knows_logs_by_name_and_key(self, witness):
        stranger = keys(origin="stranger.example/1").log
        unknown = sign_checkpoint(Checkpoint("stranger.example/1", 0, merkle.EMPTY), stranger)
        assert witness.add_checkpoint(encode_request(Addition(old=0, proof=(), note=unknown)))[0] == 404
        forged = keys(log="another").log.sign(Checkpoint(ORIGIN, 0, merkle.EMPTY).text())
        assert witness.add_checkpoint(encode_request(Addition(old=0, proof=(), note=forged)))[0] == 403
        assert witness.add_checkpoint(b"old 0\n\nnonsense")[0] == 400

    def test_an_empty_tree_has_one_root(self, witness):
        wrong = sign_checkpoint(Checkpoint(ORIGIN, 0, bytes(32)), keys().log)
        assert witness.add_checkpoint(encode_request(Addition(old=0, proof=(), note=wrong)))[0] == 422

    def test_of_two_racing_forks_it_signs_one(self, log, make_witness, database_url):
        witness = make_witness("racing.example", url=database_url)
        base = log.publish(8)
        assert witness.add_checkpoint(request(0, base.note, log))[0] == 200
        for _ in range(10):
            old = witness._row(ORIGIN).size
            bodies = self._forks(old, witness)
            answers = self._at_once(witness, bodies)
            assert sorted(status for status, _, _ in answers) == [200, 409]

    def _forks(self, old, witness):
        """Two requests from the same size whose checkpoints contradict each other."""
        root = witness._row(ORIGIN).root
        found = []
        for name in (b"one", b"two"):
            leaf = merkle.leaf_hash(name + b"%d" % old)
            new = merkle.node_hash(root, leaf)
            note = sign_checkpoint(Checkpoint(ORIGIN, old * 2, new), keys().log)
            found.append((old, note, leaf))
        return [self._doubling(*one) for one in found]

    @staticmethod
    def _doubling(old, note, leaf):
        """A tree twice as large: for a power of two the proof is the right half alone."""
        return encode_request(Addition(old=old, proof=(leaf,), note=note))

    @staticmethod
    def _at_once(witness, bodies):
        barrier, answers = threading.Barrier(len(bodies)), []

        def ask(body):
            barrier.wait()
            answers.append(witness.add_checkpoint(body))

        threads = [threading.Thread(target=ask, args=(body,)) for body in bodies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answers


def test_what_the_settings_do_not_name_is_kept_as_evidence(log, party):
    log.publish()
    log.anchors(party).attend()
    log.anchors().enroll()
    assert list(lines(log)) == [3]
    with log.db.read() as tx:
        assert attestors.seen_size(tx, party.name) == 0
        assert attestors.sightings(tx) == []

import base64
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import pytest
from litestar.testing import TestClient

from service.anchor.anchors import Anchors
from service.anchor.attestation import Attestation
from service.db import Database
from service.ledger.note import open_note
from service.ledger.proof import verify_receipt
from service.ledger.publication import Publisher
from service.ledger.quorum import Party
from service.ledger.timestamp import read_trust, verify
from service.ledger.witness import cosignatures
from service.web.auth import EVENTS_WRITE, LOG_READ, create_key
from service.web.site import create_site
from tests.anchor.authority import LocalAuthority, authority_server
from tests.anchor.conftest import policy_of
from tests.anchor.witness import Witness, witness_server

from .conftest import ORIGIN, Site


@dataclass(kw_only=True)
class Outside:
    """A site whose log somebody witnesses and somebody stamps."""

    site: Site
    party: Party
    publisher: Publisher
    witnessing: Anchors
    stamping: Anchors

    def record(self, key: str = "k1") -> int:
        answer = self.site.event(key)
        assert answer.status_code == 201, answer.text
        return answer.json()["index"]

    def ask(self, index: int | str, key: str | None = None):
        headers = {"Authorization": f"Bearer {key or self.site.writer}"}
        return self.site.client.get(f"/api/receipts/{index}", headers=headers)

    @property
    def log_key(self):
        return self.site.edge.intake.keys.log.verifier

    def proven(self, index: int) -> dict:
        """The receipt as JSON, its proof checked by the log's key alone."""
        answer = self.ask(index)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        found = verify_receipt(told["receipt"].encode(), [self.log_key])
        assert (found.receipt.index, found.checkpoint.size) == (index, told["size"])
        return told


@pytest.fixture
def outside(site: Site, tmp_path) -> Iterator[Outside]:
    keys, store, clock = site.edge.intake.keys, site.edge.intake.store, site.clock
    local = LocalAuthority(tmp_path / "authority")
    with closing(Database(f"sqlite:///{tmp_path / 'witness.db'}")) as memory:
        witness = Witness("w1.example", memory, {ORIGIN: keys.log.verifier}, lambda: clock().timestamp())
        with witness_server(witness) as asked, authority_server(local) as stamped:
            party = witness.party(asked)
            policy = policy_of(party, quorum=party.name)
            edge = replace(site.edge, log_policy=policy)
            anchors = [
                Anchors(edge.db, store, [keys.log.verifier], attestation, now=clock)
                for attestation in (
                    Attestation(policy=policy),
                    Attestation(policy=policy, authorities=(local.named("tsa", stamped),)),
                )
            ]
            with TestClient(create_site(edge)) as client:
                yield Outside(
                    site=replace(site, edge=edge, client=client),
                    party=party,
                    publisher=Publisher(edge.db, store, keys.log, keys.log_pq, clock),
                    witnessing=anchors[0],
                    stamping=anchors[1],
                )


def test_a_receipt_rests_on_the_log_alone_until_somebody_attests_it(outside: Outside):
    told = outside.proven(outside.record())
    assert (told["grade"], told["existed_by"]) == ("logged", None)
    assert (told["witnessed"], told["time_stamps"]) == ([], [])


def test_a_receipt_becomes_witnessed_and_carries_the_witness_line(outside: Outside):
    index = outside.record()
    outside.publisher.publish()
    outside.witnessing.attend()
    told = outside.proven(index)
    assert told["grade"] == "witnessed"
    note = verify_receipt(told["receipt"].encode(), [outside.log_key]).receipt.checkpoint_note
    (line,) = cosignatures(note, [outside.party.key])
    assert told["witnessed"] == [{"witness": line.key, "at": told["existed_by"]}]


def test_a_receipt_becomes_anchored_and_the_stamp_is_over_its_checkpoint(outside: Outside):
    index = outside.record()
    outside.publisher.publish()
    outside.stamping.attend()
    told = outside.proven(index)
    assert told["grade"] == "anchored"
    (stamp,) = told["time_stamps"]
    note = verify_receipt(told["receipt"].encode(), [outside.log_key]).receipt.checkpoint_note
    assert note.startswith(stamp["stamped"].encode())
    assert open_note(note, [outside.log_key, outside.party.key]).verified == (ORIGIN, "w1.example")
    reply = base64.b64decode(stamp["reply"])
    verify(reply, stamp["stamped"].encode(), read_trust(stamp["certificates"].encode()))


def test_an_entry_that_is_newer_than_every_attested_checkpoint_is_only_logged(outside: Outside):
    early = outside.record("k1")
    outside.publisher.publish()
    outside.stamping.attend()
    late = outside.record("k2")
    assert [outside.proven(index)["grade"] for index in (early, late)] == ["anchored", "logged"]


def test_the_newest_attested_checkpoint_is_taken(outside: Outside):
    index = outside.record("k1")
    for number in range(3):
        outside.record(f"more-{number}")
        outside.publisher.publish()
        outside.witnessing.attend()
    told = outside.proven(index)
    assert (told["grade"], told["size"]) == ("witnessed", outside.site.size)


def test_the_published_checkpoint_carries_the_witness_line(outside: Outside):
    outside.record()
    outside.publisher.publish()
    outside.witnessing.attend()
    note = outside.site.client.get("/log/checkpoint").content
    assert len(cosignatures(note, [outside.party.key])) == 1


def test_without_a_quorum_a_receipt_stays_logged(outside: Outside):
    index = outside.record()
    outside.publisher.publish()
    outside.witnessing.attend()
    stranger = replace(outside.party, key=outside.log_key)
    edge = replace(outside.site.edge, log_policy=policy_of(stranger, quorum=stranger.name))
    with TestClient(create_site(edge)) as client:
        answer = client.get(
            f"/api/receipts/{index}", headers={"Authorization": f"Bearer {outside.site.writer}"}
        )
    assert answer.json()["grade"] == "logged"


def test_a_program_sees_what_it_recorded_and_nothing_else(outside: Outside):
    index = outside.record()
    stranger = create_key(outside.site.edge.db, "other", [EVENTS_WRITE], at=outside.site.clock())
    assert outside.ask(index, stranger).status_code == 404
    assert outside.ask(10**9, stranger).status_code == 404
    assert outside.ask(0).status_code == 404


def test_a_reader_of_histories_sees_every_receipt(outside: Outside):
    index = outside.record()
    assert outside.ask(index, outside.site.reader).status_code == 200
    assert outside.ask(0, outside.site.reader).status_code == 200


def test_nobody_else_sees_a_receipt(outside: Outside):
    index = outside.record()
    other = create_key(outside.site.edge.db, "tiles", [LOG_READ], at=outside.site.clock())
    assert outside.ask(index, other).status_code == 403
    assert outside.site.client.get(f"/api/receipts/{index}").status_code == 401


@pytest.mark.parametrize("index", ["-1", "01", "1.5", "x", "9" * 30, "٣"])
def test_what_is_no_number_has_no_receipt(outside: Outside, index: str):
    assert outside.ask(index).status_code == 404


def test_a_late_witness_is_told_of_and_the_service_stays_ready(outside: Outside):
    away = replace(outside.party, url="http://127.0.0.1:9")
    attestation = Attestation(policy=policy_of(away))
    edge = outside.site.edge
    asked = Anchors(edge.db, edge.intake.store, [outside.log_key], attestation, now=outside.site.clock)
    outside.publisher.publish()
    asked.attend()
    assert outside.site.client.get("/readyz").json() == {"status": "ready"}
    for minutes, level in ((11, "late"), (24 * 60, "red")):
        outside.site.clock.advance(minutes=minutes)
        answer = outside.site.client.get("/readyz")
        assert answer.status_code == 200
        assert answer.json() == {"status": "ready", "outside": level, "silent": ["w1.example"]}
    assert outside.record("still") > 0


def test_a_rolled_back_ledger_is_not_ready_and_says_why(outside: Outside):
    index = outside.record()
    outside.site.edge.intake.store.guard.alarm("the database holds 3 entries, but the fence knows 9")
    answer = outside.site.client.get("/readyz")
    assert answer.status_code == 503
    assert "the fence knows 9" in answer.text
    assert outside.site.event("k9").status_code == 503
    assert outside.ask(index).status_code == 200
    assert outside.site.client.get("/healthz").status_code == 200


CONSENT = {
    "category": "consent.granted",
    "purpose": "marketing",
    "evidence": {
        "notice_sha256": "0" * 64,
        "notice_version": "2026-01",
        "control": "tick",
        "page_url": "https://shop.example/join",
    },
}


def told(site: Site, index: int, key: str | None = None) -> dict:
    headers = {"Authorization": f"Bearer {key or site.reader}"}
    answer = site.client.get(f"/api/receipts/{index}", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_receipt_of_a_withdrawal_names_the_consent_that_it_ended(site: Site):
    granted = site.event("k1", **CONSENT).json()["index"]
    ended = site.event("k2").json()["index"]
    found = told(site, ended)
    assert (found["event_type"], found["event_state"]) == ("withdrawn", "ConsentWithdrawn")
    assert (found["supersedes"], found["terminates"]) == ([granted], [granted])


def test_a_refusal_has_a_receipt_too(site: Site):
    index = site.event("k1", category="consent.refused", purpose="marketing").json()["index"]
    found = told(site, index)
    assert (found["event_state"], found["supersedes"]) == ("ConsentRefused", [])
    verify_receipt(found["receipt"].encode(), [site.edge.intake.keys.log.verifier])


def test_a_receipt_never_changes_and_says_where_the_status_is(site: Site):
    index = site.event("k1", **CONSENT).json()["index"]
    names = ("event_type", "event_state", "supersedes", "terminates", "corrects", "status_url")
    before = {name: told(site, index)[name] for name in names}
    site.event("k2")
    site.event("k3", **CONSENT)
    assert {name: told(site, index)[name] for name in names} == before
    assert before["status_url"].endswith("/api/standing")
    assert not any(word in name for name in told(site, index) for word in ("valid", "standing", "may_mail"))


def test_who_only_records_does_not_learn_from_a_receipt_that_somebody_was_known(site: Site):
    first = site.event("k1", **CONSENT).json()["index"]
    again = site.event("k2", **CONSENT).json()["index"]
    assert told(site, again)["event_state"] == "RenewedConsentGiven"
    hidden = ("event_state", "supersedes", "terminates", "corrects")
    mine = [{name: told(site, index, site.writer)[name] for name in hidden} for index in (first, again)]
    assert mine[0] == mine[1]

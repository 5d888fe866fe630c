"""The formats are frozen: what was written when they were, verifies and is written the same today."""

import base64
import json

import pytest

from service.ledger import bundle, entry
from service.ledger.merkle import Edge
from service.ledger.note import Verifier
from service.ledger.proof import verify_receipt
from service.ledger.verify import State, verify_bundle
from tests.vectors.freeze import PATH, formats

FROZEN = json.loads(PATH.read_text(encoding="utf-8"))
LOG = Verifier.from_vkey(FROZEN["log_vkey"])
INGEST = Verifier.from_vkey(FROZEN["ingest_vkey"])


@pytest.mark.parametrize("name", sorted(FROZEN))
def test_the_same_inputs_still_give_the_same_bytes(name):
    assert formats()[name] == FROZEN[name]


def test_nothing_is_written_that_is_not_frozen():
    assert formats().keys() == FROZEN.keys()


def test_frozen_entries_still_verify():
    genesis = entry.check(FROZEN["genesis_entry"].encode(), [INGEST])
    assert (genesis.extra["log"], genesis.extra["ingest"]) == (FROZEN["log_vkey"], [FROZEN["ingest_vkey"]])
    event = entry.check(FROZEN["event_entry"].encode(), [INGEST])
    opening = FROZEN["event_opening"]
    assert event.commitment == entry.commit(opening["fields"], base64.b64decode(opening["event_salt"]))


def test_a_frozen_receipt_still_verifies():
    verified = verify_receipt(FROZEN["receipt"].encode(), [LOG])
    assert verified.receipt.entry == FROZEN["event_entry"].encode()


def test_a_frozen_edge_is_still_read():
    assert Edge.from_bytes(base64.b64decode(FROZEN["edge_of_7"])).size == 7


def test_a_frozen_bundle_still_verifies():
    data = base64.b64decode(FROZEN["bundle"])
    assert verify_bundle(data, FROZEN["log_vkey"]).state is State.GOOD
    assert bundle.read(data).address == "ana@example.org"


def test_a_frozen_complete_bundle_is_still_shown_to_be_complete():
    verdict = verify_bundle(base64.b64decode(FROZEN["complete_bundle"]), FROZEN["log_vkey"])
    assert verdict.state is State.GOOD
    assert verdict.complete

"""Write formats.json: our own formats, frozen. Run it only to add a format, never to change one.

    python -m tests.vectors.freeze

What was signed once must verify for as long as anybody may ask, so a difference in an existing value
means that the code is wrong, not the file.
"""

import base64
import json
from pathlib import Path
from typing import Any

from service.ledger import bundle
from service.ledger.entry import Opening
from service.ledger.proof import Receipt, encode_proof
from tests.ledger import evidence

PATH = Path(__file__).with_name("formats.json")


def formats() -> dict[str, Any]:
    """Return each format as the code writes it today, from fixed inputs; binary values are base64."""
    whole = evidence.small()
    event = whole.items[2]
    receipt = Receipt(event.index, event.entry, event.proof, whole.checkpoint_note)
    opening = Opening(event_salt=evidence.SALT, fields=evidence.FIELDS)
    return {
        "about": "Formats of the consent ledger, frozen. All keys here are test keys.",
        "log_vkey": evidence.LOG.vkey,
        "ingest_vkey": evidence.INGEST.vkey,
        "genesis_entry": whole.items[0].entry.decode(),
        "event_entry": event.entry.decode(),
        "event_opening": {"event_salt": _text(opening.event_salt), "fields": opening.fields},
        "edge_of_7": _text(evidence.sequential(7).edge.to_bytes()),
        "receipt": encode_proof(receipt).decode(),
        "bundle": _text(bundle.write(whole, evidence.LOG)),
        "complete_bundle": _text(bundle.write(evidence.complete(), evidence.LOG)),
    }


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


if __name__ == "__main__":
    PATH.write_text(json.dumps(formats(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

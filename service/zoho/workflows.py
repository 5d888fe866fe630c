"""Triggering a workflow of Campaigns for many people at once: the one call that stops 200 (facts, section 2).

What the workflow does is drawn by an admin, and its answer tells only who entered: whether anybody was
stopped is read from the lists.
"""

from collections.abc import Sequence

import msgspec

from service.policy import Workflow
from service.reconciler.port import Triggered
from service.vault.address import fold
from service.zoho import envelopes
from service.zoho.listings import BASE
from service.zoho.transport import Call, Transport

MOST = 200
"""Addresses in one call."""
ENDPOINT = "workflow/action/trigger"
"""What windows and errors call it; the path names the workflow as well."""


def trigger(
    transport: Transport, workflow: Workflow, listkey: str | None, addresses: Sequence[str]
) -> Triggered:
    """Trigger the workflow for up to 200 addresses; raises `ZohoError` where Campaigns refuses all of them.

    Never repeated by itself: a second call names those who entered by the first as triggered already. After
    `Unreachable` nobody knows who was.
    """
    assert len(addresses) <= MOST
    details = {"lead_email": ",".join(addresses), "triggerkey": workflow.trigger_key}
    if listkey is not None:
        details["listkey"] = listkey
    answer = transport.send(
        Call(
            method="POST",
            path=f"{BASE}workflow/{workflow.key}/action/trigger",
            endpoint=ENDPOINT,
            form={"resfmt": "JSON", "details": msgspec.json.encode(details).decode()},
            repeatable=False,
        )
    )
    envelope = envelopes.read(answer, ENDPOINT)
    if not envelope.ok:
        raise envelopes.failure(envelope, ENDPOINT)
    return Triggered(
        code=envelope.code,
        answer_sha256=answer.sha256,
        already=_addresses(envelope.values.get("already_triggered")),
        ignored=_addresses(envelope.values.get("ignored")),
    )


def _addresses(found: object) -> frozenset[str]:
    """Return the addresses of an array, folded; also of text with commas, as they were sent."""
    told = found.split(",") if isinstance(found, str) else found if isinstance(found, list) else ()
    return frozenset(fold(str(one)) for one in told if str(one).strip())

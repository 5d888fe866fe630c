"""Campaigns' workflows that a call may trigger, and the subscription management they carry.

An admin draws them in the product, so here the control plane defines them; a contact enters once,
unless the workflow lets it in again. What the action does is seen on the lists, never in the answer.
"""

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from service.zoho.simulator import names, shelf
from service.zoho.simulator.campaigns import contacts, envelope
from service.zoho.simulator.campaigns.gate import required
from service.zoho.simulator.wire import AnswerError, Call, Reply, json_reply
from service.zoho.simulator.world import World

MOST = 200
"""Addresses in one call."""
KIND, ENTERED, WAITING = "campaigns_workflow", "campaigns_workflow_entered", "campaigns_workflow_waiting"


class Workflow(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A workflow that a call may trigger: its two keys and what its subscription management does.

    `unsubscribe` takes contacts off every list, `do_not_mail` out of everything, `non_marketing` changes
    nothing but the type; `listkey` narrows the workflow to members of one list; a `paused` one refuses.
    """

    key: str = names.STOP_WORKFLOW
    triggerkey: str = names.STOP_TRIGGER
    action: Literal["unsubscribe", "do_not_mail", "non_marketing", "nothing"] = "unsubscribe"
    listkey: str | None = None
    again: bool = False
    paused: bool = False


def control(world: World, call: Call) -> Reply:
    """Answer `/_control/campaigns/workflow`: all workflows; a POST defines one, over any of its key."""
    if call.method == "POST":
        workflow = msgspec.json.decode(call.body, type=Workflow)
        shelf.put(world.db, KIND, workflow.key, msgspec.to_builtins(workflow))
    return json_reply({"workflows": [body for _, body in shelf.every(world.db, KIND)]})


def trigger(world: World, call: Call) -> Reply:
    """Answer `workflow/{key}/action/trigger`: always JSON; who entered before and who cannot are named."""
    call = envelope.as_json(call)
    details = _details(world, call)
    emails = _emails(world, call, details)
    workflow = _workflow(world, call, details)
    listkey = details.get("listkey") or workflow.listkey
    if listkey is not None and contacts.list_id(world, str(listkey)) is None:
        raise envelope.failure(world, call, "2501", "Listkey is empty or invalid.")
    able = [email for email in emails if _may_enter(world, email, listkey)]
    before = [] if workflow.again else [email for email in able if _entered(world, workflow, email)]
    _enter(world, workflow, [email for email in able if email not in before])
    body: envelope.Json = {
        "code": "200",
        "already_triggered": before,
        "list_key": listkey,
        "ignored": [email for email in emails if email not in able],
    }
    return envelope.bare(world, call, body)


def settle(world: World) -> None:
    """Let the actions take effect that have waited as long as `campaigns.workflow_delay_s` says."""
    due = world.clock.seconds() - world.number("campaigns.workflow_delay_s")
    for key, waiting in shelf.every(world.db, WAITING):
        if waiting["at"] <= due:
            _act(world, waiting["action"], waiting["emails"])
            shelf.drop(world.db, WAITING, key)


def _act(world: World, action: str, emails: Iterable[str]) -> None:
    for email in emails:
        contact = contacts.find(world, email)
        if contact is None or action == "nothing":
            continue
        if action != "non_marketing":
            contacts.leave_lists(world, contact.id)
        if action == "do_not_mail" and contact.dnm is None:
            contacts.set_dnm(world, contact.id, "admin")
        contacts.opted_out(world, contact.id)


def _enter(world: World, workflow: Workflow, emails: list[str]) -> None:
    for email in emails:
        shelf.put(world.db, ENTERED, f"{workflow.key} {email}", {})
    waiting = {"at": world.clock.seconds(), "action": workflow.action, "emails": emails}
    shelf.put(world.db, WAITING, str(world.next_record_id()), waiting)


def _entered(world: World, workflow: Workflow, email: str) -> bool:
    return shelf.get(world.db, ENTERED, f"{workflow.key} {email}") is not None


def _may_enter(world: World, email: str, listkey: object) -> bool:
    """Return whether the address is known, and on the list if there is one."""
    contact = contacts.find(world, email)
    if contact is None or listkey is None:
        return contact is not None
    list_id = contacts.list_id(world, str(listkey))
    return list_id is not None and contacts.status_on(world, list_id, contact.id) is not None


def _emails(world: World, call: Call, details: dict[str, Any]) -> list[str]:
    emails = [email.strip().lower() for email in str(details.get("lead_email", "")).split(",")]
    emails = list(dict.fromkeys(email for email in emails if email))
    if not emails or len(emails) > MOST:
        raise _refusal(world, call, "9004", "The lead_email is missing or more than 200.")
    return emails


def _workflow(world: World, call: Call, details: dict[str, Any]) -> Workflow:
    kept = shelf.get(world.db, KIND, call.slots["key"])
    if kept is None:
        raise _refusal(world, call, "9002", "The workflow key is invalid.")
    workflow = msgspec.convert(kept, type=Workflow)
    if details.get("triggerkey") != workflow.triggerkey:
        raise _refusal(world, call, "9006", "The trigger key is invalid.")
    if workflow.paused:
        raise _refusal(world, call, "9007", "The workflow is not active.")
    return workflow


def _refusal(world: World, call: Call, code: str, message: str) -> AnswerError:
    """Return a refusal; which of the four codes means what is not published."""
    told = world.text("campaigns.workflow_codes")
    return envelope.failure(world, call, code if told == "apart" else told, message)


def _details(world: World, call: Call) -> dict[str, Any]:
    (text,) = required(world, call, "details")
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        raise envelope.failure(world, call, "1001", "Pattern doesn't match.") from None

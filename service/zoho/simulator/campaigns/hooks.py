"""Webhooks of the Email API: kept, listed, and posted to without any signature."""

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import msgspec

from service.zoho.simulator import shelf
from service.zoho.simulator.campaigns.email_gate import body_of, done, refuse
from service.zoho.simulator.crm.notify import send
from service.zoho.simulator.wire import Call, Reply
from service.zoho.simulator.world import World

KIND = "email_webhook"
LIMIT = 200
_ID = "transmission_id"
ACTIONS = ("email_delivered", "bounce", "spam", "email_open", "email_click", "unsubscribed")
Hook = dict[str, Any]


def every(world: World, call: Call) -> Reply:
    """Answer `GET /settings/webhook` and one of it; the total is 0 in the vendor's own sample."""
    wanted = call.slots.get("webhook_id")
    found = [hook for key, hook in shelf.every(world.db, KIND) if wanted in (None, key)]
    if wanted is not None and not found:
        raise refuse(world, 400205, "The webhook does not exist")
    total = 0 if world.text("emailapi.webhook_count") == "zero" else len(found)
    return done(
        200201,
        "Webhook details fetched successfully",
        from_index=0,
        total_webhook_count=total,
        webhook_list=found,
        limit=LIMIT,
    )


def create(world: World, call: Call) -> Reply:
    """Answer `POST /settings/webhook`."""
    body = body_of(world, call)
    _check(world, body)
    if any(hook["name"] == body["name"] for _, hook in shelf.every(world.db, KIND)):
        raise refuse(world, 400206, "The webhook's name exists already")
    key = str(1314909000000000000 + int(world.next_record_id()) % 10**12)
    shelf.put(world.db, KIND, key, {**body, "webhook_id": key})
    return done(200202, "Webhook added successfully", webhook_id=key)


def modify(world: World, call: Call) -> Reply:
    """Answer `PUT /settings/webhook/{webhook_id}`."""
    hook = _hook(world, call)
    merged = {**hook, **body_of(world, call), "webhook_id": hook["webhook_id"]}
    _check(world, merged)
    shelf.put(world.db, KIND, hook["webhook_id"], merged)
    return done(200203, "Webhook updated successfully", webhook_id=hook["webhook_id"])


def delete(world: World, call: Call) -> Reply:
    """Answer `DELETE /settings/webhook/{webhook_id}`."""
    hook = _hook(world, call)
    shelf.drop(world.db, KIND, hook["webhook_id"])
    return done(200204, "Webhook deleted successfully", webhook_id=hook["webhook_id"])


def post(world: World, action: str, data: list[dict[str, object]]) -> None:
    """Post events of one action to every webhook that wants them, all in one body."""
    if world.text("emailapi.transmission_id") == "number":
        data = [{**one, _ID: msgspec.Raw(str(one[_ID]).encode())} for one in data]
    for _, hook in shelf.every(world.db, KIND):
        if action in hook["webhook_actions"]:
            body: dict[str, object] = {
                "webhook_name": hook["name"],
                "webhook_id": hook["webhook_id"],
                "action": action,
            }
            if action == "unsubscribed":
                body |= {"actionType": "doNotMail", "action_by": "contact"}
            extra = hook.get("custom_data") or {}
            if extra.get("status"):
                body["custom_data"] = extra.get("data", {})
            send(world, "email webhook", hook["url"], {**body, "data": data}, _headers(world, hook))


def _check(world: World, body: Mapping[str, Any]) -> None:
    if not body.get("name") or not str(body.get("url", "")).startswith(("http://", "https://")):
        raise refuse(world, 400207, "The webhook's name or URL is missing or invalid")
    actions = body.get("webhook_actions")
    if not isinstance(actions, list) or not actions or not set(actions) <= set(ACTIONS):
        raise refuse(world, 400208, "The webhook's actions are invalid")


def _hook(world: World, call: Call) -> Hook:
    hook = shelf.get(world.db, KIND, call.slots["webhook_id"])
    if hook is None:
        raise refuse(world, 400205, "The webhook does not exist")
    return hook


def _headers(world: World, hook: Hook) -> dict[str, str]:
    custom = hook.get("custom_headers") or {}
    headers = (
        {str(k): str(v) for k, v in (custom.get("headers") or {}).items()} if custom.get("status") else {}
    )
    authorization = hook.get("authorization") or {}
    if authorization.get("auth_type") == "Auth Token":
        headers[world.text("emailapi.auth_header")] = str(authorization.get("auth_token"))
    if authorization.get("auth_type") == "Username":
        pair = f"{authorization.get('auth_username')}:{authorization.get('auth_password')}"
        headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
    return headers

"""Channels: who wants to hear of which events, until when, and at which address."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from service.zoho.simulator import shelf
from service.zoho.simulator.clock import iso, parse
from service.zoho.simulator.crm.fields import MODULE_IDS, MODULES
from service.zoho.simulator.crm.gate import error_item, problem
from service.zoho.simulator.crm.paging import PAGE, whole_number
from service.zoho.simulator.wire import Call, Reply, json_reply
from service.zoho.simulator.world import World

KIND = "watch"
MOST_CHANNELS = 100
MOST_FIELDS = 10
DEFAULT_LIFE_S = 3_600
DAY_S = 86_400
VERBS = ("create", "edit", "delete", "all")
SUBSCRIBED = "Successfully subscribed for actions-watch of the given module"
UPDATED = "Successfully updated the subscribe details"
REMOVED = "Successfully removed the subscribe details"
UNSUBSCRIBED = "Successfully un-subscribed from actions-watch"

Item = dict[str, object]
Channel = dict[str, Any]


def enable(world: World, call: Call) -> Reply:
    """Answer `POST /actions/watch`: 201 when every channel was taken."""
    return _each(world, call, lambda given: _subscribe(world, call, given), ok=201)


def replace(world: World, call: Call) -> Reply:
    """Answer `PUT /actions/watch`: a living channel is replaced as a whole."""
    return _each(
        world, call, lambda given: _dead(world, given) or _subscribe(world, call, given, UPDATED), ok=200
    )


def change(world: World, call: Call) -> Reply:
    """Answer `PATCH /actions/watch`: a living channel takes what is given, or loses events."""
    return _each(world, call, lambda given: _dead(world, given) or _patch(world, call, given), ok=200)


def details(world: World, call: Call) -> Reply:
    """Answer `GET /actions/watch`: one entry per channel and module; 204 when none."""
    if world.on("watch.details_need_channel") and "channel_id" not in call.query:
        message = "One of the expected parameter is missing"
        raise problem("REQUIRED_PARAM_MISSING", message, {"param_name": "channel_id"})
    found = [
        _entry(world, channel, module)
        for channel in living(world)
        for module in _modules(channel["events"])
        if call.query.get("channel_id", channel["channel_id"]) == channel["channel_id"]
        and call.query.get("module", module) == module
    ]
    per_page, page = whole_number(world, call, "per_page", PAGE), whole_number(world, call, "page", 1)
    shown = found[(page - 1) * per_page : page * per_page]
    if not shown:
        return Reply(status=204)
    more = len(found) > page * per_page
    info = {"per_page": per_page, "count": len(shown), "page": page, "more_records": more}
    return json_reply({"watch": shown, "info": info})


def disable(world: World, call: Call) -> Reply:
    """Answer `DELETE /actions/watch?channel_ids=a,b`."""
    ids = [part for part in call.query.get("channel_ids", "").split(",") if part]
    if not ids:
        message = "One of the expected parameter is missing"
        raise problem("REQUIRED_PARAM_MISSING", message, {"param_name": "channel_ids"})
    return _answer(world, [_unsubscribe(world, channel_id) for channel_id in ids], ok=200)


def living(world: World) -> list[Channel]:
    """Return the channels that have not expired; the others are forgotten."""
    now = world.clock.seconds()
    channels = [channel for _, channel in shelf.every(world.db, KIND)]
    for channel in channels:
        if channel["expires_at"] <= now:
            shelf.drop(world.db, KIND, channel["channel_id"])
    return [channel for channel in channels if channel["expires_at"] > now]


def _each(world: World, call: Call, one: Callable[[Channel], Item], *, ok: int) -> Reply:
    try:
        given = msgspec.json.decode(call.body)["watch"]
    except (msgspec.DecodeError, LookupError, TypeError):
        raise problem("MANDATORY_NOT_FOUND", "required field not found", {"api_name": "watch"}) from None
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise problem(
            "INVALID_DATA", "invalid data", {"api_name": "watch", "expected_data_type": "jsonarray"}
        )
    if len(given) > MOST_CHANNELS:
        raise problem("LIMIT_EXCEEDED", "limit exceeded", {"api_name": "watch", "limit": MOST_CHANNELS})
    return _answer(world, [one(channel) for channel in given], ok=ok)


def _answer(world: World, items: list[Item], *, ok: int) -> Reply:
    good = sum(item["code"] == "SUCCESS" for item in items)
    mixed = 207 if world.text("watch.mixed_status") == "207" else 202
    status = ok if good == len(items) else mixed if good else 400
    return json_reply({"watch": items}, status=status)


def _subscribe(world: World, call: Call, given: Channel, message: str = SUBSCRIBED) -> Item:
    if error := _refusal(world, given):
        return error
    channel = {
        "notify_on_related_action": True,
        "return_affected_field_values": False,
        "notification_condition": None,
        "token": None,
        **{name: value for name, value in given.items() if name in _KEPT},
        "channel_id": str(given["channel_id"]),
        "expires_at": _expiry(world, given),
        "base_url": call.base_url,
    }
    shelf.put(world.db, KIND, channel["channel_id"], channel)
    return _success(message, [_event(world, channel, module) for module in _modules(channel["events"])])


_KEPT = (
    "events",
    "notify_url",
    "token",
    "return_affected_field_values",
    "notify_on_related_action",
    "notification_condition",
)


def _patch(world: World, call: Call, given: Channel) -> Item:
    channel = shelf.get(world.db, KIND, str(given["channel_id"]))
    assert channel is not None, "a dead channel has been answered already"
    if given.get("_delete_events"):
        gone = set(given.get("events") or channel["events"])
        left = [event for event in channel["events"] if event not in gone]
        if left:
            shelf.put(world.db, KIND, channel["channel_id"], {**channel, "events": left})
        else:
            shelf.drop(world.db, KIND, channel["channel_id"])
        return _success(REMOVED, [_event(world, channel, module) for module in _modules(sorted(gone))])
    merged = {**channel, **given}
    if "channel_expiry" not in given:
        merged["channel_expiry"] = iso(channel["expires_at"])
    return _subscribe(world, call, merged, UPDATED)


def _unsubscribe(world: World, channel_id: str) -> Item:
    if error := _dead(world, {"channel_id": channel_id}):
        return error
    channel = shelf.get(world.db, KIND, channel_id)
    assert channel is not None, "a dead channel has been answered already"
    shelf.drop(world.db, KIND, channel_id)
    keys = ("resource_uri", "resource_id", "resource_name", "channel_id")
    events = [_event(world, channel, module) for module in _modules(channel["events"])]
    return _success(UNSUBSCRIBED, [{key: event[key] for key in keys} for event in events])


def _dead(world: World, given: Mapping[str, Any]) -> Item | None:
    alive = {channel["channel_id"] for channel in living(world)}
    if str(given.get("channel_id")) in alive:
        return None
    return error_item("NOT_SUBSCRIBED", "Not subscribed for actions-watch of the given channel")


def _refusal(world: World, given: Channel) -> Item | None:
    for name in ("channel_id", "events", "notify_url"):
        if not given.get(name):
            return error_item("MANDATORY_NOT_FOUND", "required field not found", {"api_name": name})
    if not str(given["channel_id"]).isdigit():
        return error_item("INVALID_DATA", "invalid data", {"api_name": "channel_id"})
    if not str(given["notify_url"]).startswith(("http://", "https://")):
        return error_item("INVALID_DATA", "invalid data", {"api_name": "notify_url"})
    if not all(_is_event(event) for event in given["events"]):
        return error_item("INVALID_DATA", "invalid data", {"api_name": "events"})
    longest = world.number("watch.token_length")
    if len(given.get("token") or "") > longest:
        return error_item("INVALID_DATA", "invalid data", {"api_name": "token", "maximum_length": longest})
    for condition in given.get("notification_condition") or ():
        if len(condition_fields(condition)) > MOST_FIELDS:
            return error_item("LIMIT_EXCEEDED", "limit exceeded", {"api_name": "field_selection"})
    return None


def condition_fields(condition: Mapping[str, Any]) -> list[str]:
    """Return the names of the fields that a condition selects."""
    selection = condition.get("field_selection") or {}
    nodes = selection.get("group") or [selection]
    return [str(node["field"]["api_name"]) for node in nodes if isinstance(node.get("field"), dict)]


def _is_event(event: object) -> bool:
    module, _, verb = str(event).partition(".")
    return module in MODULES and verb in VERBS


def _expiry(world: World, given: Channel) -> int:
    """Return when the channel ends: missing or too far away means one hour from now."""
    now = world.clock.seconds()
    asked = parse(str(given.get("channel_expiry") or ""))
    latest = now + world.number("watch.longest_days") * DAY_S
    return asked if asked is not None and now < asked <= latest else now + DEFAULT_LIFE_S


def _modules(events: list[str]) -> list[str]:
    return list(dict.fromkeys(event.partition(".")[0] for event in events))


def _event(world: World, channel: Channel, module: str) -> Item:
    return {
        "channel_expiry": iso(channel["expires_at"]),
        "resource_uri": resource_uri(world, channel, module),
        "resource_id": MODULE_IDS[module],
        "resource_name": module,
        "channel_id": channel["channel_id"],
    }


def resource_uri(world: World, channel: Channel, module: str) -> str:
    """Return the address of a module as notifications spell it: version 2, whatever was called."""
    return f"{channel['base_url']}/crm/{world.text('watch.resource_version')}/{module}"


def _entry(world: World, channel: Channel, module: str) -> Item:
    return {
        "notify_on_related_action": channel["notify_on_related_action"],
        "channel_expiry": iso(channel["expires_at"]),
        "return_affected_field_values": channel["return_affected_field_values"],
        "resource_uri": resource_uri(world, channel, module),
        "resource_id": MODULE_IDS[module],
        "notify_url": channel["notify_url"],
        "resource_name": module,
        "fields": None,
        "notification_condition": channel["notification_condition"],
        "channel_id": channel["channel_id"],
        "events": [event for event in channel["events"] if event.startswith(f"{module}.")],
        "token": channel["token"],
    }


def _success(message: str, events: list[Item]) -> Item:
    return {"code": "SUCCESS", "details": {"events": events}, "message": message, "status": "success"}

"""Notifications: the news of one call become POSTs to the channels that watch, not always once."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from urllib.parse import parse_qsl, urlsplit

from service.zoho.simulator.crm.records import API_USER
from service.zoho.simulator.crm.rows import user_objects
from service.zoho.simulator.crm.watch import Channel, condition_fields, living, resource_uri
from service.zoho.simulator.news import News, Operation
from service.zoho.simulator.outbox import Delivery
from service.zoho.simulator.world import World

_VERBS: dict[Operation, str] = {"insert": "create", "update": "edit", "delete": "delete"}
BATCH = 100
"""Records that one notification names at most."""


def tell(world: World, news: Iterable[News]) -> None:
    """Queue what the channels hear of the news, in the order in which they happened."""
    news = list(news)
    if not news:
        return
    channels = living(world)
    for (module, operation), group in groupby(news, key=lambda one: (one.module, one.operation)):
        happened = list(group)
        for channel in channels:
            _tell_channel(world, channel, module, operation, happened)


def release(world: World) -> None:
    """Post a notification that was held back to come out of order, if nothing has overtaken it meanwhile."""
    held = world.outbox.held
    if held is not None and world.clock.now() >= held.due:
        world.outbox.held = None
        world.outbox.waiting.append(held.delivery)


def _tell_channel(
    world: World, channel: Channel, module: str, operation: Operation, happened: list[News]
) -> None:
    if not {f"{module}.{_VERBS[operation]}", f"{module}.all"} & set(channel["events"]):
        return
    wanted = [one for one in happened if _passes(channel, one)]
    for batch in _batches(wanted):
        send(world, "notification", channel["notify_url"], _body(world, channel, batch))


def _passes(channel: Channel, one: News) -> bool:
    """Return whether the channel's condition, which is about changed fields, lets an update through."""
    conditions = [
        condition
        for condition in channel["notification_condition"] or ()
        if (condition.get("module") or {}).get("api_name", one.module) == one.module
    ]
    if not conditions or one.operation != "update":
        return True
    return any(set(condition_fields(condition)) & set(one.values) for condition in conditions)


def _batches(news: list[News]) -> Iterator[list[News]]:
    for start in range(0, len(news), BATCH):
        yield news[start : start + BATCH]


def _body(world: World, channel: Channel, batch: list[News]) -> dict[str, object]:
    module, operation = batch[0].module, batch[0].operation
    values = {str(one.record_id): _values(world, one) for one in batch}
    body: dict[str, object] = {"server_time": int(world.clock.now() * 1000)}
    if channel["return_affected_field_values"] and operation != "insert":
        body["affected_values"] = [{"record_id": key, "values": value} for key, value in values.items()]
    return body | {
        "query_params": dict(parse_qsl(urlsplit(channel["notify_url"]).query)),
        "module": module,
        "resource_uri": resource_uri(world, channel, module),
        "ids": list(values),
        "affected_fields": [{key: list(value)} for key, value in values.items() if value],
        "operation": operation,
        "channel_id": channel["channel_id"],
        "token": channel["token"],
    }


def _values(world: World, one: News) -> dict[str, object]:
    if one.operation == "delete":
        return {
            "Modified_By": user_objects(world.db).get(one.user, {"id": str(API_USER)}),
            "Record_Status__s": 0,
        }
    return one.values


def send(
    world: World, kind: str, url: str, body: dict[str, object], headers: Mapping[str, str] | None = None
) -> None:
    """Queue one notification, or none, or two, or a late one, as the switches say."""
    world.outbox.notified += 1
    count = world.outbox.notified
    if _every(world, "watch.lose_every", count):
        return
    copies = 2 if _every(world, "watch.duplicate_every", count) else 1
    for _ in range(copies):
        delivery = world.outbox.post(kind, url, body, headers)
        delivery.retries = world.number("watch.retries")
        delivery.delay_s = world.number("watch.delay_ms") / 1000
    if world.on("watch.reorder"):
        _hold(world)


def _every(world: World, switch: str, count: int) -> bool:
    return world.number(switch) > 0 and count % world.number(switch) == 0


def _hold(world: World) -> None:
    """Hold the newest delivery back, or let the one that was held follow it."""
    outbox = world.outbox
    newest: Delivery = outbox.waiting.pop()
    if outbox.held is None:
        outbox.hold(newest, until=world.clock.now() + 1.0)
        return
    outbox.waiting.extend((newest, outbox.held.delivery))
    outbox.held = None

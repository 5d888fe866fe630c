"""Campaigns' door: token and scope (the only honest 401s), then the endpoint's own call windows."""

import re

import msgspec

from service.zoho.simulator.campaigns import envelope
from service.zoho.simulator.tokens import covers
from service.zoho.simulator.wire import Call, Endpoint, Reply, template, told_when
from service.zoho.simulator.world import World

FIRST_PAGE = 20


def answer(world: World, endpoint: Endpoint, call: Call) -> Reply:
    """Answer one Campaigns call."""
    name = template(endpoint)
    world.meter.count("campaigns", f"{call.method} {name}")
    now = world.clock.now()
    grant = world.tokens.grant(
        call.headers.get("authorization", ""),
        bearer=world.on("oauth.bearer"),
        now=now,
        centre=world.centre_at(call.base_url),
    )
    if grant is None or not covers(grant.scopes, endpoint.scope):
        return envelope.unauthorized(call)
    factor = world.number("campaigns.window_factor")
    if endpoint.windows and not world.meter.admit(name, endpoint.windows, factor=factor, now=now):
        return told_when(world, envelope.locked(world, call))
    return endpoint.handle(world, call)


def required(world: World, call: Call, *names: str) -> list[str]:
    """Return the values of mandatory parameters; a missing one is 903, as is everything in a JSON body."""
    params = call.params
    if not all(params.get(name) for name in names):
        raise envelope.failure(world, call, "903", "Mandatory fields are missing.")
    return [params[name] for name in names]


def named(text: str) -> object:
    """Return what a parameter's JSON holds, or its pairs where it is `{Label:value,Label:value}`."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return dict(re.findall(r"\s*([^:{},]+?)\s*:\s*([^,{}]*)", text))


def window(world: World, call: Call, *, most: int) -> tuple[int, int]:
    """Return `fromindex` (1-based) and `range`; a range above `most` is cut, or 6502 by switch."""
    params = call.params
    texts = params.get("fromindex") or "1", params.get("range") or str(FIRST_PAGE)
    if not all(text.isdigit() for text in texts):
        raise envelope.failure(world, call, "1005", "Wrong data type.")
    start, count = max(1, int(texts[0])), max(1, int(texts[1]))
    most = min(most, world.number("campaigns.largest_range"))
    if count > most and world.text("campaigns.range_over_max") == "6502":
        raise envelope.failure(world, call, "6502", "The given limit is over the maximum.")
    return start, min(count, most)

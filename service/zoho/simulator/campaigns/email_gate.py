"""The Email API's door: a key of its own in v2, a token in v1; and its numeric answers."""

from collections.abc import Mapping
from typing import Any

import msgspec

from service.zoho.simulator import names
from service.zoho.simulator.tokens import covers
from service.zoho.simulator.wire import AnswerError, Call, Endpoint, Reply, json_reply, template
from service.zoho.simulator.world import World

SCOPE = "ZohoCampaigns.emailapi.ALL"
MINUTE_S = 60


def answer(world: World, endpoint: Endpoint, call: Call) -> Reply:
    """Answer one call: 409903 without a key, 409907 with a wrong one, 409909 above the rate."""
    world.meter.count("emailapi", f"{call.method} {template(endpoint)}")
    header = call.headers.get("authorization", "")
    if not header:
        raise refuse(world, 409903, "The token is missing", status=401)
    if not _opens(world, call, header):
        raise refuse(world, 409907, "The token is invalid", status=401)
    limit, now = world.number("emailapi.calls_per_min"), world.clock.now()
    if limit and not world.meter.within("emailapi", limit, MINUTE_S, now=now):
        raise refuse(world, 409909, "Rate limit exceeded", status=429)
    return endpoint.handle(world, call)


def refuse(world: World, code: int, message: str, *, status: int = 400) -> AnswerError:
    """Return the exception that ends a call; whether the HTTP status tells of it is a switch."""
    honest = world.text("emailapi.error_status") == "http"
    return AnswerError(
        json_reply({"errors": [{"code": code, "message": message}]}, status=status if honest else 200)
    )


def done(code: int, message: str, **more: object) -> Reply:
    """Return a success around what the endpoint has to say."""
    return json_reply({**more, "response": {"code": code, "message": message}})


def body_of(world: World, call: Call) -> Mapping[str, Any]:
    """Return the JSON object of a call."""
    try:
        return msgspec.json.decode(call.body, type=dict[str, Any])
    except msgspec.DecodeError:
        raise refuse(world, 400204, "The request body is not JSON") from None


def _opens(world: World, call: Call, header: str) -> bool:
    if call.path.startswith("/emailapi/v2/"):
        return header == f"Zoho-zapikey {names.ZAPIKEY}"
    centre = world.centre_at(call.base_url)
    grant = world.tokens.grant(header, bearer=world.on("oauth.bearer"), now=world.clock.now(), centre=centre)
    return grant is not None and covers(grant.scopes, SCOPE)

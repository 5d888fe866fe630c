"""Requests and answers as plain values, and the table rows that Litestar serves.

Zoho's habits (errors under HTTP 200, merged parameters, several envelopes) fit no framework's
defaults, so a handler takes a `Call` and returns a `Reply` of exact bytes.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from litestar import Request, Response
from litestar.handlers import HTTPRouteHandler, route
from litestar.response import Stream
from litestar.types import Method

from service.zoho.simulator.meter import Window
from service.zoho.simulator.world import World

JSON = "application/json;charset=UTF-8"
XML = "text/xml"
FORM = "application/x-www-form-urlencoded"
WORLD = "simulated_world"
"""The key in a request's scope under which it finds the organisation it is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request: `query` and `form` keep the last value of each name, `slots` the path's parameters.

    `crowded` says that it came while too many others were being served.
    """

    method: str
    path: str
    base_url: str
    query: Mapping[str, str]
    form: Mapping[str, str]
    slots: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    crowded: bool = False

    @property
    def params(self) -> dict[str, str]:
        """Return query and form as one, as Campaigns and the token endpoint read them."""
        return {**self.query, **self.form}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer, byte for byte; `chunks` stands for a body that is sent piece by piece."""

    status: int = 200
    body: bytes = b""
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    chunks: AsyncIterator[bytes] | None = None


class AnswerError(Exception):
    """A handler that is done early: Zoho's own refusal, which is no error of ours."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"answered {reply.status}")
        self.reply = reply


Handler = Callable[[World, Call], Reply]


def one_credit(_call: Call) -> int:
    """Return the cost of most CRM calls."""
    return 1


def nothing_more(_call: Call) -> str:
    """Return that a call needs no scope beside its endpoint's."""
    return ""


def light(_call: Call) -> bool:
    """Return that a call does not count against the smaller concurrency limit."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One row of a surface: `path` in Litestar's notation, `scope` with `{module}` where the path decides.

    A scope that begins with `@` names the switch that says it. `credits` is CRM's price of a call, or
    the name of the switch that says it; `heavy` whether it shares the smaller concurrency limit; `windows`
    are Campaigns' call limits; each product reads its own.
    """

    methods: Sequence[Method]
    path: str
    handle: Handler
    scope: str = ""
    credits: Callable[[Call], int] | str = one_credit
    heavy: Callable[[Call], bool] = light
    windows: tuple[Window, ...] = ()
    more_scopes: Callable[[Call], str] = nothing_more
    """Scopes that the body decides about, apart by spaces."""
    body: type[msgspec.Struct] | None = None


def price(world: World, endpoint: Endpoint, call: Call) -> int:
    """Return the credits of a call."""
    return world.number(endpoint.credits) if isinstance(endpoint.credits, str) else endpoint.credits(call)


Answer = Callable[[World, Endpoint, Call], Reply]
"""A product's gate: who may call, what it costs, then the endpoint's handler."""


def json_reply(payload: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Return `payload` as compact JSON, keys in the order given."""
    return Reply(status=status, body=msgspec.json.encode(payload), headers=headers or {})


def told_when(world: World, reply: Reply) -> Reply:
    """Return a refusal for too many calls, with `Retry-After` where the switch names its seconds."""
    seconds = world.number("throttle.retry_after")
    return replace(reply, headers={**reply.headers, "Retry-After": str(seconds)}) if seconds else reply


def template(endpoint: Endpoint) -> str:
    """Return the endpoint's name in the meter: `/crm/v8/{module}`."""
    return re.sub(r":\w+", "", endpoint.path)


def serve(endpoint: Endpoint, answer: Answer, after: Callable[[World], None]) -> HTTPRouteHandler:
    """Return the Litestar handler that reads a call, passes the product's gate and writes its reply.

    The world it answers for stands in the request's scope, under `WORLD`. `after` runs when a call is
    done, with whatever it left in the world for others to hear.
    """

    async def handler(request: Request[Any, Any, Any]) -> Response[Any]:
        world: World = request.scope[WORLD]  # type: ignore[literal-required]  # `app_of` put it there
        call = await read(request)
        before = world.meter.credits
        if not endpoint.path.startswith("/crm/"):
            reply = _reply(endpoint, answer, world, call)
        else:
            reply = await _in_the_crowd(endpoint, answer, world, call)
        if not endpoint.path.startswith("/_control"):
            spent = world.meter.credits - before
            world.requests.append((world.clock.now(), call.method, call.path, reply.status, spent))
        after(world)
        return write(reply, world)

    methods = list(endpoint.methods)
    return route(endpoint.path, http_method=methods, status_code=200, include_in_schema=False)(handler)


async def _in_the_crowd(endpoint: Endpoint, answer: Answer, world: World, call: Call) -> Reply:
    """Serve a CRM call, which counts as concurrent for as long as the simulated latency lasts."""
    limits = world.number("crm.concurrent_calls"), world.number("crm.sub_concurrent_calls")
    heavy = endpoint.heavy(call)
    with world.crowd.enter(heavy=heavy, limit=limits[0], heavy_limit=limits[1]) as crowded:
        if latency_ms := world.number("crm.latency_ms"):
            await asyncio.sleep(latency_ms / 1000)
        return _reply(endpoint, answer, world, replace(call, crowded=crowded))


def _reply(endpoint: Endpoint, answer: Answer, world: World, call: Call) -> Reply:
    try:
        return answer(world, endpoint, call)
    except AnswerError as early:
        return early.reply


async def read(request: Request[Any, Any, Any]) -> Call:
    """Return the request as a `Call`; a form body is read whatever else the request says."""
    body = await request.body()
    is_form = request.headers.get("content-type", "").split(";")[0].strip().lower() == FORM
    host, port = request.scope["server"] or ("127.0.0.1", 80)
    return Call(
        method=request.method,
        path=request.url.path,
        base_url=f"http://{host}:{port}",
        query=dict(_pairs(request.scope["query_string"])),
        form=dict(_pairs(body)) if is_form else {},
        slots={name: str(value) for name, value in request.path_params.items()},
        headers=request.headers,
        body=body,
    )


def write(reply: Reply, world: World) -> Response[Any]:
    """Return the reply as Litestar sends it, with the organisation's own time; 204 and 304 without a body."""
    headers = {"Date": formatdate(world.clock.seconds(), usegmt=True), **reply.headers}
    if reply.chunks is not None:
        return Stream(
            reply.chunks,
            status_code=reply.status,
            media_type=reply.media_type,
            headers=headers,
        )
    return Response(
        content=reply.body,
        status_code=reply.status,
        media_type=reply.media_type,
        headers=headers,
    )


def _pairs(raw: bytes) -> list[tuple[str, str]]:
    return parse_qsl(raw.decode("utf-8", "replace"), keep_blank_values=True)

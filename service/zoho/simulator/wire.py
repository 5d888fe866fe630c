"""Requests and answers as plain values, and the table rows that Litestar serves.

Zoho's habits (errors under HTTP 200, merged parameters, several envelopes) fit no framework's
defaults, so a handler takes a `Call` and returns a `Reply` of exact bytes.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from litestar import Request, Response
from litestar.handlers import HTTPRouteHandler, route
from litestar.types import Method

from service.zoho.simulator.meter import Window
from service.zoho.simulator.world import World

JSON = "application/json;charset=UTF-8"
XML = "text/xml"
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request: `query` and `form` keep the last value of each name, `slots` the path's parameters."""

    method: str
    path: str
    base_url: str
    query: Mapping[str, str]
    form: Mapping[str, str]
    slots: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def params(self) -> dict[str, str]:
        """Return query and form as one, as Campaigns and the token endpoint read them."""
        return {**self.query, **self.form}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer, byte for byte."""

    status: int = 200
    body: bytes = b""
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


class AnswerError(Exception):
    """A handler that is done early: Zoho's own refusal, which is no error of ours."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"answered {reply.status}")
        self.reply = reply


Handler = Callable[[World, Call], Reply]


def one_credit(_call: Call) -> int:
    """Return the cost of most CRM calls."""
    return 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One row of a surface: `path` in Litestar's notation, `scope` with `{module}` where the path decides.

    `credits` is CRM's price of a call, `windows` are Campaigns' call limits; each product reads its own.
    """

    methods: Sequence[Method]
    path: str
    handle: Handler
    scope: str = ""
    credits: Callable[[Call], int] = one_credit
    windows: tuple[Window, ...] = ()


Answer = Callable[[World, Endpoint, Call], Reply]
"""A product's gate: who may call, what it costs, then the endpoint's handler."""


def json_reply(payload: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Return `payload` as compact JSON, keys in the order given."""
    return Reply(status=status, body=msgspec.json.encode(payload), headers=headers or {})


def template(endpoint: Endpoint) -> str:
    """Return the endpoint's name in the meter: `/crm/v8/{module}`."""
    return re.sub(r":\w+", "", endpoint.path)


def serve(endpoint: Endpoint, answer: Answer, world: World) -> HTTPRouteHandler:
    """Return the Litestar handler that reads a call, passes the product's gate and writes its reply."""

    async def handler(request: Request[Any, Any, Any]) -> Response[bytes]:
        call = await read(request)
        try:
            reply = answer(world, endpoint, call)
        except AnswerError as early:
            reply = early.reply
        return write(reply)

    methods = list(endpoint.methods)
    return route(endpoint.path, http_method=methods, status_code=200, include_in_schema=False)(handler)


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


def write(reply: Reply) -> Response[bytes]:
    """Return the reply as Litestar sends it; 204 and 304 go without a body and a type."""
    return Response(
        content=reply.body,
        status_code=reply.status,
        media_type=reply.media_type,
        headers=dict(reply.headers),
    )


def _pairs(raw: bytes) -> list[tuple[str, str]]:
    return parse_qsl(raw.decode("utf-8", "replace"), keep_blank_values=True)

"""The short way from the server to `POST /api/events` and back, past the framework.

Routing, request and response objects of the framework cost three times what recording an event does.
What is read and answered is the same: `events.take_events`, the problems, the headers that protect.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, Final, TypeAlias

from service.errors import Malformed, ServiceError
from service.web.edge import Edge
from service.web.events import take_events
from service.web.headers import shielded
from service.web.problems import document, note

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_JSON: Final = {"Content-Type": "application/json"}


class Shortcut:
    """An ASGI application that answers one address."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._shields = {scheme: shielded(scheme) for scheme in ("http", "https")}

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Record what the request tells, and answer with a receipt or a problem."""
        status, headers, body = await self._answer(Request(scope, receive))
        told = [
            *((name.lower().encode(), value.encode()) for name, value in headers.items()),
            (b"content-length", b"%d" % len(body)),
            *self._shields[scope["scheme"]],
        ]
        await send({"type": "http.response.start", "status": status, "headers": told})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _answer(self, request: "Request") -> tuple[int, dict[str, str], bytes]:
        try:
            status, body = await take_events(request, self._edge)
        except ServiceError as error:
            return document(error)
        except Exception as error:  # noqa: BLE001  # the framework does the same for every other address
            note(error)
            return document(ServiceError())
        return status, _JSON, body


class Request:
    """A request as ASGI hands it over; `strict.Asked`."""

    __slots__ = ("_receive", "headers")

    def __init__(self, scope: Mapping[str, Any], receive: Receive) -> None:
        self.headers = Fields(scope["headers"])
        self._receive = receive

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield the body in parts; `Malformed` if the caller hangs up before its end."""
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Malformed("the body ended before its end; send it again")
            yield message["body"]
            more = message.get("more_body", False)


class Fields:
    """Header fields by their lower-case names, each as often as it was sent."""

    __slots__ = ("_found",)

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._found: dict[bytes, list[str]] = {}
        for name, value in raw:
            self._found.setdefault(name, []).append(value.decode("latin-1"))

    def get(self, name: str, default: str, /) -> str:
        """Return the first field of this name."""
        return self._found.get(name.encode(), [default])[0]

    def getall(self, name: str, default: list[str], /) -> list[str]:
        """Return all fields of this name."""
        return self._found.get(name.encode(), default)

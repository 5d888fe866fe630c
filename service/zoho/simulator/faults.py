"""Broken answers on demand: a connection that dies before or after the work, or a status from the edge."""

from dataclasses import dataclass, field
from typing import Any

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

HOWS = ("drop_before", "drop_after", "status")


@dataclass(slots=True, kw_only=True)
class Fault:
    """What happens to the next `times` requests whose `METHOD /path` begins with `match`."""

    match: str
    how: str
    times: int = 1
    status: int = 503
    body: str = ""


@dataclass(slots=True)
class Faults:
    """The faults that wait for their request, first come first served."""

    waiting: list[Fault] = field(default_factory=list)

    def take(self, line: str) -> Fault | None:
        """Return the first fault that matches `METHOD /path`, and count it."""
        for fault in self.waiting:
            if line.startswith(fault.match):
                fault.times -= 1
                if fault.times <= 0:
                    self.waiting.remove(fault)
                return fault
        return None


class FaultInjector:
    """ASGI middleware that plays the faults; the control plane itself never breaks."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self.app = app
        self.faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request, or break it as the next matching fault says."""
        fault = self._fault(scope)
        if fault is None:
            await self.app(scope, receive, send)
        elif fault.how == "status":
            await _answer(send, fault)
        else:
            if fault.how == "drop_after":
                await self.app(scope, receive, _swallow)
            await _drop(send)

    def _fault(self, scope: Scope) -> Fault | None:
        if scope["type"] != ScopeType.HTTP or scope["path"].startswith("/_control"):
            return None
        return self.faults.take(f"{scope['method']} {scope['path']}")


async def _swallow(_message: Any) -> None:  # noqa: ANN401 - any ASGI message; none of them leaves
    """Take an answer that nobody will ever see."""


async def _answer(send: Send, fault: Fault) -> None:
    body = fault.body.encode()
    kind = b"application/json" if fault.body.startswith("{") else b"text/html"
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": fault.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _drop(send: Send) -> None:
    """Promise a body and return without it: the server closes the connection in mid-answer."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})

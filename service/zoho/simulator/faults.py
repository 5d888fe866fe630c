"""Broken answers on demand: a connection that dies before or after the work, half an answer."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

REMEMBERED = 300
"""Requests that the control plane can still show."""


@dataclass(slots=True, kw_only=True)
class Fault:
    """What happens to the next `times` requests whose `METHOD /path` begins with `match`."""

    match: str
    how: str
    times: int = 1
    status: int = 503
    body: str = ""
    retry_after: str = ""
    latency_ms: int = 0


class Trouble(Protocol):
    """Something that decides about each call whether it goes wrong."""

    def fault(self, path: str) -> Fault | None:
        """Return what goes wrong with this call, None for nothing."""


@dataclass(slots=True)
class Faults:
    """The faults that wait for their request, first come first served; and a profile that never runs out."""

    waiting: list[Fault] = field(default_factory=list)
    chaos: Trouble | None = None
    tell: Callable[[str, str, str], None] = lambda _method, _path, _outcome: None

    def take(self, method: str, path: str) -> Fault | None:
        """Return the first fault that matches `METHOD /path`, and count it."""
        for fault in self.waiting:
            if f"{method} {path}".startswith(fault.match):
                fault.times -= 1
                if fault.times <= 0:
                    self.waiting.remove(fault)
                return fault
        return None if self.chaos is None else self.chaos.fault(path)

    def clear(self) -> None:
        """Forget all that waits, and the profile."""
        self.waiting.clear()
        self.chaos = None


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
            return
        if scope["type"] == ScopeType.HTTP:
            self.faults.tell(scope["method"], scope["path"], fault.how)
        match fault.how:
            case "status":
                await _answer(send, fault)
            case "latency":
                await asyncio.sleep(fault.latency_ms / 1000)
                await self.app(scope, receive, send)
            case "drop_before":
                await _drop(send)
            case "reset":
                await _reset(send)
            case "drop_after":
                await self.app(scope, receive, _swallow)
                await _drop(send)
            case _:
                whole = _Whole()
                await self.app(scope, receive, whole)
                await whole.send(send, fault.how)

    def _fault(self, scope: Scope) -> Fault | None:
        if scope["type"] != ScopeType.HTTP or scope["path"].startswith("/_control"):
            return None
        return self.faults.take(scope["method"], scope["path"])


class _Whole:
    """Takes a whole answer, to send it changed or in half."""

    def __init__(self) -> None:
        self.start: dict[str, Any] = {}
        self.body = b""

    async def __call__(self, message: Any) -> None:  # noqa: ANN401 - any ASGI message
        if message["type"] == "http.response.start":
            self.start = dict(message)
        else:
            self.body += message.get("body", b"")

    async def send(self, send: Send, how: str) -> None:
        """Send the first half and no more, or all of it with other codes or keys."""
        body = self.body if how == "truncate" else _rewritten(self.body, how)
        headers = [(k, v) for k, v in self.start["headers"] if k.lower() != b"content-length"]
        if body:
            headers.append((b"content-length", str(len(body)).encode()))
        start: Any = {**self.start, "headers": headers}
        await send(start)
        if how == "truncate" and len(body) > 1:
            await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
            return
        await send({"type": "http.response.body", "body": body, "more_body": False})


def _rewritten(body: bytes, how: str) -> bytes:
    """Return a JSON object with its `code` of the other type, its keys capitalised, or too few rows."""
    try:
        answer = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError:
        return body
    if how == "short":
        return msgspec.json.encode(_shortened(answer))
    if how == "codes" and str(answer.get("code", "")).isdigit():
        code = answer["code"]
        answer["code"] = int(code) if isinstance(code, str) else str(code)
    if how == "capitals" and answer.get("status") == "error" and "uri" in answer:
        capitals = {"code": "Code", "message": "Message", "uri": "URI"}
        answer = {capitals.get(key, key): value for key, value in answer.items()}
    return msgspec.json.encode(answer)


def _shortened(answer: dict[str, Any]) -> dict[str, Any]:
    """Return a listing without the second half of its rows, that calls itself complete all the same."""
    for name, rows in answer.items():
        if isinstance(rows, list) and len(rows) > 1 and isinstance(rows[0], dict):
            answer[name] = rows[: len(rows) // 2]
            break
    else:
        return answer
    info = answer.get("info")
    if isinstance(info, dict):
        told = {"count": len(answer[name]), "more_records": False, "next_page_token": None}
        answer["info"] = {key: told.get(key, value) for key, value in info.items()}
    return answer


async def _swallow(_message: Any) -> None:  # noqa: ANN401 - any ASGI message; none of them leaves
    """Take an answer that nobody will ever see."""


async def _answer(send: Send, fault: Fault) -> None:
    body = fault.body.encode()
    kind = b"application/json" if fault.body.startswith("{") else b"text/html"
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    if fault.retry_after:
        headers.append((b"retry-after", fault.retry_after.encode()))
    await send({"type": "http.response.start", "status": fault.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _drop(send: Send) -> None:
    """Promise a body and return without it: the server closes the connection in mid-answer."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})


async def _reset(send: Send) -> None:
    """Close the connection before any status line: the server's own cycle stands behind its `send`."""
    cycle: Any = getattr(send, "__self__", None)
    if cycle is None:
        raise RuntimeError("only a server's own connection can be reset; run the simulator under uvicorn")
    cycle.transport.abort()
    while not cycle.disconnected:  # noqa: ASYNC110 - the server's cycle offers no event to wait for
        await asyncio.sleep(0)

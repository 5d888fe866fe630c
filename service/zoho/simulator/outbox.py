"""Calls that the simulator makes by itself: callbacks and webhooks, to loopback and nowhere else."""

import asyncio
import ipaddress
import ssl
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx
import msgspec

TIMEOUT_S = 5.0
REMEMBERED = 1_000
"""Deliveries that the control plane can still show."""
RETRY_PAUSE_S = 0.05


@dataclass(slots=True, kw_only=True)
class Delivery:
    """One POST that is to be made or was made; `outcome` is a status, or why there is none."""

    kind: str
    url: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = "application/json"
    retries: int = 0
    delay_s: float = 0.0
    outcome: str = "waiting"


@dataclass(frozen=True, slots=True)
class Held:
    """A delivery that lets others overtake it until `due`."""

    delivery: Delivery
    due: float


@dataclass(slots=True)
class Outbox:
    """What waits to be posted, in order, and what was posted last."""

    waiting: deque[Delivery] = field(default_factory=deque)
    past: deque[Delivery] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    held: Held | None = None
    notified: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def post(
        self, kind: str, url: str, payload: object, headers: Mapping[str, str] | None = None
    ) -> Delivery:
        """Queue a POST of `payload` as JSON and return it, so that its manner can still be changed."""
        delivery = Delivery(kind=kind, url=url, body=msgspec.json.encode(payload), headers=headers or {})
        self.waiting.append(delivery)
        return delivery

    def hold(self, delivery: Delivery, *, until: float) -> None:
        """Keep a delivery back until another one overtakes it, or until the time given."""
        self.held = Held(delivery, until)

    def forget(self) -> None:
        """Drop what waits and what was posted."""
        self.waiting.clear()
        self.past.clear()
        self.held = None
        self.notified = 0

    def start(self) -> None:
        """Begin to post what waits, in the background of the running event loop."""
        if self.waiting and not self._tasks:
            task = asyncio.get_running_loop().create_task(self._drain())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _drain(self) -> None:
        # A bare context: loading the machine's certificates takes longer than the posts themselves.
        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False, verify=trust) as client:
            while self.waiting:
                delivery = self.waiting.popleft()
                self.past.append(delivery)
                await asyncio.sleep(delivery.delay_s)
                delivery.outcome = await _post(client, delivery)


def is_loopback(url: str) -> bool:
    """Return whether the address names this machine by a loopback address or as `localhost`."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return False
    try:
        return ipaddress.ip_address(parts.hostname).is_loopback
    except ValueError:
        return parts.hostname == "localhost"


async def _post(client: httpx.AsyncClient, delivery: Delivery) -> str:
    if not is_loopback(delivery.url):
        return "not called: not a loopback address"
    outcome = ""
    for attempt in range(delivery.retries + 1):
        await asyncio.sleep(RETRY_PAUSE_S * attempt)
        try:
            headers = {"Content-Type": delivery.media_type, **delivery.headers}
            answer = await client.post(delivery.url, content=delivery.body, headers=headers)
        except httpx.HTTPError as error:
            outcome = type(error).__name__
            continue
        outcome = str(answer.status_code)
        if answer.is_success:
            break
    return outcome

"""Bring outcomes from the sequencer's thread back to the event loop: one wake-up for all that have come."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from service.errors import ServiceError
from service.intake import Recorded
from service.ledger.sequencer import Tell

Outcome: TypeAlias = Recorded | ServiceError
Awaited: TypeAlias = asyncio.Future[Outcome]


class Returns:
    """Makes futures that another thread resolves; an error arrives as a value, not as an exception."""

    def __init__(self) -> None:
        self._box: _Box | None = None

    def expect(self) -> tuple[Awaited, Tell[Recorded]]:
        """Return a future of the running loop, and what to call from any thread to resolve it."""
        loop = asyncio.get_running_loop()
        if self._box is None or self._box.loop is not loop:
            self._box = _Box(loop)
        future: Awaited = loop.create_future()
        return future, partial(self._box.put, future)


@dataclass(slots=True, eq=False)
class _Box:
    loop: asyncio.AbstractEventLoop
    come: deque[tuple[Awaited, Outcome]] = field(default_factory=deque)
    called: bool = False

    def put(self, future: Awaited, outcome: Outcome) -> None:
        self.come.append((future, outcome))
        if not self.called and not self.loop.is_closed():
            self.called = True
            self.loop.call_soon_threadsafe(self._hand_out)

    def _hand_out(self) -> None:
        self.called = False  # first, so that whatever comes from now on calls again
        while self.come:
            future, outcome = self.come.popleft()
            if not future.done():
                future.set_result(outcome)

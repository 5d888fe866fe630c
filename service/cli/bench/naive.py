"""What the ledger would be without its sequencer: each request takes the head's lock and commits by itself.

Everything else is the same: the same checks, signatures, seals, tables and receipts.
"""

import asyncio
import threading
from typing import Any

from service import app, settings
from service.consent import Category
from service.intake.journal import ClaimJournal
from service.ledger.batch import Appended, append
from service.ledger.store import Store
from service.vault import Vault
from service.web.events import EventIn, claim_of
from service.web.shortcut import Request
from service.web.strict import EVENTS_BYTES, convert, read_json


class Naive:
    """An ASGI application that records each event in a transaction of its own."""

    def __init__(self) -> None:
        self._threads = threading.local()
        self._running = app.running(settings.load())

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401  # ASGI's own
        """Begin with the server, end with it, and answer posts in between."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        request = Request(scope, receive)
        event = convert(await read_json(request, EVENTS_BYTES), EventIn)
        body = await asyncio.to_thread(self._record, event, request.headers.get("idempotency-key", ""))
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _live(self, receive: Any, send: Any) -> None:  # noqa: ANN401  # ASGI's own
        await receive()
        self._parts = self._running.__enter__()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._running.__exit__(None, None, None)
        await send({"type": "lifespan.shutdown.complete"})

    def _record(self, event: EventIn, key: str) -> bytes:
        claim = claim_of(event, key, source="api:naive", policy=self._parts.policy, now=app.now())
        assert claim.category is Category.GRANTED, "the load posts nothing else"
        journal, store = self._mine()
        while True:
            (made,) = journal.prepare([claim])
            assert not isinstance(made, Exception), "nothing in the load is refused"
            with self._parts.db.begin() as tx:
                (outcome,) = append(tx, store, journal, [made])
            if isinstance(outcome, Appended):
                return journal.release(outcome, made.context).receipt()

    def _mine(self) -> tuple[ClaimJournal, Store]:
        """Return this thread's own journal: none was made to be shared."""
        if not hasattr(self._threads, "mine"):
            keys, policy = self._parts.keys, self._parts.policy
            store = Store(keys.log.name, keys.heads, generation=keys.generation)
            journal = ClaimJournal(
                self._parts.db,
                Vault(keys),
                store,
                keys,
                policy,
                renew=lambda _generation: None,
                require_keeper=lambda: None,
            )
            self._threads.mine = journal, store
        mine: tuple[ClaimJournal, Store] = self._threads.mine
        return mine


def create() -> Naive:
    """Return the application; uvicorn's factory."""
    return Naive()

"""An organisation that calls us over HTTP, and a worker that does nothing but heed it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import uvicorn
from sqlalchemy import select

from service.db import hint
from service.jobs import Worker
from service.reconciler import channels, hints
from service.reconciler.enforce import carry_out
from service.reconciler.heeding import Heed
from service.reconciler.hints import Told
from service.reconciler.watch import Watch
from service.web.auth import KeyRing
from service.web.edge import Edge
from service.web.hooks import NOTIFIED_AT
from service.web.site import create_site
from service.zoho.notifications import Notifications, Subscription
from tests.reconciler.conftest import World

SECRET = "a-secret-of-the-webhooks-that-nobody-guesses"


def heed(made: World, **parts) -> Heed:
    context = replace(made.context, **parts)
    return Heed(context=context, watch=Watch(context=context), worker="a")


def record_of(made: World, email: str) -> tuple[str, str]:
    found = made.context.crm.find(email)[0]
    return found.module, found.record_id


def tell(made: World, email: str, number: int = 0) -> None:
    """A hint about somebody's record, as a notification leaves it."""
    module, record_id = record_of(made, email)
    told = Told(digest=b"%d" % number, kind=hints.NOTIFICATION, module=module, record_id=record_id)
    with made.db.begin() as tx:
        hints.keep(tx, [told], at=made.clock())


def tell_of(made: World, email: str, kind: str) -> None:
    """A hint about an address, as Campaigns' webhook leaves it."""
    index = made.intake.vault.address_index(email)
    told = Told(digest=index, kind=kind, address_index=index)
    with made.db.begin() as tx:
        hints.keep(tx, [told], at=made.clock())


def states(made: World) -> list[str]:
    with made.db.read() as tx:
        return list(tx.scalars(select(hint.c.state).order_by(hint.c.id)))


@dataclass
class Hooked:
    """An organisation that can call us over HTTP."""

    world: World
    url: str
    subscription: Subscription

    def channel(self):
        with self.world.db.read() as tx:
            return channels.known(tx, self.subscription.channel_id)

    def living(self) -> list[dict]:
        call = {"Authorization": f"Zoho-oauthtoken {self.world.zoho.oauth.token().value}"}
        answer = self.world.sim.client.get("/crm/v8/actions/watch", headers=call)
        return answer.json()["watch"] if answer.status_code == 200 else []


@contextmanager
def hooks_of(small: World) -> Iterator[Hooked]:
    """The site over this world's ledger, served on loopback, and a channel that leads there."""
    edge = Edge(
        public_url="http://127.0.0.1",
        policy=small.intake.policy,
        db=small.db,
        intake=small.intake,
        keyring=KeyRing(small.db, small.clock),
        now=small.clock,
        hook_token=SECRET,
    )
    server = uvicorn.Server(
        uvicorn.Config(create_site(edge), port=0, log_level="error", access_log=False, lifespan="on")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    subscription = Subscription(
        db=small.db,
        client=Notifications(small.zoho.transports["crm"]),
        mapping=small.intake.policy.zoho,
        url=url + NOTIFIED_AT,
        origin="ledger.example/test-1",
        now=small.clock,
    )
    yield Hooked(small, url, subscription)
    server.should_exit = True
    thread.join(10)


@contextmanager
def heeding(made: World) -> Iterator[None]:
    """A worker that looks into hints and carries out, and looks at nothing by itself."""
    stop = threading.Event()
    worker = Worker(
        db=made.db,
        carry_out=lambda: carry_out(made.context, worker="a").total,
        nightly={},
        hour=0,
        now=made.clock,
        name="a",
        heed=heed(made).turn,
    )
    made.intake.ring_for_tasks(worker.tasks.ring)
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)

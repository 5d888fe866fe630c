"""Running the simulator: in a thread for tests and demos, or alone in the foreground."""

import json
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

import httpx
import uvicorn
from litestar.types import ASGIApp

from service.zoho.simulator.app import app_of, planted
from service.zoho.simulator.names import policy_toml
from service.zoho.simulator.world import World

START_TIMEOUT_S = 10.0
KEEP_ALIVE_S = 60
"""Longer than a client pauses, so that no idle connection dies under the next request."""
NOBODY_TRUSTED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Loopback speaks plain HTTP: no certificate is worth the time it takes to load them all."""


@dataclass(frozen=True, slots=True)
class Simulator:
    """A running simulator, seen from the outside."""

    url: str
    world: World = field(repr=False)
    client: httpx.Client = field(repr=False)
    centres: Mapping[str, str] = field(default_factory=dict)
    """Where each data centre answers that was asked for by name."""

    def control(self, path: str, body: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 - any JSON
        """Return the control plane's answer; a body makes it a POST. Raises `HTTPStatusError` on 4xx."""
        address = f"/_control/{path.removeprefix('/_control').strip('/')}"
        response = self.client.get(address) if body is None else self.client.post(address, json=body)
        return response.raise_for_status().json()

    def policy_toml(self) -> str:
        """Return the field mapping that fits this organisation."""
        return policy_toml(self.url)


@contextmanager
def running(
    contacts: int = 200,
    seed: int = 1,
    *,
    port: int = 0,
    now: int | None = None,
    file: str | None = None,
    centres: Sequence[str] = (),
) -> Iterator[Simulator]:
    """Serve a freshly planted organisation, or the one in `file`, on loopback from a thread until the end.

    Each of the data centres in `centres` answers on a port of its own as well.
    """
    world = planted(contacts, seed, now=now, file=file)
    server = uvicorn.Server(_config(app_of(world)))
    listener = _listen("127.0.0.1", port)
    others = _listen_for(world, centres)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    sockets = [listener, *others]
    thread = Thread(target=server.run, kwargs={"sockets": sockets}, name="zoho-simulator", daemon=True)
    thread.start()
    try:
        with httpx.Client(
            base_url=url, timeout=START_TIMEOUT_S, trust_env=False, verify=NOBODY_TRUSTED
        ) as client:
            client.get("/_control/clock").raise_for_status()
            yield Simulator(url, world, client, world.addresses())
    finally:
        server.should_exit = True
        thread.join(START_TIMEOUT_S)
        for one in sockets:
            one.close()
        world.db.close()


def serve(
    host: str = "127.0.0.1",
    port: int = 0,
    contacts: int = 5_000,
    seed: int = 1,
    *,
    file: str | None = None,
    centres: Sequence[str] = (),
) -> None:
    """Serve in the foreground until interrupted, after printing one line of JSON with the address.

    Each of the data centres in `centres` answers on a port of its own on loopback, which the line names.
    """
    world = planted(contacts, seed, file=file)
    listener = _listen(host, port)
    others = _listen_for(world, centres)
    bound_host, bound_port = listener.getsockname()[:2]
    told = {"url": f"http://{bound_host}:{bound_port}", **world.addresses()}
    print(json.dumps(told), flush=True)  # noqa: T201 - the program's output
    uvicorn.Server(_config(app_of(world))).run(sockets=[listener, *others])


def _listen_for(world: World, centres: Sequence[str]) -> list[socket.socket]:
    """Return a socket for each data centre, and let the world know which is which."""
    listeners = [_listen("127.0.0.1", 0) for _ in centres]
    world.ports = {one.getsockname()[1]: name for one, name in zip(listeners, centres, strict=True)}
    return listeners


def _listen(host: str, port: int) -> socket.socket:
    """Return a bound socket: connections wait in its backlog from now on, so nobody comes too early."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(128)
    return listener


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        log_level="critical",
        access_log=False,
        lifespan="off",
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=2,
        date_header=False,  # the answers bear the organisation's own time
    )

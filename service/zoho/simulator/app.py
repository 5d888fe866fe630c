"""The application: all three products and the control plane over one world."""

import gc
from functools import cache
from typing import Any

from litestar import Litestar, Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException
from litestar.types import ASGIApp, Receive, Scope, Send

from service.zoho.simulator import control, memory, oauth
from service.zoho.simulator.callbacks import publish
from service.zoho.simulator.campaigns import email_gate, email_routes, envelope
from service.zoho.simulator.campaigns import gate as campaigns_gate
from service.zoho.simulator.campaigns import routes as campaigns_routes
from service.zoho.simulator.crm import gate as crm_gate
from service.zoho.simulator.crm import routes as crm_routes
from service.zoho.simulator.faults import FaultInjector
from service.zoho.simulator.plant import plant
from service.zoho.simulator.wire import WORLD, json_reply, serve, write
from service.zoho.simulator.world import World

SURFACES = (
    (oauth.ENDPOINTS, oauth.answer),
    (crm_routes.ENDPOINTS, crm_gate.answer),
    (campaigns_routes.ENDPOINTS, campaigns_gate.answer),
    (email_routes.ENDPOINTS, email_gate.answer),
    (control.ENDPOINTS, control.answer),
)


def create_app(
    contacts: int = 5_000, seed: int = 1, *, now: int | None = None, file: str | None = None
) -> ASGIApp:
    """Return an application with a freshly planted organisation of `contacts` people.

    With a `file` that holds an organisation already, that one goes on as it was.

    The same `contacts`, `seed` and `now` (seconds since the epoch; the real time if None) give the same
    organisation. Raises `ValueError` for fewer people than there are planted kinds.
    """
    return app_of(planted(contacts, seed, now=now, file=file))


def planted(contacts: int, seed: int, *, now: int | None = None, file: str | None = None) -> World:
    """Return a world of its own, planted; or the one in `file`, if there is one."""
    world = World(contacts=contacts, seed=seed, path=file or ":memory:")
    if memory.is_planted(world):
        memory.load(world)
        return world
    gc.disable()
    try:
        plant(world, now=world.clock.seconds() if now is None else now)
    finally:
        gc.enable()
    memory.save(world)
    return world


def app_of(world: World) -> ASGIApp:
    """Return the application that serves `world`, behind what breaks its answers on demand."""
    routes = _routes()

    async def serve_world(scope: Scope, receive: Receive, send: Send) -> None:
        scope[WORLD] = world  # type: ignore[literal-required]  # ASGI lets a server add keys of its own
        await routes(scope, receive, send)

    return FaultInjector(serve_world, world.faults)


@cache
def _routes() -> Litestar:
    """Return the routes of every world: building them takes longer than planting a thousand people."""
    return Litestar(
        route_handlers=[
            serve(endpoint, answer, publish) for endpoints, answer in SURFACES for endpoint in endpoints
        ],
        exception_handlers={HTTPException: _nowhere},
        openapi_config=None,
        request_max_body_size=None,
        logging_config=None,
    )


def _nowhere(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Answer what has no handler: each product has its own way to say so."""
    path = request.url.path
    world: World = request.scope[WORLD]  # type: ignore[literal-required]  # `app_of` put it there
    if path.startswith("/api/"):
        return write(envelope.wrong_address(path), world)
    if path.startswith("/crm/"):
        is_method = isinstance(error, MethodNotAllowedException)
        return write(crm_gate.wrong_method(world) if is_method else crm_gate.wrong_address(), world)
    return write(json_reply({"error": error.detail}, status=error.status_code), world)

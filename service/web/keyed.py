"""Find out which program asks."""

import asyncio

from service.web.auth import Program
from service.web.edge import Edge
from service.web.strict import Asked


async def program(edge: Edge, request: Asked, scope: str) -> Program:
    """Return the program behind the request's key; raises `Unauthenticated`, or `Forbidden` for the scope."""
    header = request.headers.get("authorization", "")
    found = edge.keyring.recall(header)
    if found is None:
        found = await asyncio.to_thread(edge.keyring.look_up, header)
    found.require(scope)
    return found

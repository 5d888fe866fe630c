"""Hand one claim to the intake and wait, without holding up the others."""

import asyncio
import re

from service.errors import Malformed
from service.intake import Claim, Recorded
from service.web.edge import Edge
from service.web.strict import AnyRequest

_KEY = re.compile(r"[!-~]{1,200}")


async def record(edge: Edge, claim: Claim) -> Recorded:
    """Return the recorded event once it is durable; raises what the intake raises."""
    return await asyncio.wrap_future(edge.intake.submit(claim))


def seen(request: AnyRequest) -> dict[str, str]:
    """Return what the connection itself tells; forwarding headers are the caller's word, and not read."""
    found = {
        "ip": request.client.host if request.client else "",
        "user_agent": request.headers.get("user-agent", ""),
    }
    return {name: value[:500] for name, value in found.items() if value}


def idempotency_key(request: AnyRequest) -> str | None:
    """Return the header Idempotency-Key, None without one; `Malformed` for two or an unfit one."""
    given = request.headers.getall("idempotency-key", [])
    if not given:
        return None
    if len(given) > 1 or not _KEY.fullmatch(given[0]):
        raise Malformed(
            "one header, 1 to 200 visible ASCII characters without spaces", field="Idempotency-Key"
        )
    return given[0]

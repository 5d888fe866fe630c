"""Hand claims to the intake and wait, without holding up the others."""

import re
from collections.abc import Sequence

from service.errors import Malformed, ServiceError
from service.intake import Claim, Recorded
from service.web.edge import Edge
from service.web.returning import Awaited, Outcome
from service.web.strict import AnyRequest, Asked

_KEY = re.compile(r"[!-~]{1,200}")


async def record(edge: Edge, claim: Claim) -> Recorded:
    """Return the recorded event once it is durable; raises what the intake raises."""
    outcome = await _hand_in(edge, claim)
    if isinstance(outcome, ServiceError):
        raise outcome
    return outcome


async def record_many(edge: Edge, claims: Sequence[Claim | ServiceError]) -> list[Outcome]:
    """Return what became of each claim, in order; errors stay what they are.

    All are handed over before the first is waited for, so that they share commits.
    """
    waiting = [claim if isinstance(claim, ServiceError) else _try(edge, claim) for claim in claims]
    return [one if isinstance(one, ServiceError) else await one for one in waiting]


def _try(edge: Edge, claim: Claim) -> Awaited | ServiceError:
    try:
        return _hand_in(edge, claim)
    except ServiceError as error:
        return error


def _hand_in(edge: Edge, claim: Claim) -> Awaited:
    future, tell = edge.returns.expect()
    edge.intake.hand_in(claim, tell)
    return future


def seen(request: AnyRequest) -> dict[str, str]:
    """Return what the connection itself tells; forwarding headers are the caller's word, and not read."""
    found = {
        "ip": request.client.host if request.client else "",
        "user_agent": request.headers.get("user-agent", ""),
    }
    return {name: value[:500] for name, value in found.items() if value}


def idempotency_key(request: Asked) -> str | None:
    """Return the header Idempotency-Key, None without one; `Malformed` for two or an unfit one."""
    given = request.headers.getall("idempotency-key", [])
    if not given:
        return None
    if len(given) > 1 or not _KEY.fullmatch(given[0]):
        raise Malformed(
            "one header, 1 to 200 visible ASCII characters without spaces", field="Idempotency-Key"
        )
    return given[0]

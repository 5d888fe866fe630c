"""Names where pseudonyms stand: asked for with a purpose, each recorded as a look-up before it is shown."""

import asyncio
from collections.abc import Iterable
from typing import Annotated

import msgspec

from service.errors import ServiceError
from service.intake import Claim
from service.intake.access import look_up, stated
from service.web.edge import Edge
from service.web.recording import record_many
from service.web.sessions import Person, require_token


class NamesIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a form that asks for names posts."""

    purpose_of_lookup: Annotated[str, msgspec.Meta(max_length=1_000)]
    form_token: Annotated[str, msgspec.Meta(max_length=200)]


def purpose_of(posted: NamesIn, who: Person) -> str:
    """Return why the names are asked for; raises `Forbidden` for a forged form, `Malformed` without one."""
    require_token(who.form_token, posted.form_token)
    return stated(posted.purpose_of_lookup)


async def record_names(
    edge: Edge, who: Person, addresses: Iterable[str], *, reason: str, asked_for: str
) -> None:
    """Record a look-up of each of these folded addresses; raises what the intake raises."""
    claims = await asyncio.to_thread(_claims, edge, who, dict.fromkeys(addresses), reason, asked_for)
    for outcome in await record_many(edge, claims):
        if isinstance(outcome, ServiceError):
            raise outcome


def _claims(edge: Edge, who: Person, addresses: Iterable[str], reason: str, asked_for: str) -> list[Claim]:
    with edge.db.read() as tx:
        return [
            look_up(
                edge.intake.vault,
                tx,
                address=address,
                actor=who.name,
                reason=reason,
                asked_for=asked_for,
                at=edge.now(),
            )
            for address in addresses
        ]

"""`POST /api/unsubscribe-links`: the one-click links that go into the head of each mail (RFC 8058).

For whoever sends: a scope of its own, because the answer tells who is known. Nobody is opened here: an
address without any event has no link, and should get no mail either.
"""

import asyncio
from typing import Annotated

import msgspec
from litestar import Response, post
from litestar.di import NamedDependency

from service.errors import Malformed
from service.vault import address as addresses
from service.web.auth import LINKS_READ
from service.web.edge import Edge
from service.web.keyed import program
from service.web.strict import AnyRequest, convert, read_json

MOST = 1_000
BYTES = 600 * MOST  # the longest addresses, with their quotes and commas
_ONE_CLICK = "List-Unsubscribe=One-Click"

Address = Annotated[str, msgspec.Meta(min_length=3, max_length=500)]


class LinksIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For whom links are wanted, and which purpose a click is to end."""

    purpose: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    emails: Annotated[tuple[Address, ...], msgspec.Meta(min_length=1, max_length=MOST)]


class LinkOut(msgspec.Struct, frozen=True, kw_only=True):
    """The two headers of one person's mail, to be covered by DKIM; the link never expires."""

    link: str
    list_unsubscribe: str
    list_unsubscribe_post: str


class LinksOut(msgspec.Struct, frozen=True, kw_only=True):
    """One answer per address, in order; null where no event ever named the address."""

    links: tuple[LinkOut | None, ...]


@post("/api/unsubscribe-links", name="unsubscribe-links")
async def post_links(request: AnyRequest, edge: NamedDependency[Edge]) -> Response[bytes]:
    """Return the unsubscribe link and headers of up to 1,000 people."""
    await program(edge, request, LINKS_READ)
    asked = convert(await read_json(request, BYTES), LinksIn)
    if asked.purpose not in edge.policy.purposes:
        raise Malformed("no purpose of this name is declared in policies/purposes.toml", field="purpose")
    told = await asyncio.to_thread(_links, edge, asked)
    return Response(msgspec.json.encode(told), status_code=200, media_type="application/json")


def _links(edge: Edge, asked: LinksIn) -> LinksOut:
    vault = edge.intake.vault
    indexes = [vault.address_index(addresses.fold(email)) for email in asked.emails]
    with edge.db.read() as tx:
        known = vault.find_many(tx, indexes)
    subjects = (known.get(index) for index in indexes)
    return LinksOut(
        links=tuple(None if sub is None else _link(edge, vault.token(sub, asked.purpose)) for sub in subjects)
    )


def _link(edge: Edge, token: str) -> LinkOut:
    link = f"{edge.public_url.rstrip('/')}/u/{token}"
    return LinkOut(link=link, list_unsubscribe=f"<{link}>", list_unsubscribe_post=_ONE_CLICK)

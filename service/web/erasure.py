"""`POST /api/erasure`: the privacy role has a person forgotten, and gets the certificate for them.

Needs the scope `erasure:write`, which no other scope includes. The address travels in the body.
"""

import asyncio
import re
from typing import Annotated, Literal

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from service.errors import NotFound, UnknownSubject
from service.intake.forgetting import FROM_FROZEN, Erased, certificate_of, erase, erase_from_frozen
from service.vault import address as addresses
from service.web.auth import ERASURE_WRITE
from service.web.edge import Edge
from service.web.keyed import program
from service.web.strict import QUESTION_BYTES, AnyRequest, convert, read_json

_INDEX = re.compile("[0-9]{1,15}")


class ErasureIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom to forget, and why: a class of reasons, because it stands in the log for ever."""

    email: Annotated[str, msgspec.Meta(min_length=3, max_length=500)]
    reason: Literal["request", "withdrawn", "objection", "unneeded", "unlawful", "obligation", "child"]


@post("/api/erasure", name="erasure")
async def post_erasure(request: AnyRequest, edge: NamedDependency[Edge]) -> Response[bytes]:
    """Erase a person for good; answers with the certificate that the log signed.

    A frozen log takes no entry: 202 says that all was destroyed here, and what is to do in its successor.
    """
    await program(edge, request, ERASURE_WRITE)
    asked = convert(await read_json(request, QUESTION_BYTES), ErasureIn)
    address = addresses.parse(asked.email)
    erased = await asyncio.to_thread(_forget, edge, address, asked.reason)
    if erased is None:
        return Response("\n".join(FROM_FROZEN).encode() + b"\n", status_code=202, media_type="text/plain")
    return _certificate(erased)


@get("/api/erasure/{index:str}", name="erasure-certificate")
async def get_certificate(
    request: AnyRequest, edge: NamedDependency[Edge], index: FromPath[str]
) -> Response[bytes]:
    """Return the certificate of an erasure again, by the number of its entry."""
    await program(edge, request, ERASURE_WRITE)
    if not _INDEX.fullmatch(index):
        raise NotFound("an erasure is named by the number of its entry")
    return _certificate(await asyncio.to_thread(_again, edge, int(index)))


def _forget(edge: Edge, address: str, reason: str) -> Erased | None:
    """Erase somebody, as the command `erase` does; None from a frozen log, which cannot say so."""
    with edge.db.read() as tx:
        frozen = edge.intake.store.frozen(tx)
    if frozen:
        erase_from_frozen(edge.intake, address, reason=reason)
        return None
    return erase(edge.intake, address, reason=reason)


def _again(edge: Edge, index: int) -> Erased:
    try:
        with edge.db.read() as tx:
            return Erased(index=index, certificate=certificate_of(tx, index))
    except UnknownSubject as error:
        raise NotFound(str(error)) from None


def _certificate(erased: Erased) -> Response[bytes]:
    headers = {"Content-Location": f"/api/erasure/{erased.index}"}
    return Response(erased.certificate, status_code=200, media_type="text/plain", headers=headers)

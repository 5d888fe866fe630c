"""`POST /api/corrections`: say that an entry is about the wrong person, and agree that it is.

Needs the scope `corrections:write` and a key that has the name of an account: it speaks for that person,
whose role decides, and who is counted once however they spoke. Nothing is deleted by any of it.
"""

import asyncio
from typing import Annotated

import msgspec
from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from service.errors import Forbidden
from service.intake import correcting
from service.intake.correcting import NEEDED, Person
from service.intake.corrections import Correction
from service.vault import address as addresses
from service.web.auth import CORRECTIONS_WRITE, role_of
from service.web.edge import Edge
from service.web.keyed import program
from service.web.strict import JSON, QUESTION_BYTES, AnyRequest, convert, read_json


class CorrectionIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose entry is wrong, its number as the history tells it, and what went wrong; that is recorded."""

    email: Annotated[str, msgspec.Meta(min_length=3, max_length=500)]
    entry: Annotated[int, msgspec.Meta(ge=0)]
    reason: Annotated[str, msgspec.Meta(min_length=3, max_length=500)]


class CorrectionOut(msgspec.Struct, frozen=True, kw_only=True):
    """Where a correction stands: `made` is the entry since which the other does not count, null until then.

    `proposal` is the number to agree to, and `needed` how many approvers have to.
    """

    proposal: int
    corrects: int
    made: int | None
    approved_by: tuple[str, ...]
    needed: int


@post("/api/corrections", name="correction")
async def post_correction(request: AnyRequest, edge: NamedDependency[Edge]) -> Response[bytes]:
    """Correct an entry at once where that stops mail, propose it where mail may flow again."""
    name = (await program(edge, request, CORRECTIONS_WRITE)).name
    asked = convert(await read_json(request, QUESTION_BYTES), CorrectionIn)
    address = addresses.parse(asked.email)
    return _answer(await asyncio.to_thread(_propose, edge, name, address, asked))


@post("/api/corrections/{proposal:int}/approval", name="correction-approve")
async def post_approval(
    request: AnyRequest, edge: NamedDependency[Edge], proposal: FromPath[int]
) -> Response[bytes]:
    """Agree to a proposed correction; with the second person's word it counts."""
    name = (await program(edge, request, CORRECTIONS_WRITE)).name
    return _answer(await asyncio.to_thread(_approve, edge, name, proposal))


def _propose(edge: Edge, name: str, address: str, asked: CorrectionIn) -> Correction:
    who = _person(edge, name)
    return correcting.propose(edge.intake, who, address, asked.entry, asked.reason, now=edge.now())


def _approve(edge: Edge, name: str, proposal: int) -> Correction:
    return correcting.approve(edge.intake, _person(edge, name), proposal, now=edge.now())


def _person(edge: Edge, name: str) -> Person:
    role = role_of(edge.db, name)
    if role is None:
        raise Forbidden("this key is nobody's: a key that corrects has the name of a person's account")
    return Person(account=name, role=role, via="api")


def _answer(found: Correction) -> Response[bytes]:
    told = CorrectionOut(
        proposal=found.proposal,
        corrects=found.corrects,
        made=found.made,
        approved_by=found.approved_by,
        needed=NEEDED,
    )
    status = 202 if found.made is None else 201
    headers = {"Cache-Control": "no-store"}
    return Response(msgspec.json.encode(told), status_code=status, media_type=JSON, headers=headers)

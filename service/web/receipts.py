"""`GET /api/receipts/{index}`: the best receipt that can be given now for an entry recorded earlier.

A program with the scope `history:read` may ask for any entry, one with `events:write` for those that it
recorded itself. An entry holds no address, but the pseudonyms in it are not for everybody.
"""

import asyncio
import base64
import re

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from service.consent import Category, SubjectId
from service.consent.links import STATES, TYPES, Link, links
from service.errors import Forbidden, NotFound
from service.ledger import anchors
from service.ledger.entry import decode, format_time
from service.ledger.proof import encode_proof
from service.ledger.upgrade import Upgraded, upgrade
from service.web.auth import EVENTS_WRITE, HISTORY_READ, Program
from service.web.edge import Edge
from service.web.strict import AnyRequest

_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)


class WitnessedOut(msgspec.Struct, frozen=True, kw_only=True):
    """A witness that cosigned the receipt's checkpoint, and the time that it states."""

    witness: str
    at: str


class TimeStampOut(msgspec.Struct, frozen=True, kw_only=True):
    """An RFC 3161 reply (DER, base64) over the SHA-256 of the text `stamped`; certificates as PEM."""

    authority: str
    at: str
    stamped: str
    reply: str
    certificates: str


class ReceiptOut(msgspec.Struct, frozen=True, kw_only=True):
    """A receipt and what it rests on: logged, witnessed or anchored; `receipt` is a C2SP tlog-proof file.

    `existed_by` is the earliest time that somebody outside gave the checkpoint, null where nobody did. Of
    what the entry records, type and state are words of ISO/IEC TS 27560; a refusal has one as well.
    `supersedes`, `terminates` and `corrects` are earlier entries about the same person: told to
    history:read alone, for they show that somebody was known. None of it ever changes: how things stand
    now is asked for at `status_url`.
    """

    index: int
    grade: str
    size: int
    receipt: str
    existed_by: str | None
    witnessed: tuple[WitnessedOut, ...]
    time_stamps: tuple[TimeStampOut, ...]
    event_type: str | None
    event_state: str | None
    supersedes: tuple[int, ...]
    terminates: tuple[int, ...]
    corrects: int | None
    status_url: str


@get("/api/receipts/{index:str}", name="receipt")
async def get_receipt(
    request: AnyRequest, index: FromPath[str], edge: NamedDependency[Edge]
) -> Response[bytes]:
    """Return the newest receipt for the entry of this number, with its grade."""
    asker = await _program(edge, request)
    if not _NUMBER.fullmatch(index):
        raise NotFound("a receipt is asked for by the number of its entry, like /api/receipts/7")
    found = await asyncio.to_thread(_find, edge, int(index))
    _require_own(asker, found)
    link = await asyncio.to_thread(_link, edge, found, whole=HISTORY_READ in asker.scopes)
    body = msgspec.json.encode(_told(found, link, f"{edge.public_url.rstrip('/')}/api/standing"))
    return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})


async def _program(edge: Edge, request: AnyRequest) -> Program:
    header = request.headers.get("authorization", "")
    found = edge.keyring.recall(header)
    if found is None:
        found = await asyncio.to_thread(edge.keyring.look_up, header)
    if found.scopes.isdisjoint((EVENTS_WRITE, HISTORY_READ)):
        raise Forbidden(
            "this key has no scope for receipts; ask the operator for events:write or history:read"
        )
    return found


def _find(edge: Edge, index: int) -> Upgraded:
    with edge.db.read() as tx:
        return upgrade(tx, edge.intake.store, index, edge.log_policy)


def _require_own(asker: Program, found: Upgraded) -> None:
    """Let a program that only records see what it recorded, and not learn what else there is."""
    if HISTORY_READ in asker.scopes or decode(found.receipt.entry).source == f"api:{asker.name}":
        return
    raise NotFound("this key recorded no entry of this number")


def _link(edge: Edge, found: Upgraded, *, whole: bool) -> Link:
    """Return what the entry is, and what it followed if the asker may know; later ones do not count."""
    signed = decode(found.receipt.entry)
    category = Category(signed.category)
    alone = Link(event_type=TYPES.get(category), event_state=STATES.get(category))
    if not whole or signed.subject is None:
        return alone
    with edge.db.read() as tx:
        return links(edge.intake.events(tx, SubjectId(signed.subject))).get(found.receipt.index, alone)


def _told(found: Upgraded, link: Link, status_url: str) -> ReceiptOut:
    return ReceiptOut(
        index=found.receipt.index,
        grade=found.grade,
        size=found.size,
        receipt=encode_proof(found.receipt).decode(),
        existed_by=None if found.existed_by is None else format_time(found.existed_by),
        witnessed=tuple(WitnessedOut(witness=one.key, at=format_time(one.at)) for one in found.cosignatures),
        time_stamps=tuple(map(_stamp, found.stamps)),
        event_type=link.event_type,
        event_state=link.event_state,
        supersedes=link.supersedes,
        terminates=link.terminates,
        corrects=link.corrects,
        status_url=status_url,
    )


def _stamp(one: anchors.TimeStamp) -> TimeStampOut:
    return TimeStampOut(
        authority=one.authority,
        at=format_time(one.at),
        stamped=one.note.decode(),
        reply=base64.b64encode(one.reply).decode(),
        certificates=one.chain.decode(),
    )

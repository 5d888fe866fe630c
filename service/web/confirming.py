"""`/confirm/{token}`: the link of a confirmation mail, and `POST /api/confirmation-links`, which gives it.

GET and HEAD show the words once more beside a button and change nothing, because scanners follow links.
POST records `consent.confirmed`, once, with the words of the request and the connection of the click. A
link belongs to one request: after a withdrawal, a correction, an erasure or the days that the policy
gives, it confirms nothing, and the page says how to begin anew.
"""

import asyncio
from hashlib import sha256
from typing import Annotated, Final

import msgspec
from litestar import HttpMethod, Response, post, route
from litestar.di import NamedDependency
from litestar.params import FromPath

from service.consent import Category, Event, SubjectId
from service.consent.proving import OWN_INITIATIVE, SPOILING
from service.errors import KeyReused, Malformed, UnknownSubject
from service.intake import Claim
from service.ledger.canonical import Json
from service.ledger.entry import format_time
from service.vault import address as addresses
from service.web.auth import LINKS_READ
from service.web.edge import Edge
from service.web.keyed import program
from service.web.links import BYTES, MOST, Address
from service.web.recording import record, seen
from service.web.render import page
from service.web.strict import AnyRequest, convert, read_json
from service.web.waiting import Asked, Stage, asked_by, until, waiting_of

SOURCE: Final = "confirmation"
_GONE: Final = 410
_CARRIED: Final = (
    *("form_id", "notice_id", "notice_version", "notice_sha256", "notice_copy", "language"),
    *("privacy_policy_version", OWN_INITIATIVE, *sorted(SPOILING)),
)
"""What a confirmation takes over from its request: the words, and whatever a rule may object to."""


class ConfirmationsIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose requests for which purpose are to be confirmed."""

    purpose: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    emails: Annotated[tuple[Address, ...], msgspec.Meta(min_length=1, max_length=MOST)]


class ConfirmationOut(msgspec.Struct, frozen=True, kw_only=True):
    """The link of one confirmation mail: which request it confirms, made when, and until when it can."""

    link: str
    request: int
    asked_at: str
    until: str


class ConfirmationsOut(msgspec.Struct, frozen=True, kw_only=True):
    """One answer per address, in order; null where no request waits."""

    links: tuple[ConfirmationOut | None, ...]


@post("/api/confirmation-links", name="confirmation-links")
async def post_confirmation_links(request: AnyRequest, edge: NamedDependency[Edge]) -> Response[bytes]:
    """Return the confirmation links of up to 1,000 people who asked and have not confirmed yet."""
    await program(edge, request, LINKS_READ)
    asked = convert(await read_json(request, BYTES), ConfirmationsIn)
    if asked.purpose not in edge.policy.purposes:
        raise Malformed("no purpose of this name is declared in policies/purposes.toml", field="purpose")
    told = await asyncio.to_thread(_links, edge, asked)
    return Response(msgspec.json.encode(told), status_code=200, media_type="application/json")


@route("/confirm/{token:str}", http_method=[HttpMethod.GET, HttpMethod.HEAD], name="confirm-page")
async def show_confirmation(edge: NamedDependency[Edge], token: FromPath[str]) -> Response[bytes]:
    """Show what would be confirmed, and a button; nothing is written."""
    return _page(edge, token, await asyncio.to_thread(asked_by, edge, token))


@post("/confirm/{token:str}", status_code=200, name="confirm")
async def post_confirmation(
    request: AnyRequest, edge: NamedDependency[Edge], token: FromPath[str]
) -> Response[bytes]:
    """Record that the person of the link confirms what they asked for; a second click changes nothing."""
    asked = await asyncio.to_thread(asked_by, edge, token)
    if asked is not None and asked.stage is Stage.WAITING:
        try:
            await record(edge, _claim(edge, asked, token, request))
        except KeyReused:  # the same click, sent twice in two ways: one of them is recorded
            pass
        except UnknownSubject:  # erased since the page was shown
            return _page(edge, token, None)
        asked = await asyncio.to_thread(asked_by, edge, token)
    return _page(edge, token, asked)


def _page(edge: Edge, token: str, asked: Asked | None) -> Response[bytes]:
    """Return the page of a request as it stands; a link that was never ours looks like one that is over."""
    stage = Stage.OVER if asked is None else asked.stage
    form = None if asked is None else edge.policy.forms.get(str(asked.evidence.get("form_id")))
    return page(
        "confirm.html",
        status=_GONE if stage is Stage.OVER else 200,
        stage=stage.value,
        token=token,
        controller=edge.policy.controller,
        purpose=None if asked is None else edge.policy.purposes[asked.event.purpose or ""],
        words=None if asked is None else asked.evidence.get("notice_copy"),
        language="en" if asked is None else asked.evidence.get("language", "en"),
        thanks=None if form is None else form.thanks,
    )


def _claim(edge: Edge, asked: Asked, token: str, request: AnyRequest) -> Claim:
    evidence: dict[str, Json] = {
        name: asked.evidence[name] for name in _CARRIED if asked.evidence.get(name) is not None
    }
    evidence |= {
        "collection_method": "link of the confirmation mail",
        "identity_check": "mail loop",
        "control": "button",
        "page_url": f"{edge.public_url.rstrip('/')}/confirm",
        "confirms": asked.event.index,
        **seen(request),
    }
    return Claim(
        category=Category.CONFIRMED,
        source=SOURCE,
        key=sha256(token.encode()).hexdigest(),
        subject=asked.sub,
        purpose=asked.event.purpose,
        received_at=edge.now(),
        evidence=evidence,
    )


def _links(edge: Edge, asked: ConfirmationsIn) -> ConfirmationsOut:
    vault = edge.intake.vault
    indexes = [vault.address_index(addresses.fold(email)) for email in asked.emails]
    with edge.db.read() as tx:
        known = vault.find_many(tx, indexes)
        waiting = waiting_of(edge, tx, [known[index] for index in indexes if index in known], asked.purpose)
    found = (waiting.get(known[index]) if index in known else None for index in indexes)
    return ConfirmationsOut(links=tuple(None if one is None else _link(edge, *one) for one in found))


def _link(edge: Edge, sub: SubjectId, asked: Event) -> ConfirmationOut:
    token = edge.intake.vault.confirmation(sub, asked.index)
    return ConfirmationOut(
        link=f"{edge.public_url.rstrip('/')}/confirm/{token}",
        request=asked.index,
        asked_at=format_time(asked.occurred_at),
        until=format_time(until(edge, asked)),
    )

"""`/hooks/zoho/...`: what Zoho calls us about, verified and kept as hints before it is answered.

Neither product signs anything: a notification echoes the token of its channel, a webhook carries a token
that its admin put there. So a payload is never believed beyond "look there again": a forged, replayed or
late one costs a read at most. What it says about people is not kept, and no line of the log shows any of it.
"""

import asyncio
import hmac
import secrets
from base64 import b64decode
from binascii import Error as BadBase64
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Annotated, Final, TypeVar

import msgspec
import structlog
from litestar import Response, post
from litestar.di import NamedDependency
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from service.consent.bounces import Bounce, classify
from service.errors import Forbidden, Malformed, NotFound, Unavailable
from service.reconciler import channels, hints
from service.reconciler.hints import Told
from service.web.edge import Edge
from service.web.strict import AnyRequest, decode_form, read_body

log = structlog.get_logger(__name__)

MOST_BYTES: Final = 512 * 1024  # a few thousand events with all that Zoho says about each
NOTIFIED_AT: Final = "/hooks/zoho/crm/notifications"
MOST: Final = 2_000  # records or people in one call
LONGEST_NUMBER: Final = 40  # digits; CRM's ids have about 19 today, and no text says that they may not grow
SHORTEST_TOKEN: Final = 32  # characters; it is all that tells Zoho from anybody else
HEADERS: Final = ("x-consent-token", "authorization", "x-auth-token", "auth_token")
"""Where a webhook may carry its token: our own name first, then whatever Campaigns calls it."""

T = TypeVar("T")
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Number = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_NUMBER, pattern="^[0-9]+$")] | int
Numbers = Annotated[list[Number], msgspec.Meta(max_length=MOST)]


class NotificationIn(msgspec.Struct, frozen=True, kw_only=True):
    """A notification of CRM, as far as it is looked at (facts `zoho-crm`, 4.2)."""

    channel_id: Number
    token: Annotated[str, msgspec.Meta(max_length=300)] | None = None
    module: Name
    ids: Numbers
    operation: Name
    server_time: Number | None = 0
    affected_fields: list[dict[str, list[str] | None]] | None = None
    """By record the fields that changed; may be empty, null or left out."""


class WorkflowIn(msgspec.Struct, frozen=True, kw_only=True):
    """What a workflow webhook of CRM tells: the record that it is about."""

    module: Name
    id: Number


class HappenedIn(msgspec.Struct, frozen=True, kw_only=True):
    """One event of the Email API; numbers may be longer than any integer, so they stay text.

    The codes of a bounce only tell whether it is one: a vacation reply or a delivery is not looked into.
    """

    contact_email: Annotated[str, msgspec.Meta(max_length=500)]
    bounce_code: msgspec.Raw = msgspec.Raw(b"")
    bounce_extended_code: msgspec.Raw = msgspec.Raw(b"")
    bounce_reason: msgspec.Raw = msgspec.Raw(b"")
    contact_id: msgspec.Raw = msgspec.Raw(b"")
    action_time: msgspec.Raw = msgspec.Raw(b"")


class HappeningsIn(msgspec.Struct, frozen=True, kw_only=True):
    """What a webhook of the Email API tells (facts `zoho-campaigns`, section 4)."""

    action: Name
    webhook_id: Name | int = 0
    data: Annotated[list[HappenedIn], msgspec.Meta(max_length=MOST)]


@post(NOTIFIED_AT, status_code=200, name="hook-crm-notifications")
async def post_notifications(request: AnyRequest, edge: NamedDependency[Edge]) -> Response[bytes]:
    """Keep which records CRM says have changed; 200 once that is durable."""
    told = _decode(await read_body(request, MOST_BYTES), NotificationIn)
    await _in_thread(_notified, edge, told)
    return _taken()


@post("/hooks/zoho/crm/workflow", status_code=200, name="hook-crm-workflow")
async def post_workflow(request: AnyRequest, edge: NamedDependency[Edge]) -> Response[bytes]:
    """Keep which record a workflow of CRM says has changed; 200 once that is durable."""
    _require_token(edge, request)
    body = await read_body(request, MOST_BYTES)
    is_json = body.lstrip()[:1] == b"{"
    told = _decode(body, WorkflowIn) if is_json else _convert(decode_form(body), WorkflowIn)
    await _in_thread(_flowed, edge, told)
    return _taken()


@post("/hooks/zoho/campaigns/events", status_code=200, name="hook-campaigns-events")
async def post_happenings(request: AnyRequest, edge: NamedDependency[Edge]) -> Response[bytes]:
    """Keep of whom Campaigns says that they left, complained or bounced; 200 once that is durable."""
    _require_token(edge, request)
    told = _decode(await read_body(request, MOST_BYTES), HappeningsIn)
    if told.action in (hints.UNSUBSCRIBED, hints.BOUNCE, hints.SPAM):
        await _in_thread(_happened, edge, told)
    return _taken()


def _notified(edge: Edge, tx: Connection, told: NotificationIn) -> None:
    now, channel_id = edge.now(), str(told.channel_id)
    if not channels.vouches(tx, channel_id, told.token or "", now=now):
        raise _refused("crm-notifications")
    channels.hear(tx, channel_id, at=now)
    if told.module not in _modules(edge) or told.operation not in ("insert", "update"):
        return
    wanted = [number for number in map(str, told.ids) if _concerns_us(edge, told, number)]
    hints.keep(
        tx,
        [
            Told(
                digest=_digest(edge, channel_id, told.operation, told.module, number, str(told.server_time)),
                kind=hints.NOTIFICATION,
                module=told.module,
                record_id=number,
            )
            for number in dict.fromkeys(wanted)
        ],
        at=now,
    )


def _concerns_us(edge: Edge, told: NotificationIn, number: str) -> bool:
    """Return whether the record's mapped fields changed; where CRM does not say which did, they may have."""
    changed = [name for entry in told.affected_fields or () for name in entry.get(number) or ()]
    return not changed or bool(set(changed) & _fields(edge, told.module))


def _flowed(edge: Edge, tx: Connection, told: WorkflowIn) -> None:
    """Keep one hint, unless one of the same record waits: a workflow tells no time to know a replay by."""
    number = str(told.id)
    if told.module not in _modules(edge) or hints.expects(tx, told.module, number):
        return
    one = Told(digest=secrets.token_bytes(32), kind=hints.WORKFLOW, module=told.module, record_id=number)
    hints.keep(tx, [one], at=edge.now())


def _happened(edge: Edge, tx: Connection, told: HappeningsIn) -> None:
    vault = edge.intake.vault
    data = [one for one in told.data if told.action != hints.BOUNCE or _came_back(one)]
    indexes = [vault.address_index(one.contact_email) for one in data]
    hints.keep(
        tx,
        [
            Told(
                digest=_digest(
                    edge,
                    str(told.webhook_id),
                    told.action,
                    bytes(one.contact_id).hex(),
                    bytes(one.action_time).hex(),
                    index.hex(),
                ),
                kind=told.action,
                address_index=index,
            )
            for one, index in zip(data, indexes, strict=True)
        ],
        at=edge.now(),
    )


def _came_back(one: HappenedIn) -> bool:
    """Return whether a bounce is one by its own codes (RFC 3463); the word alone is not doubted."""
    extended, basic, reason = (
        bytes(part).decode(errors="replace").strip('"')
        for part in (one.bounce_extended_code, one.bounce_code, one.bounce_reason)
    )
    return classify(Bounce.UNKNOWN, status=extended or basic, diagnostic=reason) is not Bounce.NONE


async def _in_thread(keep: Callable[[Edge, Connection, T], None], edge: Edge, told: T) -> None:
    """Run `keep` in a transaction of its own; 503 where the database fails, so that Zoho may try again."""

    def run() -> None:
        with edge.db.begin() as tx:
            keep(edge, tx, told)

    try:
        await asyncio.to_thread(run)
    except DBAPIError:
        raise Unavailable("this could not be kept just now; send it again in a minute") from None


def _require_token(edge: Edge, request: AnyRequest) -> None:
    """Raise `NotFound` where no token is set, and `Forbidden` for a wrong one, after the same work."""
    if not edge.hook_token:
        raise NotFound("no webhooks are taken here; set CONSENT_HOOK_TOKEN")
    wanted = sha256(edge.hook_token.encode()).digest()
    given = [text for name in HEADERS for text in _spelled(request.headers.get(name, ""))]
    found = [hmac.compare_digest(sha256(text.encode()).digest(), wanted) for text in given]
    if not any(found):
        raise _refused("webhook")


def _spelled(header: str) -> Sequence[str]:
    """Return what a header may mean: its text, what follows a scheme, the password of a Basic one."""
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() != "basic":
        return (header.strip(), rest.strip())
    try:
        return (b64decode(rest, validate=True).decode().partition(":")[2],)
    except (BadBase64, UnicodeDecodeError):
        return ()


def _refused(hook: str) -> Forbidden:
    log.warning("hook.refused", hook=hook)
    return Forbidden("this is not the token that was agreed on; nothing was kept")


def _modules(edge: Edge) -> set[str]:
    return {module.name for module in edge.policy.zoho.crm.modules}


def _fields(edge: Edge, module: str) -> set[str]:
    crm = edge.policy.zoho.crm
    return {crm.opt_out_field, *(name for one in crm.modules if one.name == module for name in one.emails)}


def _digest(edge: Edge, *parts: str) -> bytes:
    return hmac.digest(edge.intake.keys.dedupe, "\0".join(("hint", *parts)).encode(), "sha256")


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise _unlike() from None


def _convert(value: object, kind: type[T]) -> T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        raise _unlike() from None


def _unlike() -> Malformed:
    return Malformed("this is not what Zoho sends to this address; look at the webhook's settings")


def _taken() -> Response[bytes]:
    return Response(b"taken\n", status_code=200, media_type="text/plain")

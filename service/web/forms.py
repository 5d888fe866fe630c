"""`/forms/{form}`: where people give consent, and take it back as easily.

The server, not the caller, says what was shown: the notice of the form in force, its version and its
hash are sealed with the post. The answer is the same whether or not the address was known before, and so
is how far the log grows.

Without an idempotency key, the same post from the same browser within one clock minute is the same
event (a double click, a reload); across the turn of a minute it is recorded twice, which changes
nothing about the standing.
"""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec
from litestar import HttpMethod, Response, get, post, route
from litestar.di import NamedDependency
from litestar.params import FromPath

from service.consent import Category
from service.errors import Forbidden, Malformed
from service.intake import Claim, Recorded
from service.ledger.canonical import Json
from service.ledger.merkle import leaf_hash
from service.policy import Form
from service.vault import address as addresses
from service.web.edge import Edge
from service.web.problems import wants_page
from service.web.recording import idempotency_key, record, seen
from service.web.render import page
from service.web.strict import AnyRequest, convert, read_either

_PORTS: Final = {"http": 80, "https": 443}
_PREFLIGHT_S: Final = 600
_PAGE_HEADERS: Final = {"Referrer-Policy": "same-origin"}
"""With no-referrer a browser would post the form with `Origin: null`, as a stranger's page might."""

_TODO: Final = {
    "control": "go back, tick the box or press the button beside the words, and send it again",
    "page_url": "open the form on its own page, and send it from there",
}
"""What somebody does about evidence that a post lacks."""

Text = Annotated[str, msgspec.Meta(max_length=500)]


class FormIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a form posts; `control` is what the person used, `page_url` where they saw it.

    `language` is the browser's and kept as `browser_language`: that of the notice is the form's own.
    """

    email: Annotated[str, msgspec.Meta(min_length=3, max_length=500)]
    action: Literal["grant", "withdraw"] = "grant"
    control: Text | None = None
    page_url: Annotated[str, msgspec.Meta(max_length=2_000)] | None = None
    language: Text | None = None
    key: Annotated[str, msgspec.Meta(pattern="^[!-~]{1,200}$")] | None = None


class FormOut(msgspec.Struct, frozen=True, kw_only=True):
    """The signed receipt of a post; `receipt` is a C2SP tlog-proof file, hashes are SHA-256 in hex."""

    status: Literal["recorded", "duplicate"]
    form: str
    purpose: str
    action: Literal["grant", "withdraw"]
    notice_version: str
    notice_sha256: str
    index: int
    leaf_hash: str
    receipt: str


@route("/forms/{form:str}", http_method=HttpMethod.OPTIONS, name="form-preflight")
async def preflight_form(
    request: AnyRequest, edge: NamedDependency[Edge], form: FromPath[str]
) -> Response[None]:
    """Tell a browser whether a page of its origin may post here."""
    headers = _origin_headers(edge, edge.policy.form(form), request)
    return Response(
        None,
        status_code=204,
        headers={
            **headers,
            "Access-Control-Allow-Methods": "POST",
            "Access-Control-Allow-Headers": "content-type, idempotency-key",
            "Access-Control-Max-Age": str(_PREFLIGHT_S),
        },
    )


@get("/forms/{form:str}", name="form-page")
async def show_form(edge: NamedDependency[Edge], form: FromPath[str]) -> Response[bytes]:
    """Show the form as a recipient sees it: the notice, a box that is not ticked, a button."""
    shown = edge.policy.form(form)
    here = f"{edge.public_url.rstrip('/')}/forms/{form}"
    return page(
        "form.html",
        headers=_PAGE_HEADERS,
        name=form,
        form=shown,
        controller=edge.policy.controller,
        purpose=edge.policy.purposes[shown.purpose],
        page_url=here,
    )


@post("/forms/{form:str}", name="form-post")
async def post_form(request: AnyRequest, edge: NamedDependency[Edge], form: FromPath[str]) -> Response[bytes]:
    """Record what a person chose, and give a signed receipt or a thank-you page."""
    shown = edge.policy.form(form)
    headers = _origin_headers(edge, shown, request)
    posted = convert(await read_either(request), FormIn)
    done = await record(edge, _claim(edge, form, posted, request))
    if wants_page(request):
        return page(
            "thanks.html", headers=headers, form=shown, posted=posted, controller=edge.policy.controller
        )
    return Response(
        msgspec.json.encode(_receipt(form, shown, posted, done)),
        status_code=200 if done.duplicate else 201,
        media_type="application/json",
        headers=headers,
    )


def _origin_headers(edge: Edge, form: Form, request: AnyRequest) -> dict[str, str]:
    """Return what lets the posting page read the answer; raises `Forbidden` for a page of elsewhere."""
    given = request.headers.getall("origin", [])
    headers = {"Vary": "Origin"}
    if not given or (request.headers.get("sec-fetch-site") == "same-origin"):
        return headers
    if len(given) == 1 and given[0] in form.allowed_origins:
        return {**headers, "Access-Control-Allow-Origin": given[0]}
    if given == [edge.origin]:
        return headers
    raise Forbidden(
        "this form may not be posted from that page; allowed_origins in purposes.toml lists those that may"
    )


def _claim(edge: Edge, name: str, posted: FormIn, request: AnyRequest) -> Claim:
    form, now = edge.policy.form(name), edge.now()
    address = addresses.parse(posted.email)
    evidence: dict[str, Json] = {"form_id": name, "collection_method": "web form", **seen(request)}
    evidence |= _told(posted)
    if posted.action == "grant":
        evidence |= _shown(name, form) | _how(form, request)
        _require_evidence(edge.policy.form_demands(name, now.date()), evidence)
        _require_control(form, posted)
    _require_page(posted.page_url, request)
    given = posted.key or idempotency_key(request)
    return Claim(
        category=_category(edge, form, posted, address),
        source=f"form:{name}",
        key=f"given {given}" if given else _content_key(address, posted.action, evidence, now),
        address=address,
        purpose=form.purpose,
        received_at=now,
        evidence=evidence,
        veiled=True,
    )


def _category(edge: Edge, form: Form, posted: FormIn, address: str) -> Category:
    """Return what a post is. It stands in the receipt, so nothing that only we know of the person decides it.

    Where CRM tells that their law asks for a confirmation, the standing waits for one all the same.
    """
    if posted.action == "withdraw":
        return Category.WITHDRAWN
    atlas = edge.policy.atlas
    rules = edge.policy.rules(form.purpose, atlas.place(hint=atlas.hint(address)).jurisdiction)
    return Category.REQUESTED if rules.double_opt_in else Category.GRANTED


def _require_evidence(demands: Mapping[str, str], evidence: Mapping[str, Json]) -> None:
    for name, rule in demands.items():
        if not evidence.get(name):
            todo = _TODO.get(name, "send it again from an ordinary browser")
            why = f"nothing was recorded: a consent without this would prove little ({rule} asks for it)"
            raise Malformed(f"{why}; {todo}", field=name)


def _require_control(form: Form, posted: FormIn) -> None:
    if posted.control is not None and posted.control not in form.controls:
        raise Malformed(f"the controls of this form are {', '.join(form.controls)}", field="control")


def _require_page(told: str | None, request: AnyRequest) -> None:
    """Raise `Malformed` unless the page is one of the web, and of the origin that a browser names."""
    if not told:
        return
    poster, found = _origin_of(request.headers.get("origin", "")), _origin_of(told)
    if found is None:
        raise Malformed(
            "the page is an absolute address that begins with https:// or http://", field="page_url"
        )
    if poster not in (None, found):
        raise Malformed("the page is not of the origin that the browser posted from", field="page_url")


def _origin_of(url: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port of an absolute address of the web; None for anything else."""
    if not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname:
        return None
    return parts.scheme, parts.hostname, port or _PORTS[parts.scheme]


def _how(form: Form, request: AnyRequest) -> dict[str, Json]:
    """Return what a grant also tells, where it is so: unasked, or from a browser that asks not to be sold."""
    signals = {"opt_out_signal": request.headers.get("sec-gpc") == "1", "own_initiative": form.own_initiative}
    return {name: True for name, told in signals.items() if told}


def _shown(name: str, form: Form) -> dict[str, str]:
    return {
        "notice_id": name,
        "notice_version": form.notice_version,
        "notice_sha256": form.notice_sha256,
        "notice_copy": form.notice,
        "language": form.language,
    }


def _told(posted: FormIn) -> dict[str, str]:
    told = {
        "control": posted.control,
        "page_url": posted.page_url,
        "browser_language": posted.language,
    }
    return {name: value for name, value in told.items() if value}


def _content_key(address: str, action: str, evidence: Mapping[str, Json], now: datetime) -> str:
    content = msgspec.json.encode([address, action, evidence, f"{now:%Y-%m-%dT%H:%M}"], order="sorted")
    return f"content {sha256(content).hexdigest()}"


def _receipt(name: str, form: Form, posted: FormIn, done: Recorded) -> FormOut:
    return FormOut(
        status="duplicate" if done.duplicate else "recorded",
        form=name,
        purpose=form.purpose,
        action=posted.action,
        notice_version=form.notice_version,
        notice_sha256=form.notice_sha256,
        index=done.index,
        leaf_hash=leaf_hash(done.entry).hex(),
        receipt=done.receipt().decode(),
    )

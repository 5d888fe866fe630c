"""Every address of the service as data: what each method reads and answers; `openapi.py` writes it down."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from service.web.api import QuestionIn, StandingsOut
from service.web.audits import AuditIn, AuditPageIn
from service.web.corrections import CorrectionIn, CorrectionOut
from service.web.erasure import ErasureIn
from service.web.events import MAX_EVENTS, EventIn, EventOut
from service.web.forms import FormIn, FormOut
from service.web.hooks import NotificationIn, WorkflowIn
from service.web.links import LinksIn, LinksOut
from service.web.login import LoginIn, LogoutIn
from service.web.naming import NamesIn
from service.web.pages import SearchIn
from service.web.plans import DecisionFormIn
from service.web.plans_api import DecisionIn, DecisionOut
from service.web.problems import Problem
from service.web.receipts import ReceiptOut
from service.web.strict import JSON, URLENCODED

STRUCTS: Final = (
    AuditIn,
    AuditPageIn,
    NamesIn,
    QuestionIn,
    StandingsOut,
    EventIn,
    EventOut,
    CorrectionIn,
    CorrectionOut,
    ErasureIn,
    FormIn,
    FormOut,
    DecisionFormIn,
    DecisionIn,
    DecisionOut,
    LoginIn,
    LogoutIn,
    SearchIn,
    Problem,
    ReceiptOut,
    LinksIn,
    LinksOut,
    NotificationIn,
    WorkflowIn,
)
TEMPLATE: Final = "#/components/schemas/{name}"

_HTML: Final = "text/html"
_TEXT: Final = {"type": "string"}
_OBJECT: Final = {"type": "object"}
_BODY_ERRORS: Final = (400, 413, 415)

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one address; `reads` and `gives` map media types (and statuses) to schemas."""

    path: str
    method: str
    name: str
    summary: str
    reads: Mapping[str, Schema] = field(default_factory=dict)
    gives: Mapping[int, Mapping[str, Schema]] = field(default_factory=dict)
    errors: tuple[int, ...] = ()
    security: str | None = None
    parameters: tuple[Schema, ...] = ()


def reference(kind: type[msgspec.Struct]) -> Schema:
    """Return the schema that points to a structure among the components."""
    return {"$ref": TEMPLATE.format(name=kind.__name__)}


def _array(kind: type[msgspec.Struct]) -> Schema:
    return {"type": "array", "minItems": 1, "maxItems": MAX_EVENTS, "items": reference(kind)}


def _in_path(name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": _TEXT}


_FROM: Final = {
    "name": "from",
    "in": "query",
    "description": "the first change to list, counted from 0",
    "schema": {"type": "integer", "minimum": 0},
}
_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "same key and same request: same receipt; same key and another request: 409",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
}
_EITHER_EVENT: Final = {"oneOf": [reference(EventIn), _array(EventIn)]}
_EITHER_RESULT: Final = {JSON: {"oneOf": [reference(EventOut), _array(EventOut)]}}
_HOOK_ERRORS: Final = (400, 403, 413, 503)
_PAGE: Final = {_HTML: _TEXT}
_LOOKUP_ERRORS: Final = (401, 403, *_BODY_ERRORS, 503)
_ANY_BODY: Final = {URLENCODED: _OBJECT, "multipart/form-data": _OBJECT}

OPERATIONS: Final = (
    Operation(
        path="/api/events",
        method="post",
        name="events",
        summary="Record one event or up to 1,000; needs the scope events:write",
        reads={JSON: _EITHER_EVENT},
        gives={200: _EITHER_RESULT, 201: _EITHER_RESULT, 207: {JSON: _array(EventOut)}},
        errors=(401, 403, 409, *_BODY_ERRORS, 503),
        security="key",
        parameters=(_KEY,),
    ),
    Operation(
        path="/api/history",
        method="post",
        name="history",
        summary="Everything about one address, with proofs; needs the scope history:read",
        reads={JSON: reference(QuestionIn)},
        gives={200: {JSON: _OBJECT}},
        errors=_LOOKUP_ERRORS,
        security="key",
    ),
    Operation(
        path="/api/standing",
        method="post",
        name="standing",
        summary="May this address be mailed, and why; needs the scope history:read",
        reads={JSON: reference(QuestionIn)},
        gives={200: {JSON: reference(StandingsOut)}},
        errors=_LOOKUP_ERRORS,
        security="key",
    ),
    Operation(
        path="/api/bundle",
        method="post",
        name="bundle",
        summary="The history as one zip file that verifies without us; needs the scope history:read",
        reads={JSON: reference(QuestionIn)},
        gives={200: {"application/zip": {}}},
        errors=_LOOKUP_ERRORS,
        security="key",
    ),
    Operation(
        path="/api/unsubscribe-links",
        method="post",
        name="unsubscribe-links",
        summary="One-click links and headers for up to 1,000 addresses; needs the scope links:read",
        reads={JSON: reference(LinksIn)},
        gives={200: {JSON: reference(LinksOut)}},
        errors=_LOOKUP_ERRORS,
        security="key",
    ),
    Operation(
        path="/api/audit",
        method="post",
        name="audit",
        summary="The seven gotchas of the sync, measured on the last reading; needs the scope audit:write",
        reads={JSON: reference(AuditIn)},
        gives={200: {JSON: _OBJECT}},
        errors=(401, 403, 404, *_BODY_ERRORS, 503),
        security="key",
    ),
    Operation(
        path="/audit",
        method="get",
        name="audit-page",
        summary="The last sync audit as a page",
        gives={200: _PAGE, 303: {}},
        errors=(403,),
        security="session",
    ),
    Operation(
        path="/audit",
        method="post",
        name="audit-now",
        summary="Make a new sync audit from the last reading",
        reads={URLENCODED: reference(AuditPageIn)},
        gives={303: {}},
        errors=(401, 403, 404, *_BODY_ERRORS, 503),
        security="session",
    ),
    Operation(
        path="/deadlines",
        method="get",
        name="deadlines-page",
        summary="Both clocks of every withdrawal against each rule; people are pseudonyms",
        gives={200: _PAGE, 303: {}},
        errors=(403,),
        security="session",
    ),
    Operation(
        path="/deadlines",
        method="post",
        name="deadlines-names",
        summary="The same with the names of breaches, each recorded as a look-up",
        reads={URLENCODED: reference(NamesIn)},
        gives={200: _PAGE},
        errors=_LOOKUP_ERRORS,
        security="session",
    ),
    Operation(
        path="/api/receipts/{index}",
        method="get",
        name="receipt",
        summary=(
            "The newest receipt of an entry: logged, witnessed or anchored; needs history:read, "
            "or events:write for what the key recorded itself"
        ),
        gives={200: {JSON: reference(ReceiptOut)}},
        errors=(401, 403, 404),
        security="key",
        parameters=(_in_path("index"),),
    ),
    Operation(
        path="/api/corrections",
        method="post",
        name="correction",
        summary="Say that an entry is about the wrong person; needs the scope corrections:write",
        reads={JSON: reference(CorrectionIn)},
        gives={201: {JSON: reference(CorrectionOut)}, 202: {JSON: reference(CorrectionOut)}},
        errors=(401, 403, 404, *_BODY_ERRORS, 503),
        security="key",
    ),
    Operation(
        path="/api/corrections/{proposal}/approval",
        method="post",
        name="correction-approve",
        summary="Agree to a proposed correction; needs the scope corrections:write and an approver's name",
        gives={201: {JSON: reference(CorrectionOut)}, 202: {JSON: reference(CorrectionOut)}},
        errors=(400, 401, 403, 404, 409, 503),
        security="key",
        parameters=(_in_path("proposal"),),
    ),
    Operation(
        path="/api/erasure",
        method="post",
        name="erasure",
        summary="Erase the person behind an address; needs the scope erasure:write",
        reads={JSON: reference(ErasureIn)},
        gives={200: {"text/plain": _TEXT}},
        errors=(401, 403, 404, 409, *_BODY_ERRORS, 503),
        security="key",
    ),
    Operation(
        path="/api/erasure/{index}",
        method="get",
        name="erasure-certificate",
        summary="The certificate of an erasure again; needs the scope erasure:write",
        gives={200: {"text/plain": _TEXT}},
        errors=(401, 403, 404),
        security="key",
        parameters=(_in_path("index"),),
    ),
    Operation(
        path="/forms/{form}",
        method="options",
        name="form-preflight",
        summary="May a page of this origin post here",
        gives={204: {}},
        errors=(403, 404),
        parameters=(_in_path("form"),),
    ),
    Operation(
        path="/forms/{form}",
        method="get",
        name="form-page",
        summary="The form as a recipient sees it",
        gives={200: _PAGE},
        errors=(404,),
        parameters=(_in_path("form"),),
    ),
    Operation(
        path="/forms/{form}",
        method="post",
        name="form-post",
        summary="Give consent, or take it back",
        reads={JSON: reference(FormIn), URLENCODED: reference(FormIn)},
        gives={200: {JSON: reference(FormOut), **_PAGE}, 201: {JSON: reference(FormOut)}},
        errors=(403, 404, 409, *_BODY_ERRORS, 503),
        parameters=(_in_path("form"), _KEY),
    ),
    Operation(
        path="/u/{token}",
        method="get",
        name="unsubscribe-page",
        summary="A page with a button; changes nothing",
        gives={200: _PAGE},
        parameters=(_in_path("token"),),
    ),
    Operation(
        path="/u/{token}",
        method="head",
        name="unsubscribe-head",
        summary="The same without the page; changes nothing",
        gives={200: {}},
        parameters=(_in_path("token"),),
    ),
    Operation(
        path="/u/{token}",
        method="post",
        name="unsubscribe",
        summary="One-click unsubscribe (RFC 8058); the same answer for every token",
        reads=_ANY_BODY,
        gives={200: {"text/plain": _TEXT, **_PAGE}},
        errors=(503,),
        parameters=(_in_path("token"),),
    ),
    Operation(path="/login", method="get", name="login-page", summary="The log-in page", gives={200: _PAGE}),
    Operation(
        path="/login",
        method="post",
        name="login",
        summary="Log in",
        reads={URLENCODED: reference(LoginIn)},
        gives={303: {}, 401: _PAGE},
        errors=(403, *_BODY_ERRORS),
    ),
    Operation(
        path="/logout",
        method="post",
        name="logout",
        summary="Log out",
        reads={URLENCODED: reference(LogoutIn)},
        gives={303: {}},
        errors=(401, 403, *_BODY_ERRORS),
        security="session",
    ),
    Operation(
        path="/",
        method="get",
        name="search-page",
        summary="The auditors' search form",
        gives={200: _PAGE, 303: {}},
        errors=(403,),
        security="session",
    ),
    Operation(
        path="/history",
        method="post",
        name="history-page",
        summary="The history of an address as a page",
        reads={URLENCODED: reference(SearchIn)},
        gives={200: _PAGE},
        errors=_LOOKUP_ERRORS,
        security="session",
    ),
    Operation(
        path="/bundle",
        method="post",
        name="bundle-download",
        summary="The bundle of an address as a download",
        reads={URLENCODED: reference(SearchIn)},
        gives={200: {"application/zip": {}}},
        errors=_LOOKUP_ERRORS,
        security="session",
    ),
    Operation(
        path="/hooks/zoho/crm/notifications",
        method="post",
        name="hook-crm-notifications",
        summary="CRM says which records changed; only with the token of the channel that we asked for",
        reads={JSON: reference(NotificationIn)},
        gives={200: {"text/plain": _TEXT}},
        errors=_HOOK_ERRORS,
    ),
    Operation(
        path="/hooks/zoho/crm/workflow",
        method="post",
        name="hook-crm-workflow",
        summary="A workflow of CRM says which record changed; only with CONSENT_HOOK_TOKEN in a header",
        reads={JSON: reference(WorkflowIn), URLENCODED: reference(WorkflowIn)},
        gives={200: {"text/plain": _TEXT}},
        errors=(404, *_HOOK_ERRORS),
    ),
    Operation(
        path="/hooks/zoho/campaigns/events",
        method="post",
        name="hook-campaigns-events",
        summary="Campaigns says who left, complained or bounced; only with CONSENT_HOOK_TOKEN in a header",
        reads={JSON: _OBJECT},
        gives={200: {"text/plain": _TEXT}},
        errors=(404, *_HOOK_ERRORS),
    ),
    Operation(
        path="/plans",
        method="get",
        name="plans-page",
        summary="The newest plans, those that wait for an approval first",
        gives={200: _PAGE, 303: {}},
        errors=(403,),
        security="session",
    ),
    Operation(
        path="/plans/{number}",
        method="get",
        name="plan-page",
        summary="One plan: totals, cost, deadlines, who decided, every change; people are pseudonyms",
        gives={200: _PAGE, 303: {}},
        errors=(403, 404),
        security="session",
        parameters=(_in_path("number"), _FROM),
    ),
    Operation(
        path="/plans/{number}/decision",
        method="post",
        name="plan-decision",
        summary="Approve or refuse exactly the plan that the page showed; needs the role approver",
        reads={URLENCODED: reference(DecisionFormIn)},
        gives={303: {}},
        errors=(401, 403, 404, 409, *_BODY_ERRORS),
        security="session",
        parameters=(_in_path("number"),),
    ),
    Operation(
        path="/plans/{number}/names",
        method="post",
        name="plan-names",
        summary="The plan with the addresses of its first people, each recorded as a look-up",
        reads={URLENCODED: reference(NamesIn)},
        gives={200: _PAGE},
        errors=(*_LOOKUP_ERRORS, 404),
        security="session",
        parameters=(_in_path("number"),),
    ),
    Operation(
        path="/api/plans",
        method="get",
        name="plans",
        summary="The newest plans, those that wait for an approval first; needs the scope plans:read",
        gives={200: {JSON: {"type": "array", "items": _OBJECT}}},
        errors=(401, 403),
        security="key",
    ),
    Operation(
        path="/api/plans/{number}",
        method="get",
        name="plan",
        summary="One plan with up to 200 of its changes; needs the scope plans:read",
        gives={200: {JSON: _OBJECT}},
        errors=(401, 403, 404),
        security="key",
        parameters=(_in_path("number"), _FROM),
    ),
    Operation(
        path="/api/plans/{number}/decision",
        method="post",
        name="plan-decide",
        summary="Approve or refuse a plan by its digest; needs the scope plans:decide and an approver's name",
        reads={JSON: reference(DecisionIn)},
        gives={200: {JSON: reference(DecisionOut)}},
        errors=(401, 403, 404, 409, *_BODY_ERRORS),
        security="key",
        parameters=(_in_path("number"),),
    ),
    Operation(
        path="/log/checkpoint",
        method="get",
        name="log-checkpoint",
        summary="The newest published checkpoint of the log, a signed note (c2sp.org/tlog-checkpoint)",
        gives={200: {"text/plain": _TEXT}},
        errors=(404,),
    ),
    Operation(
        path="/log/tile/{tile}",
        method="get",
        name="log-tile",
        summary=(
            "A tile of the published log (c2sp.org/tlog-tiles): <L>/<N>[.p/<W>] is public; "
            "entries/<N>[.p/<W>] needs an auditor's session or a key with the scope log:read"
        ),
        gives={200: {"application/octet-stream": {}}},
        errors=(401, 403, 404),
        parameters=(_in_path("tile"),),
    ),
    Operation(
        path="/healthz",
        method="get",
        name="healthz",
        summary="Is the process up",
        gives={200: {JSON: _OBJECT}},
    ),
    Operation(
        path="/readyz",
        method="get",
        name="readyz",
        summary="Can it do its work",
        gives={200: {JSON: _OBJECT}},
        errors=(503,),
    ),
    Operation(
        path="/openapi.json",
        method="get",
        name="openapi",
        summary="This document",
        gives={200: {JSON: _OBJECT}},
    ),
)

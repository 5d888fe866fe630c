"""What the world may call: forms, one click, webhooks, the published log, health."""

from typing import Final

from service.web.forms import FormIn, FormOut
from service.web.hooks import NotificationIn, WorkflowIn
from service.web.operations.shapes import (
    ANY_BODY,
    BODY_ERRORS,
    HOOK_ERRORS,
    KEY,
    OBJECT,
    PAGE,
    TEXT,
    Operation,
    in_path,
    reference,
)
from service.web.strict import JSON, URLENCODED

PUBLIC: Final = (
    Operation(
        path="/forms/{form}",
        method="options",
        name="form-preflight",
        summary="May a page of this origin post here",
        gives={204: {}},
        errors=(403, 404),
        parameters=(in_path("form"),),
    ),
    Operation(
        path="/forms/{form}",
        method="get",
        name="form-page",
        summary="The form as a recipient sees it",
        gives={200: PAGE},
        errors=(404,),
        parameters=(in_path("form"),),
    ),
    Operation(
        path="/forms/{form}",
        method="post",
        name="form-post",
        summary="Give consent, or take it back",
        reads={JSON: reference(FormIn), URLENCODED: reference(FormIn)},
        gives={200: {JSON: reference(FormOut), **PAGE}, 201: {JSON: reference(FormOut)}},
        errors=(403, 404, 409, *BODY_ERRORS, 503),
        parameters=(in_path("form"), KEY),
    ),
    Operation(
        path="/u/{token}",
        method="get",
        name="unsubscribe-page",
        summary="A page with a button; changes nothing",
        gives={200: PAGE},
        parameters=(in_path("token"),),
    ),
    Operation(
        path="/u/{token}",
        method="head",
        name="unsubscribe-head",
        summary="The same without the page; changes nothing",
        gives={200: {}},
        parameters=(in_path("token"),),
    ),
    Operation(
        path="/u/{token}",
        method="post",
        name="unsubscribe",
        summary="One-click unsubscribe (RFC 8058); the same answer for every token",
        reads=ANY_BODY,
        gives={200: {"text/plain": TEXT, **PAGE}},
        errors=(503,),
        parameters=(in_path("token"),),
    ),
    Operation(
        path="/hooks/zoho/crm/notifications",
        method="post",
        name="hook-crm-notifications",
        summary="CRM says which records changed; only with the token of the channel that we asked for",
        reads={JSON: reference(NotificationIn)},
        gives={200: {"text/plain": TEXT}},
        errors=HOOK_ERRORS,
    ),
    Operation(
        path="/hooks/zoho/crm/workflow",
        method="post",
        name="hook-crm-workflow",
        summary="A workflow of CRM says which record changed; only with CONSENT_HOOK_TOKEN in a header",
        reads={JSON: reference(WorkflowIn), URLENCODED: reference(WorkflowIn)},
        gives={200: {"text/plain": TEXT}},
        errors=(404, *HOOK_ERRORS),
    ),
    Operation(
        path="/hooks/zoho/campaigns/events",
        method="post",
        name="hook-campaigns-events",
        summary="Campaigns says who left, complained or bounced; only with CONSENT_HOOK_TOKEN in a header",
        reads={JSON: OBJECT},
        gives={200: {"text/plain": TEXT}},
        errors=(404, *HOOK_ERRORS),
    ),
    Operation(
        path="/log/checkpoint",
        method="get",
        name="log-checkpoint",
        summary="The newest published checkpoint of the log, a signed note (c2sp.org/tlog-checkpoint)",
        gives={200: {"text/plain": TEXT}},
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
        parameters=(in_path("tile"),),
    ),
    Operation(
        path="/healthz",
        method="get",
        name="healthz",
        summary="Is the process up",
        gives={200: {JSON: OBJECT}},
    ),
    Operation(
        path="/readyz",
        method="get",
        name="readyz",
        summary="Can it do its work",
        gives={200: {JSON: OBJECT}},
        errors=(503,),
    ),
    Operation(
        path="/openapi.json",
        method="get",
        name="openapi",
        summary="This document",
        gives={200: {JSON: OBJECT}},
    ),
)

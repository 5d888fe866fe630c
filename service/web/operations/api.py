"""What programs ask and tell, under `/api/`."""

from typing import Final

from service.web.api import BundleIn, QuestionIn, StandingsOut
from service.web.audits import AuditIn
from service.web.confirming import ConfirmationsIn, ConfirmationsOut
from service.web.corrections import CorrectionIn, CorrectionOut
from service.web.erasure import ErasureIn
from service.web.events import EventOut
from service.web.links import LinksIn, LinksOut
from service.web.operations.shapes import (
    BODY_ERRORS,
    EITHER_EVENT,
    EITHER_RESULT,
    FROM,
    KEY,
    LOOKUP_ERRORS,
    OBJECT,
    TEXT,
    Operation,
    array,
    in_path,
    reference,
)
from service.web.plans_api import DecisionIn, DecisionOut
from service.web.receipts import ReceiptOut
from service.web.strict import JSON

API: Final = (
    Operation(
        path="/api/events",
        method="post",
        name="events",
        summary="Record one event or up to 1,000; needs the scope events:write",
        reads={JSON: EITHER_EVENT},
        gives={200: EITHER_RESULT, 201: EITHER_RESULT, 207: {JSON: array(EventOut)}},
        errors=(401, 403, 409, *BODY_ERRORS, 503),
        security="key",
        parameters=(KEY,),
    ),
    Operation(
        path="/api/history",
        method="post",
        name="history",
        summary="Everything about one address, with proofs; needs the scope history:read",
        reads={JSON: reference(QuestionIn)},
        gives={200: {JSON: OBJECT}},
        errors=LOOKUP_ERRORS,
        security="key",
    ),
    Operation(
        path="/api/standing",
        method="post",
        name="standing",
        summary="May this address be mailed, and why; needs the scope history:read",
        reads={JSON: reference(QuestionIn)},
        gives={200: {JSON: reference(StandingsOut)}},
        errors=LOOKUP_ERRORS,
        security="key",
    ),
    Operation(
        path="/api/bundle",
        method="post",
        name="bundle",
        summary="The history as one zip file that verifies without us; needs the scope history:read",
        reads={JSON: reference(BundleIn)},
        gives={200: {"application/zip": {}}},
        errors=LOOKUP_ERRORS,
        security="key",
    ),
    Operation(
        path="/api/unsubscribe-links",
        method="post",
        name="unsubscribe-links",
        summary="One-click links and headers for up to 1,000 addresses; needs the scope links:read",
        reads={JSON: reference(LinksIn)},
        gives={200: {JSON: reference(LinksOut)}},
        errors=LOOKUP_ERRORS,
        security="key",
    ),
    Operation(
        path="/api/confirmation-links",
        method="post",
        name="confirmation-links",
        summary="Links for the confirmation mails of up to 1,000 addresses; needs the scope links:read",
        reads={JSON: reference(ConfirmationsIn)},
        gives={200: {JSON: reference(ConfirmationsOut)}},
        errors=LOOKUP_ERRORS,
        security="key",
    ),
    Operation(
        path="/api/audit",
        method="post",
        name="audit",
        summary="The seven gotchas of the sync, measured on the last reading; needs the scope audit:write",
        reads={JSON: reference(AuditIn)},
        gives={200: {JSON: OBJECT}},
        errors=(401, 403, 404, *BODY_ERRORS, 503),
        security="key",
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
        parameters=(in_path("index"),),
    ),
    Operation(
        path="/api/corrections",
        method="post",
        name="correction",
        summary="Say that an entry is about the wrong person; needs the scope corrections:write",
        reads={JSON: reference(CorrectionIn)},
        gives={201: {JSON: reference(CorrectionOut)}, 202: {JSON: reference(CorrectionOut)}},
        errors=(401, 403, 404, *BODY_ERRORS, 503),
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
        parameters=(in_path("proposal"),),
    ),
    Operation(
        path="/api/erasure",
        method="post",
        name="erasure",
        summary="Erase the person behind an address; needs the scope erasure:write",
        reads={JSON: reference(ErasureIn)},
        gives={200: {"text/plain": TEXT}},
        errors=(401, 403, 404, 409, *BODY_ERRORS, 503),
        security="key",
    ),
    Operation(
        path="/api/erasure/{index}",
        method="get",
        name="erasure-certificate",
        summary="The certificate of an erasure again; needs the scope erasure:write",
        gives={200: {"text/plain": TEXT}},
        errors=(401, 403, 404),
        security="key",
        parameters=(in_path("index"),),
    ),
    Operation(
        path="/api/plans",
        method="get",
        name="plans",
        summary="The newest plans, those that wait for an approval first; needs the scope plans:read",
        gives={200: {JSON: {"type": "array", "items": OBJECT}}},
        errors=(401, 403),
        security="key",
    ),
    Operation(
        path="/api/plans/{number}",
        method="get",
        name="plan",
        summary="One plan with up to 200 of its changes; needs the scope plans:read",
        gives={200: {JSON: OBJECT}},
        errors=(401, 403, 404),
        security="key",
        parameters=(in_path("number"), FROM),
    ),
    Operation(
        path="/api/plans/{number}/decision",
        method="post",
        name="plan-decide",
        summary="Approve or refuse a plan by its digest; needs the scope plans:decide and an approver's name",
        reads={JSON: reference(DecisionIn)},
        gives={200: {JSON: reference(DecisionOut)}},
        errors=(401, 403, 404, 409, *BODY_ERRORS),
        security="key",
        parameters=(in_path("number"),),
    ),
)

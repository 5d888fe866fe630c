"""The one OpenAPI document: every address, what it reads and what it answers.

Written from the very structures that decode and encode, so that it cannot promise other fields than
the code takes.
"""

from typing import Any, Final

import msgspec

import service
from service.web import problems
from service.web.operations import OPERATIONS, STRUCTS, TEMPLATE, Operation, reference
from service.web.problems import Problem

_WORDS: Final = {
    200: "done",
    201: "recorded",
    202: "taken, and waits for somebody",
    204: "allowed",
    207: "some were recorded, see each",
    303: "go there",
    400: "the request cannot be read; `field` says where",
    401: "no key or session, or a wrong one",
    403: "not allowed",
    404: "nothing there",
    409: "the idempotency key names another event",
    410: "no longer of use",
    413: "too large",
    415: "send another media type",
    500: "our fault",
    503: "try again after Retry-After seconds",
}


def document(public_url: str) -> bytes:
    """Return the OpenAPI 3.1 document as JSON."""
    _, schemas = msgspec.json.schema_components(STRUCTS, ref_template=TEMPLATE)
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _describe(operation)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Consent ledger",
                "version": service.__version__,
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
                "description": (service.__doc__ or "").partition("\n")[0],
            },
            "servers": [{"url": public_url}],
            "paths": paths,
            "components": {
                "schemas": schemas,
                "securitySchemes": {
                    "key": {
                        "type": "http",
                        "scheme": "bearer",
                        "description": "`cl_<id>_<secret>`, with scopes",
                    },
                    "session": {"type": "apiKey", "in": "cookie", "name": "__Host-session"},
                },
            },
        }
    )


def _describe(operation: Operation) -> dict[str, Any]:
    answers = {
        str(status): {"description": _WORDS[status], "content": {m: {"schema": s} for m, s in media.items()}}
        for status, media in operation.gives.items()
    }
    for status in (*operation.errors, *((500,) if operation.gives else ())):
        answers[str(status)] = {
            "description": _WORDS[status],
            "content": {problems.MEDIA_TYPE: {"schema": reference(Problem)}},
        }
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "responses": answers,
    }
    if operation.reads:
        described["requestBody"] = {"content": {m: {"schema": s} for m, s in operation.reads.items()}}
    if operation.parameters:
        described["parameters"] = list(operation.parameters)
    described["security"] = [{operation.security: []}] if operation.security else []
    return described

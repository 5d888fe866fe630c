"""What an operation is, and the schemas, parameters and errors that several of them share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from service.web.events import MAX_EVENTS, EventIn, EventOut
from service.web.strict import JSON, URLENCODED

TEMPLATE: Final = "#/components/schemas/{name}"

HTML: Final = "text/html"
TEXT: Final = {"type": "string"}
OBJECT: Final = {"type": "object"}
BODY_ERRORS: Final = (400, 413, 415)

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


def array(kind: type[msgspec.Struct]) -> Schema:
    """Return the schema of an array of as many structures as one request may carry."""
    return {"type": "array", "minItems": 1, "maxItems": MAX_EVENTS, "items": reference(kind)}


def in_path(name: str) -> Schema:
    """Return the parameter that a part of the path is."""
    return {"name": name, "in": "path", "required": True, "schema": TEXT}


FROM: Final = {
    "name": "from",
    "in": "query",
    "description": "the first change to list, counted from 0",
    "schema": {"type": "integer", "minimum": 0},
}
KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "same key and same request: same receipt; same key and another request: 409",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
}
EITHER_EVENT: Final = {"oneOf": [reference(EventIn), array(EventIn)]}
EITHER_RESULT: Final = {JSON: {"oneOf": [reference(EventOut), array(EventOut)]}}
HOOK_ERRORS: Final = (400, 403, 413, 503)
PAGE: Final = {HTML: TEXT}
LOOKUP_ERRORS: Final = (401, 403, *BODY_ERRORS, 503)
ANY_BODY: Final = {URLENCODED: OBJECT, "multipart/form-data": OBJECT}

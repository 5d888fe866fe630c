"""Ids of the organisation's own: what `X-EXTERNAL` names instead of CRM's ids becomes CRM's ids.

The header says `{Module}.{External_Field_API_Name}`, several apart by commas (facts `zoho-crm`, 2.5).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from service.zoho.simulator.crm.fields import MODULES
from service.zoho.simulator.crm.gate import module_of, problem
from service.zoho.simulator.crm.rows import table
from service.zoho.simulator.wire import Call, Handler, Reply
from service.zoho.simulator.world import World

HEADER = "x-external"
NOBODY = "0"
"""An id that no record has, for a value that no record has."""


def aware(handle: Handler) -> Handler:
    """Return a handler of records that takes ids of the organisation's own as well."""

    def handler(world: World, call: Call) -> Reply:
        return handle(world, _resolved(world, call) if HEADER in call.headers else call)

    return handler


def _resolved(world: World, call: Call) -> Call:
    """Return the call with CRM's ids in path, query and body."""
    module = module_of(call)
    field = _field(module, call.headers[HEADER])
    slots, query = dict(call.slots), dict(call.query)
    if "record_id" in slots:
        slots["record_id"] = _id(world, module, field, slots["record_id"])
    if "ids" in query:
        query["ids"] = ",".join(_id(world, module, field, part) for part in query["ids"].split(","))
    return replace(call, slots=slots, query=query, body=_body(world, module, field, call.body))


def _field(module: str, header: str) -> str:
    for part in header.split(","):
        where, _, name = part.strip().partition(".")
        if where == module and name in MODULES[module] and MODULES[module][name].external:
            return name
    raise problem("INVALID_DATA", "invalid data", {"header_name": "X-EXTERNAL"})


def _id(world: World, module: str, field: str, value: str) -> str:
    row = world.db.execute(f"SELECT id FROM {table(module)} WHERE {field} = ?", (value,)).fetchone()
    return NOBODY if row is None else str(row[0])


def _body(world: World, module: str, field: str, body: bytes) -> bytes:
    """Return the body of a write with CRM's ids; another body as it is."""
    try:
        given = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError:
        return body
    if not isinstance(given.get("data"), list):
        return body

    def one(record: Any) -> Any:  # noqa: ANN401 - what JSON held
        if not isinstance(record, Mapping) or record.get("id") is None:
            return record
        return {**record, "id": _id(world, module, field, str(record["id"]))}

    return msgspec.json.encode({**given, "data": [one(record) for record in given["data"]]})

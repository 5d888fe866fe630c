"""What a person or a program sees of a running simulator: a page, the last requests, an OpenAPI document."""

import re
from importlib.resources import files

import msgspec

from service.zoho.simulator.switches import SWITCHES
from service.zoho.simulator.wire import Call, Endpoint, Reply, json_reply
from service.zoho.simulator.world import World

VERSION = "1"


def page(_world: World, _call: Call) -> Reply:
    """Answer `/_control/`: a page that shows state, credits and requests as they go by."""
    text = files("service.zoho.simulator").joinpath("console.html").read_bytes()
    return Reply(body=text, media_type="text/html")


def requests(world: World, _call: Call) -> Reply:
    """Answer the last requests, newest first: without their query, which may name people."""
    rows = [
        {"at": at, "method": method, "path": path, "outcome": outcome, "credits": credits_}
        for at, method, path, outcome, credits_ in reversed(world.requests)
    ]
    allowance = world.number("crm.credits_per_day")
    return json_reply({"requests": rows, "credits_left": world.meter.left(allowance, world.clock.now())})


def openapi(endpoints: tuple[Endpoint, ...]) -> dict[str, object]:
    """Return the OpenAPI document of the control plane."""
    bodies = [endpoint.body for endpoint in endpoints if endpoint.body is not None]
    _, components = msgspec.json.schema_components(bodies, ref_template="#/components/schemas/{name}")
    paths: dict[str, dict[str, object]] = {}
    for endpoint in endpoints:
        path = paths.setdefault(endpoint.path.replace(":str", ""), {})
        for method in endpoint.methods:
            path[str(method).lower()] = _operation(endpoint, str(method))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Control plane of the Zoho simulator",
            "version": VERSION,
            "description": "For tests and demos: what happened to whom, and what is really the case.",
        },
        "paths": paths,
        "components": {"schemas": {**components, "Switches": _switches()}},
    }


def _switches() -> dict[str, object]:
    """Return the schema of a body that sets switches: each with its answers, why it is open, and where."""
    properties = {name: switch.schema() for name, switch in SWITCHES.items()}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _operation(endpoint: Endpoint, method: str) -> dict[str, object]:
    slots = [part[1:-1].partition(":")[0] for part in endpoint.path.split("/") if part.startswith("{")]
    parameters = [
        {"name": slot, "in": "path", "required": True, "schema": {"type": "string"}} for slot in slots
    ]
    summary = (endpoint.handle.__doc__ or "").strip().splitlines()[0]
    answers = {
        "200": {"description": "Done, or the answer.", "content": {"application/json": {"schema": {}}}},
        "400": {"description": "The body makes no sense; `error` says why."},
        "404": {"description": "There is no such person, kind or record."},
    }
    operation: dict[str, object] = {
        "operationId": method.lower()
        + re.sub(r"\W+", "_", endpoint.path.removeprefix("/_control").replace(":str", "") or "_page"),
        "summary": summary,
        "responses": answers,
    }
    if parameters:
        operation["parameters"] = parameters
    named = endpoint.body.__name__ if endpoint.body is not None else ""
    named = "Switches" if endpoint.path.endswith("/switches") else named
    if named and method == "POST":
        schema = {"$ref": f"#/components/schemas/{named}"}
        operation["requestBody"] = {"content": {"application/json": {"schema": schema}}}
    return operation

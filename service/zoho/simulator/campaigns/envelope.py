"""The envelopes of Campaigns v1.1: status in the body, XML unless told otherwise, keys that change case."""

from collections.abc import Mapping
from dataclasses import replace
from xml.sax.saxutils import quoteattr

from service.zoho.simulator.campaigns import markup
from service.zoho.simulator.wire import XML, AnswerError, Call, Reply, json_reply
from service.zoho.simulator.world import World

Json = dict[str, object]


def success(world: World, call: Call, payload: Mapping[str, object], *, code: object = "0") -> Reply:
    """Return a success: status, code and address around what the endpoint has to say."""
    version = world.text("campaigns.version")
    body = {"status": "success", "code": _code(world, code), **payload, "uri": call.path, "version": version}
    return in_format(call, body)


def bare(world: World, call: Call, payload: Json) -> Reply:
    """Return a body that carries its own envelope, or none, as a few endpoints do."""
    if "code" in payload:
        payload = {**payload, "code": _code(world, payload["code"])}
    return in_format(call, payload)


def failure(world: World, call: Call, code: str, message: str) -> AnswerError:
    """Return the exception that ends a call with an error under HTTP 200."""
    body = {
        "status": "error",
        "code": _code(world, code),
        "message": message,
        "uri": call.path,
        "version": world.text("campaigns.version"),
    }
    if world.text("campaigns.error_keys") == "capital":
        body = {"Code": body["code"], "Message": message}
    return AnswerError(in_format(call, body))


def unauthorized(call: Call) -> Reply:
    """Return the one answer with an honest status; mind the capital keys and their order."""
    body = {
        "message": "Unauthorized request.",
        "version": "1.1",
        "URI": call.path,
        "Code": "1007",
        "status": "error",
    }
    return _formatted(call, body, status=401)


def wrong_address(path: str) -> Reply:
    """Return the answer to a path that does not exist: XML, HTTP 200, before any look at the token."""
    text = (
        f'<response uri={quoteattr(path)} version="1"><code>1004</code>'
        "<status>error</status><message>Wrong URL entered.</message></response>"
    )
    return Reply(body=text.encode(), media_type=XML)


def locked(world: World, call: Call) -> Reply:
    """Return the answer of an endpoint whose window is used up; nobody published it, so it is a switch."""
    message = "Calls limit exceeded. Please try again after some time."
    gateway = {
        "error_description": message,
        "error": "URL_ROLLING_THROTTLES_LIMIT_EXCEEDED",
        "status": "failure",
    }
    match world.text("throttle.style"):
        case "gateway_400":
            return json_reply(gateway, status=400)
        case "gateway_200":
            return json_reply(gateway)
        case "http_429":
            return json_reply(
                {"code": "TOO_MANY_REQUESTS", "message": message, "status": "error"}, status=429
            )
        case _:
            return failure(world, call, "2008", message).reply


def in_format(call: Call, body: Mapping[str, object]) -> Reply:
    """Return the body as JSON if `resfmt` asks for it in any case, else as XML."""
    return _formatted(call, body, status=200)


def as_json(call: Call) -> Call:
    """Return the call as if it had asked for JSON, for endpoints that know nothing else."""
    return replace(call, query={**call.query, "resfmt": "JSON"})


def _formatted(call: Call, body: Mapping[str, object], *, status: int) -> Reply:
    asked = call.params.get("resfmt", call.params.get("type", ""))
    if asked.lower() == "json":
        return json_reply(markup.without_xml_keys(body), status=status)
    return Reply(status=status, body=markup.document(call.path, body).encode(), media_type=XML)


def _code(world: World, code: object) -> object:
    match world.text("campaigns.codes"):
        case "number" if str(code).isdigit():
            return int(str(code))
        case "string":
            return str(code)
        case _:
            return code

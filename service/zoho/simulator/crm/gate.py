"""CRM's door: token, scope, credits; and the shapes of its errors."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from service.zoho.simulator.crm.fields import CUSTOM, MODULES
from service.zoho.simulator.tokens import covers
from service.zoho.simulator.wire import (
    AnswerError,
    Call,
    Endpoint,
    Reply,
    json_reply,
    price,
    template,
    told_when,
)
from service.zoho.simulator.world import World


def answer(world: World, endpoint: Endpoint, call: Call) -> Reply:
    """Answer one CRM call: 401 without token or scope, 429 in a crowd or without credits, else a reply.

    `X-API-CREDITS-REMAINING` appears once half of the day's credits are used.
    """
    world.meter.count("crm", f"{call.method} {template(endpoint)}")
    _authorise(world, endpoint, call)
    _permit(world, call)
    if call.crowded:
        return told_when(world, _throttled(world))
    allowance = world.number("crm.credits_per_day")
    left = world.meter.spend(price(world, endpoint, call), allowance=allowance, now=world.clock.now())
    if left is None:
        return told_when(world, _throttled(world))
    reply = _served(world, endpoint, call)
    if left > allowance / 2:
        return reply
    headers = {**reply.headers, "X-API-CREDITS-REMAINING": str(left)}
    return replace(reply, headers=headers)


def serve_within(world: World, endpoint: Endpoint, call: Call) -> Reply:
    """Answer a call within another one: it needs its own scope and permission, and costs nothing more."""
    try:
        _authorise(world, endpoint, call)
        _permit(world, call)
    except AnswerError as early:
        return early.reply
    return _served(world, endpoint, call)


def _served(world: World, endpoint: Endpoint, call: Call) -> Reply:
    try:
        _require_module(world, call)
        return endpoint.handle(world, call)
    except AnswerError as early:
        return early.reply


def problem(
    code: str, message: str, details: Mapping[str, object] | None = None, *, status: int = 400
) -> AnswerError:
    """Return the exception that ends a call with CRM's error object at the top level."""
    return AnswerError(json_reply(error_item(code, message, details), status=status))


def read_problem(
    world: World, code: str, message: str, details: Mapping[str, object] | None = None
) -> AnswerError:
    """Return the exception that ends a GET; one schema wraps such errors in `data`, which is a switch."""
    item: object = error_item(code, message, details)
    if world.text("crm.get_errors") == "data":
        item = {"data": [item]}
    return AnswerError(json_reply(item, status=400))


def error_item(code: str, message: str, details: Mapping[str, object] | None = None) -> dict[str, object]:
    """Return CRM's error object."""
    return {"code": code, "details": dict(details or {}), "message": message, "status": "error"}


def module_of(call: Call) -> str:
    """Return the module of the path, or refuse it as CRM does."""
    module = call.slots["module"]
    if module not in MODULES:
        message = "the module name given seems to be invalid"
        raise problem("INVALID_MODULE", message, {"resource_path_index": 0})
    return module


def asked_module(world: World, call: Call) -> str:
    """Return the module of the parameter `module`, or refuse it as CRM does."""
    name = call.query.get("module")
    if name is None:
        message = "One of the expected parameter is missing"
        raise read_problem(world, "REQUIRED_PARAM_MISSING", message, {"param_name": "module"})
    if name not in MODULES:
        message = "the module name given seems to be invalid"
        raise read_problem(world, "INVALID_MODULE", message, {"param_name": "module"})
    return name


def _require_module(world: World, call: Call) -> None:
    """Refuse a module that an admin has removed, in the path or as a parameter."""
    message = "the module name given seems to be invalid"
    if call.slots.get("module") in world.removed:
        raise problem("INVALID_MODULE", message, {"resource_path_index": 0})
    if call.query.get("module") in world.removed:
        raise read_problem(world, "INVALID_MODULE", message, {"param_name": "module"})


def wrong_address() -> Reply:
    """Return the answer to a path that CRM does not have."""
    message = "Please check if the URL trying to access is a correct one"
    return json_reply(error_item("INVALID_URL_PATTERN", message), status=404)


def wrong_method(world: World) -> Reply:
    """Return the answer to a method that the path does not take."""
    message = "The http request method type is not a valid one"
    status = world.number("crm.wrong_method_status")
    return json_reply(error_item("INVALID_REQUEST_METHOD", message), status=status)


def _authorise(world: World, endpoint: Endpoint, call: Call) -> None:
    header = call.headers.get("authorization")
    if header is None:
        raise problem("AUTHENTICATION_FAILURE", "Authentication failed", status=401)
    centre = world.centre_at(call.base_url)
    grant = world.tokens.grant(header, bearer=world.on("oauth.bearer"), now=world.clock.now(), centre=centre)
    if grant is None:
        raise _bad_token(world)
    scope = world.text(endpoint.scope[1:]) if endpoint.scope.startswith("@") else endpoint.scope
    needed = f"{scope.replace('{module}', call.slots.get('module', ''))} {endpoint.more_scopes(call)}"
    if not all(_opens(grant.scopes, scope) for scope in needed.split()):
        raise _scope_mismatch(world, call)


def _throttled(world: World) -> Reply:
    code = world.text("crm.throttle_code")
    if world.text("crm.throttle_body") == "old":
        info = "Many requests fired than the allowed limit for the past 24 hours."
        return json_reply({"code": 429, "error": code, "error_info": info, "details": []}, status=429)
    return json_reply(error_item(code, world.text("crm.throttle_message")), status=429)


def _bad_token(world: World) -> AnswerError:
    code = world.text("crm.bad_token")
    message = "invalid oauth token" if code == "INVALID_TOKEN" else "Authentication failed"
    return problem(code, message, status=401)


def _scope_mismatch(world: World, call: Call) -> AnswerError:
    told = world.text("crm.scope_mismatch")
    message = "Unauthorized" if told == "unauthorized" else "invalid oauth scope to access this URL"
    details = {"method": call.method, "url": call.path} if told == "address" else {}
    return problem("OAUTH_SCOPE_MISMATCH", message, details, status=401)


def _permit(world: World, call: Call) -> None:
    """Refuse what the profile of the API's user forbids by switch."""
    if f"{call.method}:{call.slots.get('module')}" not in world.text("crm.denied").split():
        return
    code, status = world.text("crm.denied_as").split()
    verb = "View" if call.method == "GET" else "Edit"
    details = {"permissions": [f"Crm_Implied_{verb}_{call.slots['module']}"]}
    if code == "NO_PERMISSION":
        raise problem(code, "permission denied", details, status=int(status))
    message = "User does not have sufficient privilege to do this"
    raise problem(code, message, status=int(status))


def _opens(granted: Sequence[str], scope: str) -> bool:
    """Return whether a scope is granted; that of a module of one's own may be called `custom`."""
    if covers(granted, scope):
        return True
    area, _, verb = scope.rpartition(".")
    module = area.removeprefix("ZohoCRM.modules.")
    return module in CUSTOM and covers(granted, f"ZohoCRM.modules.custom.{verb}")

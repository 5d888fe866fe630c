"""Zoho Accounts: tokens for a refresh token or client credentials, and their revocation.

Nearly every failure is HTTP 200 with an `error` key; success is the presence of `access_token`.
"""

from service.zoho.simulator import names
from service.zoho.simulator.tokens import LIFETIME_S
from service.zoho.simulator.wire import Call, Endpoint, Reply, json_reply, template
from service.zoho.simulator.world import World


def token(world: World, call: Call) -> Reply:
    """Answer `POST /oauth/v2/token`; parameters may stand in the query or in a form body."""
    params = call.params
    if params.get("client_id") != names.CLIENT_ID:
        return json_reply({"error": "invalid_client"})
    if params.get("client_secret") != names.CLIENT_SECRET:
        return json_reply({"error": "invalid_client_secret"})
    match params.get("grant_type"):
        case "refresh_token":
            return _refresh(world, call)
        case "client_credentials":
            return _client_credentials(world, call)
        case _:
            return json_reply({"error": "invalid_code"})


def revoke(world: World, call: Call) -> Reply:
    """Answer `POST /oauth/v2/token/revoke`."""
    world.tokens.revoke(call.params.get("token", ""))
    return json_reply({"status": "success"})


def _refresh(world: World, call: Call) -> Reply:
    refresh_token = call.params.get("refresh_token", "")
    if refresh_token != names.REFRESH_TOKEN or refresh_token in world.tokens.revoked:
        return json_reply({"error": "invalid_code"})
    return _issue(world, call, source=refresh_token, scopes=tuple(world.text("oauth.scopes").split()))


def _client_credentials(world: World, call: Call) -> Reply:
    params = call.params
    if params.get("soid") != f"ZohoCRM.{names.ORG_ZGID}":
        return json_reply({"error": "missing_org_info"})
    scopes = tuple(scope.strip() for scope in params.get("scope", "").split(",") if scope.strip())
    if not scopes:
        return json_reply({"error": "invalid_scope"})
    return _issue(world, call, source=params["client_id"], scopes=scopes)


def _issue(world: World, call: Call, *, source: str, scopes: tuple[str, ...]) -> Reply:
    now = world.clock.now()
    if world.tokens.throttled(source, limit=world.number("oauth.tokens_per_10_min"), now=now):
        return json_reply(_THROTTLED, status=400)
    answer: dict[str, object] = {"access_token": world.tokens.issue(source, scopes, now)}
    if world.on("oauth.scope_in_token"):
        answer["scope"] = " ".join(scopes)
    answer |= {"api_domain": call.base_url, "token_type": "Bearer", "expires_in": LIFETIME_S}
    if world.on("oauth.legacy_expiry"):
        answer |= {"expires_in": LIFETIME_S * 1000, "expires_in_sec": LIFETIME_S}
    return json_reply(answer)


_THROTTLED = {
    "error_description": "You have made too many requests continuously. Please try again after some time.",
    "error": "Access Denied",
    "status": "failure",
}


def answer(world: World, endpoint: Endpoint, call: Call) -> Reply:
    """Count the call and let the handler answer; the token endpoint has no other gate."""
    world.meter.count("oauth", f"{call.method} {template(endpoint)}")
    return endpoint.handle(world, call)


ENDPOINTS = (
    Endpoint(methods=("POST",), path="/oauth/v2/token", handle=token),
    Endpoint(methods=("POST",), path="/oauth/v2/token/revoke", handle=revoke),
)

"""Zoho Accounts: consent in a browser, grant codes, tokens for four grants, their revocation, the centres.

Nearly every failure is HTTP 200 with an `error` key; success is the presence of `access_token`.
"""

from urllib.parse import urlencode, urlsplit

import msgspec

from service.zoho.simulator import names
from service.zoho.simulator.switches import ALL_SCOPES
from service.zoho.simulator.tokens import LIFETIME_S, Code, covers
from service.zoho.simulator.wire import Call, Endpoint, Reply, json_reply, template
from service.zoho.simulator.world import World

KNOWN = (*ALL_SCOPES.split(), "ZohoCRM.send_mail.ALL", "ZohoCRM.composite_requests.CUSTOM")
"""All scopes that exist here, those included that the planted refresh token has not."""
CODE_S = 180
"""How long a grant code lives unless the API console was told otherwise (facts `zoho-crm`, 1.2)."""


class SelfClient(msgspec.Struct, forbid_unknown_fields=True):
    """An admin makes a grant code in the API console."""

    scope: str
    minutes: int = 3


def authorize(world: World, call: Call) -> Reply:
    """Answer `GET /oauth/v2/auth` as if a person had accepted at once, or refused by switch.

    The redirect names the person's data centre. Mistakes in the client are shown, not sent on.
    """
    params, redirect_uri = call.query, call.query.get("redirect_uri", "")
    if params.get("client_id") != names.CLIENT_ID or world.is_foreign(call.base_url):
        return _page("invalid_client")
    if params.get("response_type") != "code":
        return _page("invalid_response_type")
    if not _is_registered(world, redirect_uri):
        return _page("invalid_redirect_uri")
    told = {"state": params["state"]} if "state" in params else {}
    scopes = _scopes(params.get("scope", ""))
    if not scopes:
        return _redirect(redirect_uri, {**told, "error": "invalid_scope"})
    if world.text("oauth.consent") == "refuses":
        return _redirect(redirect_uri, {**told, "error": "access_denied"})
    is_again = bool(world.tokens.refresh) and params.get("prompt") != "consent"
    code = Code(
        scopes=scopes,
        expires_at=world.clock.now() + CODE_S,
        redirect_uri=redirect_uri,
        offline=params.get("access_type") == "offline" and not is_again,
    )
    where = {"location": world.home, "accounts-server": world.address_of(world.home, call.base_url)}
    return _redirect(redirect_uri, {**told, "code": world.tokens.issue_code(code), **where})


def token(world: World, call: Call) -> Reply:
    """Answer `POST /oauth/v2/token`; parameters may stand in the query or in a form body."""
    params = call.params
    if params.get("client_id") != names.CLIENT_ID or world.is_foreign(call.base_url):
        return _refusal(world, "invalid_client")
    if params.get("client_secret") != names.CLIENT_SECRET:
        return _refusal(world, "invalid_client_secret")
    match params.get("grant_type"):
        case "authorization_code":
            return _authorization_code(world, call)
        case "refresh_token":
            return _refresh(world, call)
        case "client_credentials":
            return _client_credentials(world, call)
        case _:
            return _invalid_code()


def revoke(world: World, call: Call) -> Reply:
    """Answer `POST /oauth/v2/token/revoke`."""
    world.tokens.revoke(call.params.get("token", ""))
    return json_reply({"status": "success"})


def serverinfo(world: World, call: Call) -> Reply:
    """Answer `GET /oauth/serverinfo`: where each data centre's accounts are, of those that are simulated."""
    found = world.addresses() or {world.home: call.base_url}
    return json_reply({"result": "success", "locations": found})


def self_client(world: World, call: Call) -> Reply:
    """Make a grant code of the self client, as an admin does in the API console."""
    asked = msgspec.json.decode(call.body, type=SelfClient)
    scopes = _scopes(asked.scope)
    if not scopes or not asked.minutes:
        return json_reply({"error": "give scopes that exist, comma separated, and some minutes"}, status=400)
    code = Code(scopes=scopes, expires_at=world.clock.now() + 60 * asked.minutes)
    return json_reply({"code": world.tokens.issue_code(code)})


def _authorization_code(world: World, call: Call) -> Reply:
    code = world.tokens.redeem(call.params.get("code", ""), world.clock.now())
    if code is None:
        return _invalid_code()
    if code.redirect_uri is not None and call.params.get("redirect_uri") != code.redirect_uri:
        return _refusal(world, "invalid_redirect_uri")
    refresh_token = world.tokens.issue_refresh(code.scopes) if code.offline else None
    return _issue(
        world, call, source=refresh_token or "online", scopes=code.scopes, refresh_token=refresh_token
    )


def _refresh(world: World, call: Call) -> Reply:
    refresh_token = call.params.get("refresh_token", "")
    if refresh_token == names.REFRESH_TOKEN:
        scopes: tuple[str, ...] | None = tuple(world.text("oauth.scopes").split())
    else:
        scopes = world.tokens.refresh.get(refresh_token)
    if scopes is None or refresh_token in world.tokens.revoked:
        return _invalid_code()
    return _issue(world, call, source=refresh_token, scopes=scopes)


def _client_credentials(world: World, call: Call) -> Reply:
    params = call.params
    if params.get("soid") != f"ZohoCRM.{names.ORG_ZGID}":
        return _refusal(world, "missing_org_info")
    scopes = _scopes(params.get("scope", ""))
    if not scopes:
        return _refusal(world, "invalid_scope")
    return _issue(world, call, source=params["client_id"], scopes=scopes)


def _issue(
    world: World, call: Call, *, source: str, scopes: tuple[str, ...], refresh_token: str | None = None
) -> Reply:
    now = world.clock.now()
    if world.tokens.throttled(source, limit=world.number("oauth.tokens_per_10_min"), now=now):
        return json_reply(_THROTTLED, status=400)
    answer: dict[str, object] = {"access_token": world.tokens.issue(source, scopes, now, world.home)}
    world.tokens.keep_newest(source, world.number("oauth.live_tokens"))
    if refresh_token is not None:
        answer["refresh_token"] = refresh_token
    if world.on("oauth.scope_in_token"):
        answer["scope"] = " ".join(scopes)
    answer |= {"api_domain": call.base_url, "token_type": "Bearer", "expires_in": LIFETIME_S}
    if world.on("oauth.legacy_expiry"):
        answer |= {"expires_in": LIFETIME_S * 1000, "expires_in_sec": LIFETIME_S}
    return json_reply(answer)


def _scopes(text: str) -> tuple[str, ...]:
    """Return the scopes of a comma-separated list, none at all if one of them does not exist."""
    found = tuple(scope.strip() for scope in text.split(",") if scope.strip())
    return found if all(covers(KNOWN, scope) for scope in found) else ()


def _is_registered(world: World, redirect_uri: str) -> bool:
    """Return whether the client may send people there: what the switch names, else anywhere on loopback."""
    if registered := world.text("oauth.redirect_uris").split():
        return redirect_uri in registered
    return urlsplit(redirect_uri).hostname in ("127.0.0.1", "localhost", "::1")


def _redirect(redirect_uri: str, params: dict[str, str]) -> Reply:
    joint = "&" if urlsplit(redirect_uri).query else "?"
    headers = {"Location": f"{redirect_uri}{joint}{urlencode(params)}"}
    return Reply(status=302, media_type="text/html", headers=headers)


def _page(error: str) -> Reply:
    """Return what a person sees where nobody can be told by redirect."""
    body = f"<!doctype html><title>Zoho Accounts</title><h1>Error Occurred</h1><p>{error}</p>"
    return Reply(status=400, media_type="text/html", body=body.encode())


def _invalid_code() -> Reply:
    return json_reply({"error": "invalid_code"})


def _refusal(world: World, error: str) -> Reply:
    return json_reply({"error": error}, status=world.number("oauth.error_status"))


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
    Endpoint(methods=("GET",), path="/oauth/v2/auth", handle=authorize),
    Endpoint(methods=("POST",), path="/oauth/v2/token", handle=token),
    Endpoint(methods=("POST",), path="/oauth/v2/token/revoke", handle=revoke),
    Endpoint(methods=("GET",), path="/oauth/serverinfo", handle=serverinfo),
)

"""How an organisation lets us in: the consent page's address, a code for a refresh token, and its end.

Facts `zoho-crm` section 1.2. No PKCE: Zoho documents none. A code is good once, so an exchange is never
repeated; who lost the answer makes a new code. Each call is booked before it is sent, in windows of its own:
the access tokens of a connected organisation are counted apart. Nothing here writes or logs a secret.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import urlencode

from pydantic import SecretStr

from service.errors import QuotaExhausted, Unreachable, ZohoDenied
from service.reconciler.port import Meter
from service.zoho import oauth
from service.zoho.quota import Quota, Till
from service.zoho.scopes import ASKED
from service.zoho.wire import Answer, Line, Lost

REVOKE = "POST /oauth/v2/token/revoke"
CODES = f"{oauth.ENDPOINT} (code)"
"""The account in which exchanges of codes are counted: each makes a refresh token that has its own window."""


class Desk:
    """Zoho Accounts, while an organisation comes or goes: one connection pool, and what books its calls."""

    def __init__(self, line: Line, quota: Quota, meter: Meter) -> None:
        self._line = line
        self._gate = quota.gate("oauth")
        self._till = Till(meter)

    def ask(self, url: str, account: str, form: Mapping[str, str]) -> Answer | Lost:
        """Book a call and send it once; raises `QuotaExhausted` where the account's window is full."""
        free_at = self._gate.reserve(account, who="connect")
        if free_at is not None:
            raise QuotaExhausted(
                f"too many calls of {account} within ten minutes; run again after {free_at:%H:%M:%S} UTC",
                code=oauth.OWN_WINDOW,
                endpoint=account,
                until=free_at,
            )
        self._till.book("oauth", account)
        return self._line.exchange("POST", url, form=form)


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A client of the API console; `accounts_url` is that of its data centre."""

    accounts_url: str
    client_id: str
    client_secret: SecretStr


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """What a code was exchanged for; `scopes` is None where the answer does not say."""

    refresh_token: SecretStr = field(repr=False)
    scopes: tuple[str, ...] | None


def consent_url(accounts_url: str, client_id: str, *, redirect_uri: str, state: str) -> str:
    """Return where a person agrees in a browser; `prompt=consent` is what brings a refresh token."""
    params = {
        "response_type": "code",
        "client_id": client_id,
        "scope": ASKED,
        "redirect_uri": redirect_uri,
        "access_type": "offline",
        "prompt": "consent",
        "state": state,
    }
    return f"{accounts_url.rstrip('/')}/oauth/v2/auth?{urlencode(params)}"


def exchange(desk: Desk, client: Client, code: SecretStr, *, redirect_uri: str | None = None) -> Granted:
    """Return the refresh token for a grant code; `redirect_uri` is None for a self client's.

    Raises `ZohoDenied` with what to correct, `QuotaExhausted`, or `Unreachable`: then the code is spent.
    """
    form = {
        "grant_type": "authorization_code",
        "client_id": client.client_id,
        "client_secret": client.client_secret.get_secret_value(),
        "code": code.get_secret_value(),
    }
    if redirect_uri is not None:
        form["redirect_uri"] = redirect_uri
    answer = _ask(desk, client, "/oauth/v2/token", CODES, form=form)
    told = oauth.told(answer, datetime.now(UTC))
    if not told.get("access_token"):
        raise oauth.failure(told, advice=_ADVICE)
    refresh_token = told.get("refresh_token")
    if not isinstance(refresh_token, str) or not refresh_token:
        raise ZohoDenied(
            "Zoho Accounts gave an access token but no refresh token; make the code with a self client, or "
            "agree again in the browser, so that access lasts",
            code="NO_REFRESH_TOKEN",
            endpoint=oauth.ENDPOINT,
        )
    return Granted(refresh_token=SecretStr(refresh_token), scopes=oauth.scopes_of(told))


def revoke(desk: Desk, accounts_url: str, token: SecretStr) -> bool:
    """Take a refresh token back; return whether Zoho says so, False where it does not know the token.

    Raises `Unreachable` where nothing is known, and `QuotaExhausted`.
    """
    client = Client(accounts_url=accounts_url, client_id="", client_secret=SecretStr(""))
    form = {
        "token": token.get_secret_value()
    }  # as Zoho's own SDK does; an address would be logged by proxies
    answer = _ask(desk, client, "/oauth/v2/token/revoke", REVOKE, form=form)
    told = answer.json(REVOKE)
    return isinstance(told, dict) and told.get("status") == "success"


_ADVICE = {
    "invalid_code": "the code was used already, has expired, or is of another client or data centre; "
    "make a new one",
    "invalid_client": "check the client id, and that the client is of this data centre",
    "invalid_client_secret": "check the client secret; with several data centres each may have its own",
    "invalid_redirect_uri": "register exactly this redirect address for the client in the API console",
}


def _ask(desk: Desk, client: Client, path: str, endpoint: str, *, form: Mapping[str, str]) -> Answer:
    """Send once; raises `Unreachable` where no answer below 500 came."""
    found = desk.ask(client.accounts_url.rstrip("/") + path, endpoint, form)
    if isinstance(found, Answer) and found.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return found
    why = f"HTTP {found.status}" if isinstance(found, Answer) else found.why
    raise Unreachable(
        f"Zoho Accounts did not answer {endpoint} ({why}); check the data centre, then try again "
        "with a new code",
        code="UNREACHABLE",
        endpoint=endpoint,
    )

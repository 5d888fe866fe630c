"""The access token: fetched once for all threads and processes, renewed early, never logged.

Implements facts `zoho-crm` section 1.2 and `zoho-campaigns` section 1.2: success is the presence of
`access_token`, never the status; a refresh token gives at most ten access tokens in ten minutes.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

import structlog
from pydantic import SecretStr

from service.errors import QuotaExhausted, Unreachable, ZohoDenied, ZohoError
from service.zoho.pace import Pace
from service.zoho.quota import OAUTH_LIMITS, Gate, Till, Windows
from service.zoho.tokens import CLAIM, Good, Keeper, Token, Unshared
from service.zoho.wire import Answer, Line, Lost

log = structlog.get_logger(__name__)

ENDPOINT = "POST /oauth/v2/token"
EARLY = timedelta(minutes=5)
DAY_S = 86_400
"""No access token lives this long: a larger `expires_in` is in milliseconds."""

REFUSED_FOR = timedelta(minutes=1)
"""How long a refusal is remembered, so that twenty threads do not ask twenty times."""

THROTTLED_FOR = timedelta(minutes=10)
POLL_S = 0.1
"""How often a process looks whether another has fetched the token by now."""
OWN_WINDOW = "OWN_WINDOW"
"""The code of a limit that we keep ourselves."""

ADVICE = {
    "invalid_code": "the refresh token is revoked or of another data centre: run `consent-ledger connect "
    "--replace`, or make a new one and set CONSENT_ZOHO_REFRESH_TOKEN",
    "invalid_client": "check CONSENT_ZOHO_CLIENT_ID, and that CONSENT_ZOHO_ACCOUNTS_URL is your data centre",
    "invalid_client_secret": "check CONSENT_ZOHO_CLIENT_SECRET",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """The self-client of one organisation."""

    client_id: str
    client_secret: SecretStr
    refresh_token: SecretStr

    def form(self) -> Mapping[str, str]:
        """Return the body that asks for an access token."""
        return {
            "refresh_token": self.refresh_token.get_secret_value(),
            "client_id": self.client_id,
            "client_secret": self.client_secret.get_secret_value(),
            "grant_type": "refresh_token",
        }


class OAuth:
    """The one holder of the token; all methods may be called from many threads."""

    def __init__(
        self,
        line: Line,
        credentials: Credentials,
        *,
        accounts_url: str,
        pace: Pace,
        till: Till,
        windows: Gate | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        self._line = line
        self._credentials = credentials
        self._url = accounts_url.rstrip("/") + "/oauth/v2/token"
        self._pace = pace
        self._till = till
        self._windows = windows or Windows(pace.clock, usual=OAUTH_LIMITS)
        self._keeper = keeper or Unshared()
        self._mutex = threading.Lock()
        self._token: Token | None = None
        self._refusal: tuple[datetime, ZohoError] | None = None

    @property
    def lacks_token(self) -> bool:
        """Return whether the next call has to fetch one; asks Zoho nothing."""
        return self.kept is None

    @property
    def kept(self) -> Token | None:
        """Return the token that the next call uses, None where it has to fetch one; asks Zoho nothing."""
        with self._mutex:
            found = self._token or self._keeper.read()
            return found if found is not None and self._lasts(found) else None

    def token(self) -> Token:
        """Return a token that is good for five minutes at least.

        Raises `ZohoDenied` where a person must act, `QuotaExhausted` where Zoho throttles, `Unreachable`.
        """
        with self._mutex:
            if self._token is None or not self._lasts(self._token):
                self._token = self._obtain(self._lasts)
            return self._token

    def renew(self, stale: Token) -> Token:
        """Return another token than `stale`, which was not accepted; one process fetches it for all."""
        with self._mutex:
            if self._token is None or self._token.value == stale.value:
                self._token = None
                self._token = self._obtain(lambda one: self._lasts(one) and one.value != stale.value)
            return self._token

    def _lasts(self, token: Token) -> bool:
        return self._pace.clock() < token.renew_at

    def _obtain(self, good: Good) -> Token:
        """Return the token that any process keeps, or fetch one and keep it for all of them."""
        kept = self._keeper.read()
        if kept is not None and good(kept):
            return kept
        if self._refusal is not None and self._pace.clock() < self._refusal[0]:
            raise _again(self._refusal[1])
        found = self._claim(good)
        if found is not None:
            return found
        try:
            fetched = self._fetch()
            self._keeper.keep(fetched, self._pace.clock())
            return fetched
        finally:
            self._keeper.release()

    def _claim(self, good: Good) -> Token | None:
        """Return the token that another process fetches just now, or None: then this one has to.

        Who fetches is not waited for longer than a minute: rather a token too many than no withdrawals.
        """
        ends = self._pace.clock() + CLAIM
        while (found := self._keeper.claim(good, self._pace.clock())) is False:
            if self._pace.clock() >= ends:
                return None
            self._pace.rest(POLL_S)
        return found if isinstance(found, Token) else None

    def _fetch(self) -> Token:
        try:
            return self._read(self._ask())
        except QuotaExhausted as error:
            until = error.until or self._pace.clock() + THROTTLED_FOR
            self._refusal = (until, error)
            if error.code != OWN_WINDOW:  # Zoho's own throttle: other processes hear of it too
                self._windows.lock(ENDPOINT, until)
            raise
        except ZohoDenied as error:
            self._refusal = (self._pace.clock() + REFUSED_FOR, error)
            # Once a minute until a person acts; the reason names no secret, a traceback might.
            log.error("zoho.denied", code=error.code, reason=str(error))  # noqa: TRY400  # see above
            raise

    def _ask(self) -> Answer:
        """Return an answer below 500, after a few attempts; asking twice harms nothing."""
        why = ""
        for pause in self._pace.pauses():
            outcome = self._once()
            if isinstance(outcome, Answer) and outcome.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                return outcome
            why = outcome.why if isinstance(outcome, Lost) else f"HTTP {outcome.status}"
            self._pace.rest(pause)
        raise Unreachable(
            f"Zoho Accounts does not answer ({why}); check CONSENT_ZOHO_ACCOUNTS_URL, or try again later",
            code="UNREACHABLE",
            endpoint=ENDPOINT,
        )

    def _once(self) -> Answer | Lost:
        free_at = self._windows.reserve(ENDPOINT, self._pace.spare_tokens, who=self._pace.who)
        if free_at is not None:
            raise QuotaExhausted(
                f"the access tokens of ten minutes are used up ({self._open} of nine are open to this call), "
                "or Zoho gives none, and more would block the refresh token; wait until "
                f"{free_at:%H:%M:%S} UTC and run again. If the products keep refusing tokens, check the data "
                "centre of the URLs",
                code=OWN_WINDOW,
                endpoint=ENDPOINT,
                until=free_at,
            )
        self._till.book("oauth", ENDPOINT)
        return self._line.exchange("POST", self._url, form=self._credentials.form())

    @property
    def _open(self) -> int:
        return OAUTH_LIMITS[0].open_to(self._pace.spare_tokens)

    def _read(self, answer: Answer) -> Token:
        payload = told(answer, self._pace.clock())
        value = payload.get("access_token")
        if not isinstance(value, str) or not value:
            raise failure(payload)
        life = _life(payload)
        domain = payload.get("api_domain")
        return Token(
            value=value,
            api_domain=domain if isinstance(domain, str) and domain else None,
            renew_at=self._pace.clock() + max(life - EARLY, life / 2),
            scopes=scopes_of(payload),
        )


def _again(error: ZohoError) -> ZohoError:
    """Return a fresh exception that says the same; one instance would gather every thread's traceback."""
    if isinstance(error, QuotaExhausted):
        return QuotaExhausted(str(error), code=error.code, endpoint=error.endpoint, until=error.until)
    return type(error)(str(error), code=error.code, endpoint=error.endpoint)


def _life(payload: Mapping[str, Any]) -> timedelta:
    """Return how long the token lives; old answers have `expires_in` in milliseconds."""
    seconds = payload.get("expires_in_sec", payload.get("expires_in", 3_600))
    seconds = float(seconds) if str(seconds).replace(".", "", 1).isdecimal() else 3_600.0
    return timedelta(seconds=seconds / 1_000 if seconds > DAY_S else seconds)


def scopes_of(payload: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the scopes that a token answer names; only newer ones do, apart by spaces or commas."""
    told = payload.get("scope")
    return tuple(told.replace(",", " ").split()) if isinstance(told, str) and told.strip() else None


def told(answer: Answer, now: datetime) -> Mapping[str, Any]:
    """Return what Zoho Accounts says as JSON, empty where it is no object.

    Raises `QuotaExhausted` for a throttle, whatever it is written in, and `Unreachable` for what is no JSON.
    """
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS or b"too many requests" in answer.body.lower():
        raise _throttle(answer, now)
    payload = answer.json(ENDPOINT)
    return payload if isinstance(payload, dict) else {}


def _throttle(answer: Answer, now: datetime) -> QuotaExhausted:
    """Return that no token comes until `Retry-After`, or for the ten minutes of the usual window."""
    asked_s = answer.retry_after_s(now)
    until = now + (THROTTLED_FOR if asked_s is None else timedelta(seconds=asked_s))
    return QuotaExhausted(
        f"Zoho Accounts gives no more access tokens for now; try again after {until:%H:%M:%S} UTC",
        code="TOO_MANY_REQUESTS",
        endpoint=ENDPOINT,
        until=until,
    )


def failure(payload: Mapping[str, Any], advice: Mapping[str, str] = ADVICE) -> ZohoError:
    """Return the error that an answer without a token means; `advice` says by code what to do."""
    code = str(payload.get("error") or "NO_ACCESS_TOKEN")[:60]
    todo = advice.get(code, "check the CONSENT_ZOHO_* settings against the API console of your data centre")
    return ZohoDenied(f"Zoho Accounts refuses ({code}): {todo}", code=code, endpoint=ENDPOINT)

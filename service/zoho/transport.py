"""The one place that sends: window, booking, token, one attempt, and another where that is safe.

A call that may be repeated (a read, or a write that says the same thing twice) is tried again with
jitter after a lost connection, 5xx or CRM's 429. A write that may not is reported as `Unreachable`
with an unknown outcome: the caller settles it by reading back. Errors name the endpoint's template,
never a parameter, an id or an address.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import BinaryIO

from service.errors import QuotaExhausted, Unreachable, ZohoDenied
from service.zoho.oauth import OWN_WINDOW, OAuth
from service.zoho.pace import LONGEST_PAUSE_S, Pace
from service.zoho.quota import Gate, Slots, Till, Unlimited
from service.zoho.tokens import Token
from service.zoho.wire import Answer, Line, Lost


class Verdict(Enum):
    """What an answer means for the transport; everything else is the client's to read."""

    FINE = auto()
    EXPIRED = auto()
    THROTTLED = auto()
    BROKEN = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request. `endpoint` names it in errors and windows; `repeatable`: twice is as good as once.

    What may carry an address stands in `form` or `body`, never in `params`.
    """

    method: str
    path: str = field(repr=False)
    endpoint: str
    params: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    form: Mapping[str, str] | None = field(default=None, repr=False)
    body: bytes | None = field(default=None, repr=False)
    into: BinaryIO | None = field(default=None, repr=False)
    """A file that the body of a good answer is streamed to, instead of into memory."""
    host: Callable[[str], str] | None = field(default=None, repr=False)
    """Turns the address of the product's API into that of another of its hosts."""
    credits: int = 0
    repeatable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """How one product speaks. `lock_s` is how long an endpoint rests after a throttle that did not pass."""

    name: str
    judge: Callable[[Answer], Verdict]
    code: Callable[[Answer], str]
    base: Callable[[Token], str]
    lock_s: int
    waits_out_throttle: bool
    scopes: str
    """The OAuth scopes that it needs, for the message to whom it refuses."""
    places: Callable[[Call], tuple[str, ...]] = lambda _call: ()
    """The kinds of places that a call takes while it runs; products differ in what they limit."""


class Transport:
    """Sends the calls of one product; safe for many threads."""

    def __init__(
        self,
        line: Line,
        oauth: OAuth,
        *,
        product: Product,
        windows: Gate,
        pace: Pace,
        till: Till,
        slots: Slots | None = None,
    ) -> None:
        self._line = line
        self._oauth = oauth
        self._product = product
        self._windows = windows
        self._pace = pace
        self._slots = slots or Unlimited()
        self._ahead = timedelta(0)
        self.till = till

    @property
    def pace(self) -> Pace:
        """Return the clock and the sleep that these calls keep to, for who waits between them."""
        return self._pace

    def now(self) -> datetime:
        """Return the product's own time, by the `Date` of its last answer; ours before it told any."""
        return self._pace.clock() + self._ahead

    def price(self, endpoint: str, usual: int) -> int:
        """Return what a call costs in this organisation, as far as that is known; else what is usual."""
        return self._windows.price(endpoint, usual)

    def send(self, call: Call) -> Answer:
        """Return the product's answer, which may still be an error in the product's own words.

        Raises `QuotaExhausted` before the vendor does or when it did, `ZohoDenied` when two tokens in a
        row were refused, `Unreachable` when no readable answer came.
        """
        token = self._oauth.token()
        answer = self._try(call, token)
        if self._product.judge(answer) is Verdict.EXPIRED:
            answer = self._try(call, self._oauth.renew(token))
        match self._product.judge(answer):
            case Verdict.EXPIRED:
                raise self._denied(call, answer)
            case Verdict.THROTTLED:
                raise self._locked(call, answer)
            case Verdict.BROKEN:
                raise self._unreachable(call, f"HTTP {answer.status}", code=self._product.code(answer))
            case Verdict.FINE:
                return answer

    def _try(self, call: Call, token: Token) -> Answer:
        outcome: Answer | Lost = Lost(sent=False, why="not tried")
        for usual in self._pace.pauses():
            outcome = self._once(call, token)
            pause = self._pause(call, outcome, usual)
            if pause is None:
                break
            self._pace.rest(pause)
        if isinstance(outcome, Lost):
            raise self._unreachable(call, outcome.why, sent=outcome.sent)
        return outcome

    def _once(self, call: Call, token: Token) -> Answer | Lost:
        price = self._windows.price(call.endpoint, call.credits)
        self._enter(call, price)
        with self._place(call, price):
            outcome = self._line.exchange(
                call.method,
                self._address(call, token),
                headers={"Authorization": f"Zoho-oauthtoken {token.value}", "Accept": "*/*", **call.headers},
                params=call.params,
                form=call.form,
                body=call.body,
                into=call.into,
            )
        self._hear(outcome)
        return outcome

    def _address(self, call: Call, token: Token) -> str:
        base = self._product.base(token)
        return (base if call.host is None else call.host(base)) + call.path

    @contextmanager
    def _place(self, call: Call, price: int) -> Iterator[None]:
        """Hold a place among the calls in flight; where there is none, the call was not booked after all."""
        with ExitStack() as stack:
            try:
                stack.enter_context(self._slots.enter(self._product.places(call), spare=self._pace.spare))
                self.till.book(self._product.name, call.endpoint, price)
            except QuotaExhausted:
                self._windows.give_back(call.endpoint, self._pace.spare, units=price, who=self._pace.who)
                raise
            yield

    def _hear(self, outcome: Answer | Lost) -> None:
        """Take over the vendor's time; pass on what it says is left of the day, once half of it is used."""
        if isinstance(outcome, Answer):
            if (theirs := outcome.dated()) is not None:
                self._ahead = theirs - self._pace.clock()
            left = outcome.headers.get("x-api-credits-remaining", "")
            if left.isdecimal():
                self._windows.remaining(int(left))

    def _pause(self, call: Call, outcome: Answer | Lost, usual: float | None) -> float | None:
        """Return how long to wait before the next attempt, or None to make do with this outcome."""
        if usual is None or not self._worth_repeating(call, outcome):
            return None
        asked = outcome.retry_after_s(self._pace.clock()) if isinstance(outcome, Answer) else None
        if asked is not None and asked > LONGEST_PAUSE_S:
            return None
        return max(usual, asked or 0.0)

    def _worth_repeating(self, call: Call, outcome: Answer | Lost) -> bool:
        if isinstance(outcome, Lost):
            return call.repeatable or not outcome.sent
        verdict = self._product.judge(outcome)
        if verdict is Verdict.THROTTLED:
            return self._product.waits_out_throttle
        return verdict is Verdict.BROKEN and call.repeatable

    def _enter(self, call: Call, price: int) -> None:
        """Wait for our own window as long as patience lasts; a vendor's lock-out is never waited for."""
        while (free_at := self._reserve(call, price)) is not None:
            wait_s = (free_at - self._pace.clock()).total_seconds()
            if self._windows.locked_until(call.endpoint, self._pace.spare):
                raise self._exhausted(
                    call, free_at, "refused a while ago; we send no call of", code=OWN_WINDOW
                )
            if wait_s > self._pace.patience_s:
                kept = " but what is kept for withdrawals" if self._pace.spare else ""
                raise self._exhausted(
                    call, free_at, f"by our own count has nothing left{kept} for", code=OWN_WINDOW
                )
            self._pace.rest(max(wait_s, 0.01))

    def _reserve(self, call: Call, price: int) -> datetime | None:
        return self._windows.reserve(call.endpoint, self._pace.spare, units=price, who=self._pace.who)

    def _locked(self, call: Call, answer: Answer) -> QuotaExhausted:
        now = self._pace.clock()
        asked = answer.retry_after_s(now)
        until = now + timedelta(seconds=self._product.lock_s if asked is None else asked)
        self._windows.lock(call.endpoint, until, self._pace.spare)
        return self._exhausted(call, until, "takes no more calls of", code=self._product.code(answer))

    def _exhausted(self, call: Call, until: datetime, why: str, *, code: str) -> QuotaExhausted:
        return QuotaExhausted(
            f"{self._product.name} {why} {call.endpoint} ({code}) until "
            f"{until:%Y-%m-%d %H:%M:%S} UTC; run again then, nothing of this call was done",
            code=code,
            endpoint=call.endpoint,
            until=until,
        )

    def _denied(self, call: Call, answer: Answer) -> ZohoDenied:
        code = self._product.code(answer)
        return ZohoDenied(
            f"{self._product.name} refuses a fresh token at {call.endpoint} ({code}); check that all "
            "CONSENT_ZOHO_*_URL are of one data centre, and that the refresh token has "
            f"{self._product.scopes}",
            code=code,
            endpoint=call.endpoint,
        )

    def _unreachable(self, call: Call, why: str, *, code: str = "", sent: bool = True) -> Unreachable:
        known = call.repeatable or not sent
        outcome = (
            "nothing was lost; try again later" if known else "whether it was done is unknown: read it back"
        )
        if not sent:
            outcome += f", and check CONSENT_ZOHO_{self._product.name.upper()}_URL if it goes on"
        return Unreachable(
            f"{self._product.name} gave no usable answer to {call.endpoint} ({why}); {outcome}",
            code=code or "UNREACHABLE",
            endpoint=call.endpoint,
        )

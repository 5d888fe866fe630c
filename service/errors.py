"""Everything that can go wrong, in one tree.

    ServiceError
      Refused               400  the caller asked for something we will not do
        Malformed           400  bytes that do not mean one thing; says which field
        Unauthenticated     401  no key or session, or a wrong one
        Forbidden           403  this key or person may not do this
        UnknownSubject      404  no entry names this person
        NotFound            404  no such form, token or page
        KeyReused           409  one idempotency key, two different events
        KeptOut             409  the address was erased and is kept out; only its owner brings it back
        Unsafe              409  a run would change more, or knows less, than its limits allow
        Stale               409  what was to be approved or applied is not what it was any more
        TooLarge            413  a body, array or field over its limit
        UnsupportedMedia    415  a body of a type that this address does not read
      Unavailable           503  a system that we depend on is down, or its outcome is unknown
        ReadOnly            503  the log was rolled back or forked; nothing is signed until somebody acts
        KeysChanged         503  another process changed the service's keys; they are being read again
        Busy                503  our own queue is full; says when to come back
        ZohoError           502  Zoho answered with an error; carries its code and endpoint
          ZohoDenied        502  token, scope or permission; somebody must act
          NoBulk            502  CRM exports no whole module; it is read page by page instead
          QuotaExhausted    503  the vendor's window is used up until a known time
          Unreachable       503  no answer came back, or none that can be read
      Misconfigured         500  a setting, key or policy file that the service refuses to start with
      Tampered              500  stored bytes no longer match what was signed; never caught

The class carries the HTTP status; the message says what happened and what to do. Messages
carry a subject's hash at most, never an address.
"""

from datetime import datetime


class ServiceError(Exception):
    """The root of the tree; `status` is what an HTTP edge answers."""

    status = 500
    title = "Something went wrong on our side"


class Refused(ServiceError):
    """The caller asked for something that we will not do."""

    status = 400
    title = "This request is not accepted"


class Malformed(Refused):
    """Input that cannot be understood; `field` is the JSON path or parameter at fault."""

    title = "The request cannot be read"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class Unauthenticated(Refused):
    """No key or session, or a wrong one."""

    status = 401
    title = "Please identify yourself"


class Forbidden(Refused):
    """This key or person may not do this."""

    status = 403
    title = "This is not allowed for you"


class UnknownSubject(Refused):
    """No entry names this person."""

    status = 404
    title = "Nothing is known about this person"


class NotFound(Refused):
    """No such form, token or page."""

    status = 404
    title = "There is nothing here"


class KeyReused(Refused):
    """One idempotency key, two different events; `index` is the entry that has it."""

    status = 409
    title = "This idempotency key is taken"

    def __init__(self, index: int) -> None:
        super().__init__(
            f"this idempotency key already names entry {index}, which recorded a different event; "
            "send this one under a key of its own"
        )
        self.index = index


class KeptOut(Refused):
    """The address was erased and is kept out, unless the person comes back by themselves."""

    status = 409
    title = "This address is kept out"


class Unsafe(Refused):
    """A run would change more, or knows less, than its limits allow."""

    status = 409
    title = "This would not be safe"


class Stale(Refused):
    """What was to be approved or applied is not what it was any more."""

    status = 409
    title = "This is out of date"


class TooLarge(Refused):
    """A body, array or field over its limit."""

    status = 413
    title = "This is too large"


class UnsupportedMedia(Refused):
    """A body of a type that this address does not read."""

    status = 415
    title = "This media type is not read here"


class Unavailable(ServiceError):
    """A system that we depend on is down, or the outcome is unknown."""

    status = 503
    title = "Please try again later"


class ReadOnly(Unavailable):
    """Nothing is recorded: the database contradicts what is known of the log outside it."""

    title = "The ledger can only be read at the moment"


class KeysChanged(Unavailable):
    """The ledger is at another generation of keys than this process; `generation` is the ledger's."""

    def __init__(self, generation: int) -> None:
        super().__init__("the service's keys were changed a moment ago; send the same request again")
        self.generation = generation


class Busy(Unavailable):
    """Our own queue is full; `retry_after_s` says when to come back."""

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ZohoError(Unavailable):
    """Zoho answered with an error; `code` is Zoho's own, `endpoint` the path without parameters."""

    status = 502
    title = "Zoho refused or failed"

    def __init__(self, message: str, *, code: str = "", endpoint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.endpoint = endpoint


class ZohoDenied(ZohoError):
    """Token, scope or permission: nothing gets better until a person acts."""


class NoBulk(ZohoError):
    """A bulk read gave no whole module: not allowed, failed, or without end; COQL reads it instead."""


class QuotaExhausted(ZohoError):
    """A window is used up; `until` is when it opens again, where that is known."""

    status = 503

    def __init__(
        self, message: str, *, code: str = "", endpoint: str = "", until: datetime | None = None
    ) -> None:
        super().__init__(message, code=code, endpoint=endpoint)
        self.until = until


class Unreachable(ZohoError):
    """No answer, or none that can be read; for a write the outcome is unknown."""

    status = 503


class Misconfigured(ServiceError):
    """A setting, key or policy file that the service refuses to start with."""

    title = "The service is not configured"


class Tampered(ServiceError):
    """Stored bytes no longer match what was signed; never caught where the service runs."""

    title = "Stored bytes do not match what was signed"

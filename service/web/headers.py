"""Put the headers that protect people onto every answer, errors included."""

from typing import Final

from litestar.datastructures import MutableScopeHeaders
from litestar.types import Message, Scope

_POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_ALWAYS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
"""What an answer gets unless it says otherwise; almost all of ours are about one person."""
_STRICT: Final = {"Strict-Transport-Security": "max-age=31536000"}


def shielded(scheme: str) -> list[tuple[bytes, bytes]]:
    """Return the header fields of an answer that says nothing else about itself, as ASGI writes them."""
    told = _ALWAYS if scheme != "https" else _ALWAYS | _STRICT
    return [(name.lower().encode(), value.encode()) for name, value in told.items()]


async def protect(message: Message, scope: Scope) -> None:
    """Add the headers to an answer that begins; those it already carries win."""
    if message["type"] != "http.response.start":
        return
    headers = MutableScopeHeaders.from_message(message)
    for name, value in _ALWAYS.items():
        headers.setdefault(name, value)
    if scope.get("scheme") == "https":
        for name, value in _STRICT.items():
            headers.setdefault(name, value)

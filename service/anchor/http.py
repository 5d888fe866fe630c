"""One bounded HTTP exchange with somebody whom we do not trust."""

from dataclasses import dataclass
from typing import Final, Self

import httpx

from service.errors import Unavailable

TIMEOUT_S: Final = 5.0
"""A witness answers within a second or two; whoever takes longer is asked again in the next round."""
MOST_BYTES: Final = 1 << 17
"""More than 16 ML-DSA lines, or a time stamp with a long chain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Status, media type (without parameters, lower case) and body."""

    status: int
    kind: str
    body: bytes


class Wire:
    """An HTTP client that follows no redirects and reads no more than it must."""

    def __init__(self, *, timeout_s: float = TIMEOUT_S) -> None:
        self._client = httpx.Client(timeout=timeout_s, follow_redirects=False, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, url: str) -> Answer:
        """Return the answer to a GET; `Unavailable` if none came or it was too long."""
        return self._exchange("GET", url, None, None)

    def post(self, url: str, body: bytes, kind: str) -> Answer:
        """Return the answer to a POST; `Unavailable` if none came or it was too long."""
        return self._exchange("POST", url, body, kind)

    def _exchange(self, method: str, url: str, body: bytes | None, kind: str | None) -> Answer:
        headers = {"Content-Type": kind} if kind else {}
        try:
            with self._client.stream(method, url, content=body, headers=headers) as response:
                received = bytearray()
                for part in response.iter_bytes():
                    received += part
                    if len(received) > MOST_BYTES:
                        raise Unavailable(f"the answer is longer than {MOST_BYTES} bytes")
                told = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
                return Answer(status=response.status_code, kind=told, body=bytes(received))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(f"no answer came ({type(error).__name__})") from None

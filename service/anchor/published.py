"""A published log on somebody's web server as the source of its files (c2sp.org/tlog-tiles)."""

from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

import httpx

from service.errors import Malformed, Unavailable
from service.ledger.replay.source import MAX_FILE_BYTES

TIMEOUT_S: Final = 30.0
"""A full tile of long entries over a slow line."""

_ABSENT = frozenset({401, 403, 404, 410})  # not shown to us is the same as not there: it cannot be checked


class PublishedLog:
    """A log's files below its URL; follows no redirect and reads no more than a log's file can have.

    `api_key` is sent as a bearer token, for logs that show their entries to auditors alone.
    """

    promised: tuple[str, ...] = ()

    def __init__(self, url: str, *, api_key: str | None = None) -> None:
        self.refused: list[str] = []
        """The paths that the server shows to others only."""
        self._prefix = url.rstrip("/") + "/"
        headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._client = httpx.Client(
            timeout=TIMEOUT_S, follow_redirects=False, trust_env=False, headers=headers
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def read(self, path: str) -> bytes | None:
        """Return a file's bytes, None where it is not shown to us; `Unavailable` if no answer comes."""
        try:
            with self._client.stream("GET", self._prefix + path) as response:
                if response.status_code in _ABSENT:
                    self.refused += [path] * (response.status_code in {401, 403})
                    return None
                if not response.is_success:
                    raise Unavailable(f"the log's server answered {response.status_code} for {path}")
                return _bounded(response.iter_bytes())
        except httpx.InvalidURL:
            raise Malformed("this is not the URL of a log; it looks like https://host/log") from None
        except httpx.HTTPError as error:
            raise Unavailable(f"no answer came for {path} ({type(error).__name__}); try again") from None

    def paths(self, below: str) -> Iterator[str]:  # noqa: ARG002  # a web server lists no files
        """Yield nothing: a web server does not list its files."""
        return iter(())


def _bounded(parts: Iterator[bytes]) -> bytes:
    received = bytearray()
    for part in parts:
        received += part
        if len(received) > MAX_FILE_BYTES:
            break
    return bytes(received)

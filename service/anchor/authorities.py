"""Have authorities stamp a published checkpoint with the time (RFC 3161): daily, and before keys change."""

from collections.abc import Callable
from datetime import datetime

import structlog

from service.anchor.attestation import Authority
from service.anchor.http import Wire
from service.db import Database
from service.errors import Tampered, Unavailable
from service.ledger import anchors, attestors
from service.ledger.anchors import TimeStamp
from service.ledger.attestors import DAILY, Kind
from service.ledger.publication import Published, latest
from service.ledger.timestamp import QUERY_TYPE, REPLY_TYPE, ask, verify

log = structlog.get_logger()


class AuthorityClient:
    """Speaks with one time-stamping authority."""

    def __init__(self, db: Database, *, authority: Authority, now: Callable[[], datetime]) -> None:
        self.authority = authority
        self._db = db
        self._now = now

    def attend(self, wire: Wire, *, at_once: bool = False) -> TimeStamp | None:
        """Have the newest published checkpoint stamped if a day has passed, or `at_once`.

        Returns the stamp, None if none was due or it failed; that is noted and logged, never raised.
        """
        with self._db.read() as tx:
            published = latest(tx)
            last = attestors.last_success(tx, Kind.AUTHORITY, self.authority.name)
        if published is None or not (at_once or last is None or self._now() - last >= DAILY):
            return None
        try:
            stamp = self._stamp(wire, published)
        except (Unavailable, Tampered) as error:
            self._failed(str(error))
            return None
        with self._db.begin() as tx:
            anchors.keep_time_stamp(tx, stamp)
            attestors.succeeded(tx, Kind.AUTHORITY, self.authority.name, stamp.size, self._now())
        return stamp

    def _stamp(self, wire: Wire, published: Published) -> TimeStamp:
        question = ask(published.note)
        answer = wire.post(self.authority.url, question.body, QUERY_TYPE)
        if answer.status != 200 or answer.kind != REPLY_TYPE:  # noqa: PLR2004  # HTTP's own number
            raise Unavailable(f"the authority answered {answer.status} with {answer.kind or 'nothing'}")
        made = verify(answer.body, published.note, self.authority.trust, nonce=question.nonce)
        return TimeStamp(
            authority=self.authority.name,
            at=made.at,
            size=published.size,
            note=published.note,
            reply=answer.body,
            chain=self.authority.chain,
        )

    def _failed(self, why: str) -> None:
        log.warning("authority.failed", authority=self.authority.name, why=why)
        with self._db.begin() as tx:
            attestors.failed(tx, Kind.AUTHORITY, self.authority.name, self._now(), why)

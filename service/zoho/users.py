"""Who the users of CRM are: from the number that a file or a query tells to the name that records show.

Implements facts `zoho-crm` section 5 (`GET /users`). Asked only when a number is met, then once an hour at
most: names tell who changed what, and nothing is decided by them alone.
"""

import threading
from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog

from service.errors import ZohoError
from service.zoho import crm_answers
from service.zoho.transport import Call, Transport

log = structlog.get_logger(__name__)

ENDPOINT = "GET /crm/v8/users"
PAGE = 200
MOST_PAGES = 50
"""Ten thousand users; a listing of more is taken for one without an end."""
KNOWN_FOR = timedelta(hours=1)
"""Longer than most runs, so that one run sees one spelling; short enough to hear of new users."""


class Users:
    """The users of one organisation, as far as CRM tells of them; safe for many threads."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._names: Mapping[str, str] = {}
        self._known_until: datetime | None = None
        self._mutex = threading.Lock()

    def name(self, who: str) -> str:
        """Return the name of the user with this number; a name, and a number that nobody has, stay."""
        if not (who.isascii() and who.isdecimal()):
            return who
        with self._mutex:
            now = self._transport.pace.clock()
            if self._known_until is None or now >= self._known_until:
                self._names, self._known_until = self._asked(), now + KNOWN_FOR
        return self._names.get(who, who)

    def _asked(self) -> Mapping[str, str]:
        """Return names by number; none where CRM does not tell, since no run fails for a name."""
        found: dict[str, str] = {}
        try:
            for number in range(1, MOST_PAGES + 1):
                if not self._read(number, found):
                    break
        except ZohoError as error:
            log.warning("crm.users", code=error.code, endpoint=error.endpoint)
        return found

    def _read(self, number: int, found: dict[str, str]) -> bool:
        """Read one page into `found`; return whether there may be another."""
        params = {"type": "AllUsers", "per_page": str(PAGE), "page": str(number)}
        call = Call(method="GET", path="/crm/v8/users", endpoint=ENDPOINT, params=params, credits=1)
        answer = self._transport.send(call)
        rows = crm_answers.rows(answer, ENDPOINT, key="users")
        for row in rows:
            name = row.get("full_name") or row.get("name")
            if isinstance(name, str) and name.strip():
                found[str(row.get("id"))] = name.strip()
        return bool(rows) and crm_answers.info(answer).get("more_records") is True

"""How a record's opt-out field was last changed, by CRM's timeline (facts zoho-crm, section 2.6)."""

from collections.abc import Mapping
from typing import Any

from service.db import EPOCH
from service.reconciler.port import Flip
from service.zoho import crm_answers
from service.zoho.records import moment
from service.zoho.transport import Call, Transport


class ZohoTimelines:
    """Asks CRM for timelines; each question costs one credit."""

    def __init__(self, transport: Transport, opt_out_field: str) -> None:
        self._transport = transport
        self._field = opt_out_field

    def last_flip(self, module: str, record_id: str) -> Flip | None:
        """Return the newest change of the opt-out field, None where no line of the first page tells one."""
        endpoint = f"GET /crm/v8/{module}/{{id}}/__timeline"
        call = Call(
            method="GET", path=f"/crm/v8/{module}/{record_id}/__timeline", endpoint=endpoint, credits=1
        )
        rows = crm_answers.rows(self._transport.send(call), endpoint, key="__timeline", about="a timeline")
        flips = [self._flip(row) for row in rows if self._is_flip(row)]
        return max(flips, key=lambda flip: flip.at or EPOCH, default=None)

    def _is_flip(self, row: Mapping[str, Any]) -> bool:
        changes = row.get("field_history") or []
        return any(isinstance(one, dict) and one.get("api_name") == self._field for one in changes)

    @staticmethod
    def _flip(row: Mapping[str, Any]) -> Flip:
        done_by = row.get("done_by")
        who = done_by.get("name") if isinstance(done_by, dict) else None
        return Flip(
            source=str(row.get("source") or ""),
            who=None if who is None else str(who),
            at=moment(row.get("audited_time")),
        )

"""The table of Email API calls, under both versions."""

from litestar.types import Method

from service.zoho.simulator.campaigns import hooks, suppression, transmissions
from service.zoho.simulator.wire import Endpoint, Handler

_WEBHOOK = "settings/webhook"
_SUPPRESSION = "recipients/suppression"

_CALLS: tuple[tuple[Method, str, Handler], ...] = (
    ("GET", _WEBHOOK, hooks.every),
    ("POST", _WEBHOOK, hooks.create),
    ("GET", f"{_WEBHOOK}/{{webhook_id:str}}", hooks.every),
    ("PUT", f"{_WEBHOOK}/{{webhook_id:str}}", hooks.modify),
    ("DELETE", f"{_WEBHOOK}/{{webhook_id:str}}", hooks.delete),
    ("POST", "transmission", transmissions.send),
    ("GET", "reports/event/{kind:str}", transmissions.report),
    ("GET", "reports/delivery/summary", transmissions.summary),
    ("GET", _SUPPRESSION, suppression.every),
    ("POST", _SUPPRESSION, suppression.create),
    ("DELETE", _SUPPRESSION, suppression.delete),
)

ENDPOINTS = tuple(
    Endpoint(methods=(method,), path=f"/emailapi/{version}/{path}", handle=handle)
    for version in ("v1", "v2")
    for method, path, handle in _CALLS
)

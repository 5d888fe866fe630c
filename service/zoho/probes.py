"""Harmless reads that show what a token may not do, for answers that do not name its scopes.

A write cannot be tried without writing, so `ZohoCampaigns.contact.UPDATE` and the right to change records
are known only from the token's own words.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from service.errors import ZohoDenied
from service.policy import ZohoMapping
from service.zoho import crm_answers, envelopes
from service.zoho.mapping import Zoho
from service.zoho.transport import Call

_SOON = timedelta(days=1)


def refused(zoho: Zoho, mapping: ZohoMapping) -> Iterator[tuple[str, ZohoDenied]]:
    """Yield each scope whose probe is refused, with the refusal; raises what is no refusal."""
    for scope, probe in _probes(zoho, mapping):
        try:
            probe()
        except ZohoDenied as error:
            yield scope, error


def _probes(zoho: Zoho, mapping: ZohoMapping) -> Iterator[tuple[str, Callable[[], object]]]:
    module = mapping.crm.modules[0].name
    future = datetime.now(UTC) + _SOON
    yield "ZohoCRM.org.READ", zoho.crm.org
    yield "ZohoCRM.settings.fields.READ", lambda: zoho.crm.fields(module)
    yield "ZohoCRM.coql.READ", lambda: zoho.crm.read([(module, "1")])
    yield f"ZohoCRM.modules.{module}.READ", lambda: list(zoho.crm.records(module, ["id"], future))
    yield "ZohoCRM.users.READ", lambda: current_user(zoho)
    yield "ZohoCampaigns.contact.READ", zoho.campaigns.lists
    yield "ZohoCampaigns.campaign.READ", lambda: _recent_campaigns(zoho)


def current_user(zoho: Zoho) -> crm_answers.Row:
    """Return the user in whose name the API writes, empty where CRM does not say."""
    return one(zoho, "users", "users", {"type": "CurrentUser"})


def profile(zoho: Zoho, profile_id: str) -> crm_answers.Row:
    """Return a profile with its permissions, empty where there is none."""
    return one(zoho, f"settings/profiles/{profile_id}", "profiles", {}, name="settings/profiles/{id}")


def one(
    zoho: Zoho, path: str, key: str, params: dict[str, str], *, name: str | None = None
) -> crm_answers.Row:
    """Return the first row of a CRM read of one credit, empty where there is none."""
    endpoint = f"GET /crm/v8/{name or path}"
    call = Call(method="GET", path=f"/crm/v8/{path}", endpoint=endpoint, params=params, credits=1)
    found = crm_answers.rows(zoho.transports["crm"].send(call), endpoint, key=key)
    return found[0] if found else {}


def _recent_campaigns(zoho: Zoho) -> None:
    endpoint = "recentcampaigns"
    params = {"resfmt": "JSON", "fromindex": "1", "range": "1", "status": "sent"}
    call = Call(method="GET", path=f"/api/v1.1/{endpoint}", endpoint=endpoint, params=params)
    envelopes.read(zoho.transports["campaigns"].send(call), endpoint)

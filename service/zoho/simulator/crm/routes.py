"""The table of CRM calls: address, scope, price."""

from service.zoho.simulator.crm import listing, lookups, metadata, select, writes
from service.zoho.simulator.wire import Call, Endpoint, Reply, json_reply
from service.zoho.simulator.world import World

_V8 = "/crm/v8"
_MODULE = f"{_V8}/{{module:str}}"
_RECORD = f"{_MODULE}/{{record_id:str}}"


def costs(_world: World, _call: Call) -> Reply:
    """Answer `GET /__apis`: the price of every call that we serve, the most and the least of it."""
    return json_reply(
        {
            "__apis": [
                {
                    "path": endpoint.path.replace(":str", ""),
                    "operation_types": [
                        {
                            "method": method,
                            "oauth_scope": endpoint.scope,
                            "max_credits": _MOST.get((method, endpoint.path), endpoint.credits(_NOTHING)),
                            "min_credits": endpoint.credits(_NOTHING),
                        }
                        for method in endpoint.methods
                    ],
                }
                for endpoint in ENDPOINTS
            ]
        }
    )


def _listing_price(call: Call) -> int:
    return 3 if "cvid" in call.query else 1


def _two(_call: Call) -> int:
    return 2


_NOTHING = Call(method="", path="", base_url="", query={}, form={}, slots={}, headers={}, body=b"")
_MOST = {("GET", _MODULE): 3, ("POST", f"{_V8}/coql"): 3, ("PUT", _MODULE): 10, ("POST", _MODULE): 10}

ENDPOINTS = (
    Endpoint(methods=("GET",), path=f"{_V8}/org", handle=metadata.org, scope="ZohoCRM.org.READ"),
    Endpoint(methods=("GET",), path=f"{_V8}/users", handle=metadata.users, scope="ZohoCRM.users.READ"),
    Endpoint(methods=("GET",), path=f"{_V8}/__apis", handle=costs, scope="ZohoCRM.apis.READ"),
    Endpoint(
        methods=("GET",),
        path=f"{_V8}/settings/modules",
        handle=metadata.modules,
        scope="ZohoCRM.settings.modules.READ",
    ),
    Endpoint(
        methods=("GET",),
        path=f"{_V8}/settings/modules/{{name:str}}",
        handle=metadata.module,
        scope="ZohoCRM.settings.modules.READ",
    ),
    Endpoint(
        methods=("GET",),
        path=f"{_V8}/settings/fields",
        handle=metadata.fields,
        scope="ZohoCRM.settings.fields.READ",
    ),
    Endpoint(
        methods=("POST",),
        path=f"{_V8}/coql",
        handle=select.run,
        scope="ZohoCRM.coql.READ",
        credits=select.price,
    ),
    Endpoint(
        methods=("GET",),
        path=_MODULE,
        handle=listing.get_records,
        scope="ZohoCRM.modules.{module}.READ",
        credits=_listing_price,
    ),
    Endpoint(
        methods=("PUT",),
        path=_MODULE,
        handle=writes.update,
        scope="ZohoCRM.modules.{module}.UPDATE",
        credits=writes.price,
    ),
    Endpoint(
        methods=("POST",),
        path=_MODULE,
        handle=writes.insert,
        scope="ZohoCRM.modules.{module}.CREATE",
        credits=writes.price,
    ),
    Endpoint(
        methods=("DELETE",), path=_MODULE, handle=writes.delete, scope="ZohoCRM.modules.{module}.DELETE"
    ),
    Endpoint(
        methods=("GET",),
        path=f"{_MODULE}/deleted",
        handle=lookups.get_deleted,
        scope="ZohoCRM.modules.{module}.READ",
        credits=_two,
    ),
    Endpoint(
        methods=("GET",),
        path=f"{_MODULE}/search",
        handle=lookups.search,
        scope="ZohoCRM.modules.{module}.READ ZohoSearch.securesearch.READ",
    ),
    Endpoint(
        methods=("GET",), path=_RECORD, handle=lookups.get_record, scope="ZohoCRM.modules.{module}.READ"
    ),
    Endpoint(methods=("PUT",), path=_RECORD, handle=writes.update, scope="ZohoCRM.modules.{module}.UPDATE"),
    Endpoint(
        methods=("DELETE",), path=_RECORD, handle=writes.delete, scope="ZohoCRM.modules.{module}.DELETE"
    ),
    Endpoint(
        methods=("GET",),
        path=f"{_RECORD}/__timeline",
        handle=lookups.get_timeline,
        scope="ZohoCRM.modules.{module}.READ",
    ),
)

"""The table of CRM calls: address, scope, price."""

from collections.abc import Callable
from typing import Literal

import msgspec
from litestar.types import Method

from service.zoho.simulator.crm import (
    annotations,
    bulk_query,
    bulk_read,
    bulk_write,
    composite,
    conversion,
    deletion,
    external,
    layouts,
    listing,
    lookups,
    mails,
    merge,
    metadata,
    search,
    select,
    setup,
    timeline,
    upload,
    upsert,
    watch,
    workflows,
    writes,
)
from service.zoho.simulator.crm.gate import read_problem
from service.zoho.simulator.wire import (
    Call,
    Endpoint,
    Handler,
    Reply,
    json_reply,
    light,
    nothing_more,
    one_credit,
    price,
)
from service.zoho.simulator.world import World

_V8 = "/crm/v8"
_MODULE = f"{_V8}/{{module:str}}"
_RECORD = f"{_MODULE}/{{record_id:str}}"


def costs(world: World, call: Call) -> Reply:
    """Answer `GET /__apis?filters=`: the price of the calls that we serve, the most and the least of it.

    A filter says of `path` what it equals or contains, as elsewhere; what it may say is not published.
    """
    keep = _filtered(world, call)
    return json_reply(
        {
            "__apis": [
                {
                    "path": endpoint.path.replace(":str", ""),
                    "operation_types": [
                        {
                            "method": method,
                            "oauth_scope": endpoint.scope,
                            "max_credits": _MOST.get(
                                (method, endpoint.path), price(world, endpoint, _NOTHING)
                            ),
                            "min_credits": price(world, endpoint, _NOTHING),
                        }
                        for method in endpoint.methods
                    ],
                }
                for endpoint in ENDPOINTS
                if keep(endpoint.path.replace(":str", ""))
            ]
        }
    )


class _Filter(msgspec.Struct):
    field: dict[str, str]
    comparator: Literal["equal", "contains"]
    value: str


def _filtered(world: World, call: Call) -> Callable[[str], bool]:
    """Return which paths the `filters` let through; what is none of them is refused."""
    text = call.query.get("filters")
    if text is None:
        return lambda _path: True
    try:
        wanted = msgspec.json.decode(text, type=_Filter)
    except msgspec.DecodeError:
        wanted = None
    if wanted is None or wanted.field.get("api_name") != "path":
        raise read_problem(world, "INVALID_DATA", "invalid data", {"param_name": "filters"})
    value = wanted.value
    return value.__eq__ if wanted.comparator == "equal" else lambda path: value in path


def _listing_price(call: Call) -> int:
    return 3 if "cvid" in call.query else 1


def _is_sorted(call: Call) -> bool:
    return "cvid" in call.query or "sort_by" in call.query


def _two(_call: Call) -> int:
    return 2


def _always(_call: Call) -> bool:
    return True


_NOTHING = Call(method="", path="", base_url="", query={}, form={}, slots={}, headers={}, body=b"")
_MOST = {
    ("GET", _MODULE): 3,
    ("POST", f"{_V8}/__composite_requests"): 2,
    ("POST", f"{_V8}/coql"): 3,
    ("PUT", _MODULE): 10,
    ("POST", _MODULE): 10,
    ("POST", f"{_MODULE}/upsert"): 10,
}


def _row(
    method: Method,
    path: str,
    handle: Handler,
    scope: str,
    *,
    credits: Callable[[Call], int] | str = one_credit,  # noqa: A002 - the vendor's word for its price
    heavy: Callable[[Call], bool] = light,
    more_scopes: Callable[[Call], str] = nothing_more,
) -> Endpoint:
    full = f"ZohoCRM.{scope}" if scope and not scope.startswith("@") else scope
    return Endpoint(
        methods=(method,),
        path=path,
        handle=external.aware(handle) if path.startswith(_MODULE) else handle,
        scope=full,
        credits=credits,
        heavy=heavy,
        more_scopes=more_scopes,
    )


def _served() -> tuple[Endpoint, ...]:
    return ENDPOINTS


_READ, _CREATE, _UPDATE, _DELETE = (
    f"modules.{{module}}.{verb}" for verb in ("READ", "CREATE", "UPDATE", "DELETE")
)
_SEARCH = f"{_READ} ZohoSearch.securesearch.READ"
_SETTINGS = f"{_V8}/settings"
_PREFERENCE = f"{_SETTINGS}/duplicate_check_preference"
_PREFERENCES = "settings.duplicate_check_preference"
_TAGGED = ("add_tags", annotations.add_tags), ("remove_tags", annotations.remove_tags)

_ORGANISATION = (
    _row("GET", f"{_V8}/org", metadata.org, "org.READ"),
    _row("GET", f"{_V8}/users", metadata.users, "users.READ"),
    _row("GET", f"{_V8}/users/{{user_id:str}}", metadata.user, "users.READ"),
    _row("GET", f"{_V8}/__apis", costs, "apis.READ"),
    _row(
        "POST",
        f"{_V8}/__composite_requests",
        composite.over(_served),
        "composite_requests.CUSTOM",
        heavy=_always,
    ),
    _row("GET", f"{_V8}/__features", setup.features, "features.READ"),
    _row("GET", f"{_V8}/__features/{{feature:str}}", setup.features, "features.READ"),
    _row("GET", f"{_SETTINGS}/modules", metadata.modules, "settings.modules.READ"),
    _row("GET", f"{_SETTINGS}/modules/{{name:str}}", metadata.module, "settings.modules.READ"),
    _row("GET", f"{_SETTINGS}/fields", metadata.fields, "settings.fields.READ"),
    _row("GET", f"{_SETTINGS}/layouts", layouts.layouts, "settings.layouts.READ"),
    _row("GET", f"{_SETTINGS}/layouts/{{layout_id:str}}", layouts.layout, "settings.layouts.READ"),
    _row("GET", f"{_SETTINGS}/custom_views", setup.custom_views, "settings.custom_views.READ"),
    _row("GET", f"{_SETTINGS}/custom_views/{{view_id:str}}", setup.custom_view, "settings.custom_views.READ"),
    _row("GET", f"{_SETTINGS}/profiles", setup.profiles, "settings.profiles.READ"),
    _row("GET", f"{_SETTINGS}/profiles/{{profile_id:str}}", setup.profile, "settings.profiles.READ"),
    _row("GET", f"{_SETTINGS}/recycle_bin", deletion.get_recycle_bin, "settings.recycle_bin.READ"),
    _row("GET", f"{_SETTINGS}/unsubscribe_links", setup.unsubscribe_links, "@crm.unsubscribe_links_scope"),
    _row(
        "GET",
        f"{_SETTINGS}/unsubscribe_link/actions/associations",
        setup.unsubscribe_associations,
        "@crm.unsubscribe_links_scope",
    ),
    _row("GET", f"{_SETTINGS}/audit_log_export", setup.audit_log_exports, "settings.audit_logs.READ"),
    _row("POST", f"{_SETTINGS}/audit_log_export", setup.audit_log_exports, "settings.audit_logs.CREATE"),
    _row("GET", _PREFERENCE, setup.duplicate_preference, f"{_PREFERENCES}.READ"),
    _row("POST", _PREFERENCE, setup.set_duplicate_preference, f"{_PREFERENCES}.CREATE"),
    _row("PUT", _PREFERENCE, setup.set_duplicate_preference, f"{_PREFERENCES}.UPDATE"),
    _row("DELETE", _PREFERENCE, setup.drop_duplicate_preference, f"{_PREFERENCES}.DELETE"),
)
_RECORDS = (
    _row(
        "POST",
        f"{_V8}/coql",
        select.run,
        "coql.READ",
        credits=select.price,
        heavy=_always,
        more_scopes=select.scopes,
    ),
    _row("GET", _MODULE, listing.get_records, _READ, credits=_listing_price, heavy=_is_sorted),
    _row("PUT", _MODULE, writes.update, _UPDATE, credits=writes.price, heavy=writes.many),
    _row("POST", _MODULE, writes.insert, _CREATE, credits=writes.price, heavy=writes.many),
    _row("POST", f"{_MODULE}/upsert", upsert.upsert, _CREATE, credits=writes.price, heavy=writes.many),
    _row("DELETE", _MODULE, deletion.delete, _DELETE, credits=deletion.price),
    _row("GET", f"{_MODULE}/deleted", deletion.get_deleted, _READ, credits=_two),
    _row("GET", f"{_MODULE}/search", search.search, _SEARCH),
    _row("GET", f"{_MODULE}/actions/count", search.count, _SEARCH),
    _row("GET", _RECORD, lookups.get_record, _READ),
    _row("PUT", _RECORD, writes.update, _UPDATE),
    _row("DELETE", _RECORD, deletion.delete, _DELETE),
    _row("GET", f"{_RECORD}/__timeline", timeline.get_timeline, _READ),
    _row("POST", f"{_RECORD}/actions/merge", merge.merge, _UPDATE, credits=merge.fifty),
    _row("GET", f"{_RECORD}/actions/merge", merge.get_merge, _READ),
    _row(
        "POST",
        f"{_RECORD}/actions/convert",
        conversion.convert,
        _UPDATE,
        credits=conversion.price,
        heavy=_always,
    ),
    _row("GET", f"{_RECORD}/Emails", mails.get_emails, _READ),
    _row(
        "POST",
        f"{_RECORD}/actions/send_mail",
        mails.send,
        "send_mail.{module}.CREATE",
        credits=mails.send_price,
        heavy=_always,
    ),
    _row("POST", f"{_RECORD}/actions/unblock_email", mails.unblock, "@crm.unblock_scope"),
    _row("POST", f"{_MODULE}/actions/unblock_email", mails.unblock, "@crm.unblock_scope"),
    *(
        _row("POST", f"{where}/actions/{name}", handle, _UPDATE, credits=annotations.tags_price)
        for where in (_MODULE, _RECORD)
        for name, handle in _TAGGED
    ),
    _row("POST", f"{_V8}/Notes", annotations.add_notes, "modules.notes.CREATE"),
    _row("POST", f"{_RECORD}/Notes", annotations.add_notes, "modules.notes.CREATE"),
    _row("GET", f"{_RECORD}/Notes", annotations.get_notes, "modules.notes.READ"),
)
_BULK = "/crm/bulk/v8"
_JOBS = (
    _row(
        "POST",
        f"{_BULK}/read",
        bulk_read.create,
        "bulk.READ",
        credits="bulk.read_credits",
        more_scopes=bulk_query.scopes,
    ),
    _row("GET", f"{_BULK}/read/{{job_id:str}}", bulk_read.status, "bulk.READ"),
    _row("GET", f"{_BULK}/read/{{job_id:str}}/result", bulk_read.result, "bulk.READ"),
    Endpoint(methods=("POST",), path=f"{_V8}/upload", handle=upload.upload, scope="ZohoFiles.files.ALL"),
    _row("POST", f"{_BULK}/write", bulk_write.create, "bulk.CREATE", credits="bulk.write_credits"),
    _row("GET", f"{_BULK}/write/{{job_id:str}}", bulk_write.status, "bulk.READ"),
    *(
        _row(
            "GET",
            f"/{version}/crm/{{org:str}}/bulk-write/{{job_id:str}}/{{name:str}}",
            bulk_write.result,
            "bulk.READ",
        )
        for version in ("v2", "v8")
    ),
)
_WATCH = f"{_V8}/actions/watch"
_HOOKS = f"{_SETTINGS}/automation/webhooks"
_ACTIONS = "settings.automation_actions"
_WATCHERS = (
    _row("GET", _WATCH, watch.details, "notifications.READ"),
    _row("POST", _WATCH, watch.enable, "notifications.CREATE"),
    _row("PUT", _WATCH, watch.replace, "notifications.UPDATE"),
    _row("PATCH", _WATCH, watch.change, "notifications.UPDATE"),
    _row("DELETE", _WATCH, watch.disable, "notifications.DELETE"),
    _row("GET", _HOOKS, workflows.every, f"{_ACTIONS}.READ"),
    _row("GET", f"{_HOOKS}/actions/usage_reports", workflows.usage, f"{_ACTIONS}.READ"),
    _row("GET", f"{_HOOKS}/{{webhook_id:str}}", workflows.every, f"{_ACTIONS}.READ"),
    _row("POST", _HOOKS, workflows.create, f"{_ACTIONS}.CREATE"),
    _row("PUT", _HOOKS, workflows.update, f"{_ACTIONS}.UPDATE"),
    _row("DELETE", _HOOKS, workflows.delete, f"{_ACTIONS}.DELETE"),
    _row("DELETE", f"{_HOOKS}/{{webhook_id:str}}", workflows.delete, f"{_ACTIONS}.DELETE"),
    _row("GET", f"{_SETTINGS}/automation/webhook_failures", workflows.failures, f"{_ACTIONS}.READ"),
)
ENDPOINTS: tuple[Endpoint, ...] = _ORGANISATION + _RECORDS + _JOBS + _WATCHERS

"""How the organisation is set up: custom views, profiles, features, duplicate preference."""

import msgspec

from service.zoho.simulator import names, shelf
from service.zoho.simulator.crm.fields import MODULE_IDS, MODULES, field_id
from service.zoho.simulator.crm.gate import asked_module, problem, read_problem
from service.zoho.simulator.crm.metadata import PROFILE
from service.zoho.simulator.wire import Call, Reply, json_reply
from service.zoho.simulator.world import World

Json = dict[str, object]
READ_ONLY_PROFILE = {"name": "Standard", "id": "5725767000000026014"}


def custom_views(world: World, call: Call) -> Reply:
    """Answer `GET /settings/custom_views?module=`: the one view of each module feeds the list."""
    view = _view(asked_module(world, call))
    info = {"per_page": 200, "default": view["id"], "count": 1, "page": 1, "more_records": False}
    return json_reply({"custom_views": [view], "info": info})


def custom_view(world: World, call: Call) -> Reply:
    """Answer `GET /settings/custom_views/{id}?module=`."""
    module = asked_module(world, call)
    if call.slots["view_id"] != names.VIEWS[module]:
        return Reply(status=204)
    return json_reply({"custom_views": [_view(module)]})


def profiles(_world: World, _call: Call) -> Reply:
    """Answer `GET /settings/profiles`."""
    return json_reply({"profiles": [_profile(PROFILE), _profile(READ_ONLY_PROFILE)]})


def profile(world: World, call: Call) -> Reply:
    """Answer `GET /settings/profiles/{id}` with its permissions."""
    for one in (PROFILE, READ_ONLY_PROFILE):
        if one["id"] == call.slots["profile_id"]:
            return json_reply({"profiles": [{**_profile(one), "permissions_details": _permissions(one)}]})
    raise read_problem(world, "INVALID_DATA", "the id given seems to be invalid", {"param_name": "id"})


def features(_world: World, call: Call) -> Reply:
    """Answer `GET /__features` and one of it: what the edition allows."""
    found = [{"api_name": name, "feature_label": name, "details": details} for name, details in _FEATURES]
    wanted = call.slots.get("feature")
    if wanted is not None:
        found = [feature for feature in found if feature["api_name"] == wanted]
    return json_reply({"__features": found}) if found else Reply(status=204)


def unsubscribe_links(_world: World, _call: Call) -> Reply:
    """Answer that the organisation has no unsubscribe link of CRM's own."""
    return Reply(status=204)


def unsubscribe_associations(_world: World, _call: Call) -> Reply:
    """Answer `GET /settings/unsubscribe_link/actions/associations`: none, as there is no link."""
    return Reply(status=204)


def audit_log_exports(world: World, call: Call) -> Reply:
    """Answer `/settings/audit_log_export`: a POST orders one, which is done at once; 204 when none was."""
    if call.method == "POST":
        key = str(world.next_record_id())
        shelf.put(world.db, _EXPORT, key, {"id": key, "status": "completed"})
        item = {"code": "SUCCESS", "details": {"id": key}, "message": "export scheduled", "status": "success"}
        return json_reply({"audit_log_export": [item]}, status=201)
    found = [one for _, one in shelf.every(world.db, _EXPORT)]
    return json_reply({"audit_log_export": found}) if found else Reply(status=204)


def duplicate_preference(world: World, call: Call) -> Reply:
    """Answer `GET /settings/duplicate_check_preference?module=Leads`; 204 when not set."""
    _leads(call)
    preference = shelf.get(world.db, _PREFERENCE, "Leads")
    if preference is None:
        return Reply(status=204)
    return json_reply({"duplicate_check_preference": preference})


def set_duplicate_preference(world: World, call: Call) -> Reply:
    """Answer POST and PUT of the duplicate preference: `converted_records` or `mapped_module_records`."""
    _leads(call)
    try:
        preference = msgspec.json.decode(call.body)["duplicate_check_preference"]
        kind = preference["type"]
    except (msgspec.DecodeError, LookupError, TypeError):
        details = {"api_name": "duplicate_check_preference"}
        raise problem("MANDATORY_NOT_FOUND", "required field not found", details) from None
    if kind not in ("converted_records", "mapped_module_records"):
        details = {"api_name": "type", "json_path": "$.duplicate_check_preference.type"}
        raise problem("INVALID_DATA", "invalid data", details)
    shelf.put(world.db, _PREFERENCE, "Leads", {"type_configurations": None, **preference})
    return _preference_done("updated", status=201 if call.method == "POST" else 200)


def drop_duplicate_preference(world: World, call: Call) -> Reply:
    """Answer DELETE of the duplicate preference."""
    _leads(call)
    shelf.drop(world.db, _PREFERENCE, "Leads")
    return _preference_done("deleted", status=200)


_PREFERENCE = "duplicate_preference"
_EXPORT = "audit_log_export"
_FEATURES: tuple[tuple[str, Json], ...] = (
    ("user_licenses", {"limits": {"total": 10, "edition_limit": 10}, "used_count": 4}),
    ("bulk_read", {"limits": {"rows_per_job": 200_000}}),
    ("notifications", {"limits": {"channels": 100}}),
)


def _preference_done(what: str, *, status: int) -> Reply:
    item = {
        "code": "SUCCESS",
        "details": {},
        "message": f"duplicate check preference {what} successfully",
        "status": "success",
    }
    return json_reply({"duplicate_check_preference": item}, status=status)


def _leads(call: Call) -> None:
    if call.query.get("module") != "Leads":
        details = {"param_name": "module"}
        raise problem("INVALID_MODULE", "the module name given seems to be invalid.", details)


def _view(module: str) -> Json:
    field = MODULES[module]["Newsletter"]
    return {
        "id": names.VIEWS[module],
        "name": "Newsletter",
        "display_value": "Newsletter",
        "system_name": None,
        "system_defined": False,
        "category": "created_by_me",
        "default": True,
        "favorite": None,
        "criteria": {
            "comparator": "equal",
            "field": {"api_name": "Newsletter", "id": field_id(module, field)},
            "value": True,
        },
        "fields": [
            {"api_name": name, "id": field_id(module, field)}
            for name, field in MODULES[module].items()
            if name in _SHOWN
        ],
        "sort_by": None,
        "sort_order": None,
    }


_SHOWN = ("Full_Name", "Name", "Email", "Email_Opt_Out", "Newsletter")


def _profile(one: dict[str, str]) -> Json:
    return {
        "id": one["id"],
        "name": one["name"],
        "display_label": one["name"],
        "type": "normal_profile",
        "custom": False,
        "created_time": None,
        "modified_time": None,
        "created_by": None,
        "modified_by": None,
    }


def _permissions(one: dict[str, str]) -> list[Json]:
    is_admin = one is PROFILE
    rights = [f"Crm_Implied_{verb}_{module}" for module in MODULE_IDS for verb in ("View", "Edit", "Delete")]
    return [
        {
            "id": str(5725767000000026100 + position),
            "name": right,
            "display_label": right.removeprefix("Crm_Implied_").replace("_", " "),
            "module": right.rpartition("_")[2],
            "enabled": is_admin or "View" in right,
        }
        for position, right in enumerate(rights)
    ]

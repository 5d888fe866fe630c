"""What CRM tells about itself: the organisation, its users, modules and fields, and what calls cost."""

from collections.abc import Sequence

from service.zoho.simulator import misfits, names
from service.zoho.simulator.clock import parse
from service.zoho.simulator.crm import consents
from service.zoho.simulator.crm.fields import CUSTOM, JSON_TYPES, MODULE_IDS, Field, Kind, field_id
from service.zoho.simulator.crm.gate import asked_module, read_problem
from service.zoho.simulator.crm.paging import PAGE, whole_number
from service.zoho.simulator.crm.rows import user_objects
from service.zoho.simulator.crm.visible import fields_of, modules_of, restricted
from service.zoho.simulator.wire import Call, Reply, json_reply
from service.zoho.simulator.world import World

Json = dict[str, object]


def org(world: World, _call: Call) -> Reply:
    """Answer `GET /org`; `zgid`, not `id`, names the organisation to other services."""
    licence = {
        "paid": True,
        "paid_type": "enterprise",
        "paid_expiry": None,
        "trial_type": None,
        "trial_expiry": None,
        "users_license_purchased": 10,
        "portal_users_license_purchased": 0,
    }
    organisation = {
        "id": names.ORG_ID,
        "zgid": names.ORG_ZGID,
        "company_name": "Example Publishing",
        "primary_email": "office@example.org",
        "country_code": "IN",
        "time_zone": "Asia/Kolkata",
        "type": "production",
        "domain_name": f"org{names.ORG_ZGID}",
        "privacy_settings": consents.is_on(world),
        "hipaa_compliance_enabled": False,
        "license_details": licence,
    }
    return json_reply({"org": [organisation]})


def users(world: World, call: Call) -> Reply:
    """Answer `GET /users?type=`; CurrentUser is the one in whose name the API writes, 204 for none.

    Everybody is active and confirmed; the API's user and the first of the others are administrators.
    """
    everybody = user_objects(world.db)
    wanted = _OF_TYPE.get(call.query.get("type", "AllUsers"))
    if wanted is None:
        raise read_problem(world, "INVALID_DATA", "invalid data", {"param_name": "type"})
    if _unchanged_since_planting(world, call):
        return Reply(status=304)
    found = [_user(everybody[number]) for number in sorted(everybody, key=str)[wanted]]
    if "ids" in call.query:
        found = [one for one in found if one["id"] in call.query["ids"].split(",")]
    per_page, page = whole_number(world, call, "per_page", PAGE), whole_number(world, call, "page", 1)
    shown = found[(page - 1) * per_page : page * per_page]
    if not shown:
        return Reply(status=204)
    more = len(found) > page * per_page
    info = {"per_page": per_page, "count": len(shown), "page": page, "more_records": more}
    return json_reply({"users": shown, "info": info})


def user(world: World, call: Call) -> Reply:
    """Answer `GET /users/{id}`; 204 for an unknown one."""
    everybody = user_objects(world.db)
    number = int(call.slots["user_id"]) if call.slots["user_id"].isdigit() else -1
    return json_reply({"users": [_user(everybody[number])]}) if number in everybody else Reply(status=204)


def modules(world: World, _call: Call) -> Reply:
    """Answer `GET /settings/modules`."""
    return json_reply({"modules": [_module(module) for module in modules_of(world)]})


def module(world: World, call: Call) -> Reply:
    """Answer `GET /settings/modules/{api_name}`."""
    if call.slots["name"] not in modules_of(world):
        raise read_problem(world, "INVALID_MODULE", "the module name given seems to be invalid", {})
    return json_reply({"modules": [_module(call.slots["name"])]})


def fields(world: World, call: Call) -> Reply:
    """Answer `GET /settings/fields?module=&type=&include=`; every field here is in use."""
    name = asked_module(world, call)
    kind, include = call.query.get("type", "all"), call.query.get("include", PERMISSIONS)
    if kind not in ("all", "used", "unused") or include != PERMISSIONS:
        wrong = {"param_name": "type" if include == PERMISSIONS else "include"}
        raise read_problem(world, "PATTERN_NOT_MATCHED", "Please check whether the input is correct", wrong)
    if kind == "unused":
        return Reply(status=204)
    unique = world.unique.get(name, [])
    more = _ALLOWED if "include" in call.query else {}
    secret = restricted(world, name)
    found = [
        {
            **misfits.of_crm(world, name, field.api_name, field_item(name, field, unique)),
            **more,
            **(_PRIVATE if field.api_name in secret else {}),
        }
        for field in fields_of(world, name).values()
    ]
    return json_reply({"fields": [*found, *consents.descriptions(world, found[-1])]})


PERMISSIONS = "allowed_permissions_to_update"
_PRIVATE: Json = {"private": {"restricted": True, "type": "low", "export": False}}
_ALLOWED: Json = {PERMISSIONS: {"read_write": True, "read_only": True, "hidden": False}}
PROFILE = {"name": "Administrator", "id": "5725767000000026011"}
_ALL, _NONE = slice(None), slice(0)
_OF_TYPE = {
    "AllUsers": _ALL,
    "ActiveUsers": _ALL,
    "ConfirmedUsers": _ALL,
    "ActiveConfirmedUsers": _ALL,
    "DeactiveUsers": _NONE,
    "NotConfirmedUsers": _NONE,
    "DeletedUsers": _NONE,
    "AdminUsers": slice(2),
    "ActiveConfirmedAdmins": slice(2),
    "CurrentUser": slice(1),
}


def _user(one: Json) -> Json:
    return {
        **one,
        "full_name": one["name"],
        "status": "active",
        "confirm": True,
        "profile": PROFILE,
        "role": {"name": "CEO", "id": "5725767000000026005"},
    }


def _unchanged_since_planting(world: World, call: Call) -> bool:
    since = parse(call.headers.get("if-modified-since", ""))
    oldest = world.db.execute("SELECT min(created_at) FROM lists").fetchone()[0]
    return since is not None and since > oldest


def _module(name: str) -> Json:
    return {
        "id": MODULE_IDS[name],
        "api_name": name,
        "module_name": "CustomModule1" if name in CUSTOM else name,
        "plural_label": name,
        "singular_label": name.removesuffix("s"),
        "generated_type": "custom" if name in CUSTOM else "default",
        "api_supported": True,
        "creatable": True,
        "editable": True,
        "deletable": True,
        "viewable": True,
        "visible": True,
    }


_OPERATIONS = ("web_update", "api_create", "web_create", "api_update")
_USUAL: Json = {
    "visible": True,
    "filterable": True,
    "searchable": True,
    "webhook": True,
    "type": "used",
    "private": None,
    "lookup": {},
    "multiselectlookup": {},
    "history_tracking": None,
    "created_source": "default",
}
"""What is the same of every field."""


def field_item(name: str, field: Field, unique: Sequence[str]) -> Json:
    """Return a field's own description, as the field and the layout calls show it."""
    writable = not field.read_only
    return {
        "id": field_id(name, field),
        "api_name": field.api_name,
        "field_label": field.label,
        "display_label": field.label,
        "data_type": str(field.kind),
        "json_type": JSON_TYPES.get(field.kind, "string"),
        "ui_type": 301 if field.kind is Kind.BOOLEAN else 1,
        "length": field.length,
        "custom_field": field.custom,
        "read_only": field.read_only,
        "field_read_only": field.read_only,
        "system_mandatory": field.mandatory,
        **_USUAL,
        "mass_update": writable,
        "customizable_properties": ["removal"] if field.api_name == "Email_Opt_Out" else [],
        "operation_type": dict.fromkeys(_OPERATIONS, writable),
        "unique": {"casesensitive": "false"} if field.api_name in unique else {},
        "pick_list_values": [{"display_value": pick, "actual_value": pick} for pick in field.picks],
        "convert_mapping": {"Contacts": None, "Deals": None, "Accounts": None},
        "external": {"type": "org", "show": True} if field.external else None,
        "profiles": [{"permission_type": "read_write", **PROFILE}],
        "layout_associations": [{"api_name": "Standard__s", "name": "Standard", "id": "5725767000000091055"}],
    }

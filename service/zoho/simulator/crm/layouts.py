"""Layouts: where each field of a module stands, and where a lead's fields go when it is converted."""

from service.zoho.simulator import names
from service.zoho.simulator.crm import conversion
from service.zoho.simulator.crm.fields import MODULES, field_id
from service.zoho.simulator.crm.gate import asked_module
from service.zoho.simulator.crm.metadata import PROFILE, field_item
from service.zoho.simulator.crm.visible import fields_of
from service.zoho.simulator.wire import Call, Reply, json_reply
from service.zoho.simulator.world import World

Json = dict[str, object]
LAYOUT_IDS = {
    "Leads": "5725767000000091055",
    "Contacts": "5725767000000091057",
    names.GUESTS: "5725767000000091059",
}


def layouts(world: World, call: Call) -> Reply:
    """Answer `GET /settings/layouts?module=`: where each field stands, and Leads' conversion mapping."""
    return json_reply({"layouts": [_layout(world, asked_module(world, call))]})


def layout(world: World, call: Call) -> Reply:
    """Answer `GET /settings/layouts/{id}?module=`."""
    module = asked_module(world, call)
    if call.slots["layout_id"] != LAYOUT_IDS[module]:
        return Reply(status=204)
    return json_reply({"layouts": [_layout(world, module)]})


def _layout(world: World, module: str) -> Json:
    found = [
        {
            **field_item(module, field, []),
            "sequence_number": position,
            "convert_mapping": _converted(world, module, field.api_name),
        }
        for position, field in enumerate(fields_of(world, module).values(), start=1)
    ]
    section = {
        "display_label": f"{module.removesuffix('s')} Information",
        "name": f"{module.removesuffix('s')} Information",
        "api_name": f"{module.removesuffix('s')}_Information",
        "sequence_number": 1,
        "column_count": 2,
        "fields": found,
    }
    target = {"name": "Standard", "id": LAYOUT_IDS["Contacts"]}
    return {
        "id": LAYOUT_IDS[module],
        "name": "Standard",
        "api_name": "Standard__s",
        "display_label": "Standard",
        "status": "active",
        "visible": True,
        "profiles": [PROFILE],
        "sections": [section],
        "convert_mapping": {"Contacts": target, "Deals": None, "Accounts": None}
        if module == "Leads"
        else None,
    }


def _converted(world: World, module: str, name: str) -> Json | None:
    """Return where a lead's field goes when it is converted, None for other modules."""
    if module != conversion.LEADS:
        return None
    carries = world.on("crm.conversion_carries_optout")
    into = "Email_Opt_Out" if carries and name == "Email_Opt_Out" else conversion.CARRIED.get(name)
    if into is None:
        return {"Contacts": None, "Deals": None, "Accounts": None}
    field = MODULES[conversion.CONTACTS][into]
    target = {"api_name": into, "field_label": field.label, "id": field_id(conversion.CONTACTS, field)}
    return {"Contacts": target, "Deals": None, "Accounts": None}

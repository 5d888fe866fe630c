"""What an admin made of mapped fields so that they fit no more, as both products' metadata tell it.

Metadata alone: what is written to such a field is taken as before. Removed CRM fields are `visible`'s.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from service.zoho.simulator import shelf
from service.zoho.simulator.crm.fields import MODULES
from service.zoho.simulator.wire import Call, Reply, json_reply
from service.zoho.simulator.world import World

IN_CRM, IN_CAMPAIGNS = "crm_misfit", "campaigns_misfit"
Json = dict[str, object]
Permission = Literal["read_write", "read_only", "hidden"]


class CrmMisfit(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """An admin changes a CRM field; what is not said is as it was before any change."""

    module: str
    field: str
    data_type: str | None = None
    length: int | None = None
    read_only: bool = False
    profiles: dict[str, Permission] = {}


class CampaignsMisfit(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """An admin renames a contact field, or makes it another type or length; `renamed` "" removes it."""

    label: str
    renamed: str | None = None
    type: str | None = None
    length: int | None = None


def crm_field(world: World, call: Call) -> Reply:
    """Let an admin change a field of CRM; a GET tells all that were changed."""
    if call.method == "POST":
        body = msgspec.json.decode(call.body, type=CrmMisfit)
        if body.field not in MODULES.get(body.module, ()):
            return json_reply({"error": "no such module, or no such field in it"}, status=400)
        shelf.put(world.db, IN_CRM, f"{body.module}.{body.field}", msgspec.to_builtins(body))
    return json_reply({"changed": [body for _, body in shelf.every(world.db, IN_CRM)]})


def campaigns_field(world: World, call: Call) -> Reply:
    """Let an admin change a contact field of Campaigns; a GET tells all that were changed."""
    if call.method == "POST":
        body = msgspec.json.decode(call.body, type=CampaignsMisfit)
        shelf.put(world.db, IN_CAMPAIGNS, body.label, msgspec.to_builtins(body))
    return json_reply({"changed": [body for _, body in shelf.every(world.db, IN_CAMPAIGNS)]})


def of_crm(world: World, module: str, field: str, usual: Json) -> Json:
    """Return a field's description with what an admin made of it."""
    told = shelf.get(world.db, IN_CRM, f"{module}.{field}")
    if told is None:
        return usual
    body = msgspec.convert(told, CrmMisfit)
    changed: Json = {
        "data_type": body.data_type or usual["data_type"],
        "length": body.length or usual["length"],
    }
    if body.read_only:
        nobody = dict.fromkeys(("web_update", "api_create", "web_create", "api_update"), False)
        changed |= {"read_only": True, "field_read_only": True, "operation_type": nobody}
    if body.profiles:
        closed = [
            {"permission_type": permission, "name": name, "id": f"57257670000000260{number}"}
            for number, (name, permission) in enumerate(body.profiles.items(), start=20)
        ]
        first = usual["profiles"]
        assert isinstance(first, list), "profiles are a list"
        changed["profiles"] = [*first, *closed]
    return {**usual, **changed}


def of_campaigns(world: World, labels: Iterable[str]) -> list[Json]:
    """Return the contact fields as Campaigns lists them; type and length only where the switch says so."""
    found: list[Json] = []
    for position, label in enumerate(labels):
        body = msgspec.convert(shelf.get(world.db, IN_CAMPAIGNS, label) or {"label": label}, CampaignsMisfit)
        shown = label if body.renamed is None else body.renamed
        row: Json = {
            "DISPLAY_NAME": shown,
            "FIELD_NAME": label.lower().replace(" ", "_"),
            "IS_MANDATORY": label == "Contact Email",
            "FIELD_ID": 1127772000000000021 + 2 * position,
        }
        if world.on("campaigns.field_types"):
            row |= {"FIELD_TYPE": body.type or "Text", "MAX_LENGTH": str(body.length or 250)}
        if shown:
            found.append(row)
    return found

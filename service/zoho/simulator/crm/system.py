"""What CRM says of a record beside its fields when the whole of it is asked for (facts `zoho-crm`, 2.1)."""

from collections.abc import Iterable

from service.zoho.simulator import shelf
from service.zoho.simulator.crm.annotations import tags_of
from service.zoho.simulator.crm.layouts import LAYOUT_IDS
from service.zoho.simulator.world import World

Json = dict[str, object]


SYSTEM_KEYS = frozenset(
    (
        *("$approved", "$approval", "$approval_state", "$editable", "$in_merge", "$locked_for_me", "$review"),
        *("$review_process", "$orchestration", "$process_flow", "$state", "$currency_symbol"),
        *("$sharing_permission", "$field_states", "$zia_visions", "$has_more", "Locked__s"),
        *("Record_Status__s", "Layout", "Tag", "Last_Activity_Time", "Data_Source"),
    )
)
"""What a list shows where it is asked for by name, and a record or a search by itself."""


def asked_for(world: World, module: str, number: int, names: Iterable[str]) -> Json:
    """Return those of the keys that are among `names`."""
    wanted = SYSTEM_KEYS.intersection(names)
    if not wanted:
        return {}
    return {name: value for name, value in system_keys(world, module, number).items() if name in wanted}


def system_keys(world: World, module: str, number: int) -> Json:
    """Return the keys of the system: who may do what with the record, its layout, its tags."""
    held = (shelf.get(world.db, "locked", str(number)) or {}).get("code")
    state = "approval_pending" if held == "NOT_APPROVED" else "approved"
    actions = dict.fromkeys(("delegate", "takeover", "approve", "reject", "resubmit"), False)
    return {
        "$approved": state == "approved",
        "$approval": actions,
        "$approval_state": state,
        "$editable": held is None,
        "$in_merge": False,
        "$locked_for_me": held == "RECORD_LOCKED",
        "$review": None,
        "$review_process": dict.fromkeys(("approve", "reject", "resubmit"), False),
        "$orchestration": False,
        "$process_flow": False,
        "$state": "save",
        "$currency_symbol": "$",
        "$sharing_permission": "full_access",
        "$field_states": None,
        "$zia_visions": None,
        "$has_more": {},
        "Locked__s": held == "RECORD_LOCKED",
        "Record_Status__s": "Available",
        "Layout": {"name": "Standard", "id": LAYOUT_IDS[module], "display_label": "Standard"},
        "Tag": tags_of(world, module, number),
        "Last_Activity_Time": None,
        "Data_Source": "api",
        **({"$stop_processing": True} if held == "FROZEN" else {}),
    }

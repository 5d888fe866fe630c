"""What CRM says of a record beside its fields when the whole of it is asked for (facts `zoho-crm`, 2.1)."""

from service.zoho.simulator import shelf
from service.zoho.simulator.crm.annotations import tags_of
from service.zoho.simulator.crm.setup import LAYOUT_IDS
from service.zoho.simulator.world import World

Json = dict[str, object]


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
    }

"""Tags of Campaigns: made, listed, put on a contact and taken off; some clients do all of it by GET."""

from service.zoho.simulator import shelf
from service.zoho.simulator.campaigns import contacts, envelope
from service.zoho.simulator.campaigns.gate import required
from service.zoho.simulator.clock import display
from service.zoho.simulator.wire import Call, Reply
from service.zoho.simulator.world import World

KIND = "campaigns_tag"


def getalltags(world: World, call: Call) -> Reply:
    """Answer `tag/getalltags`: a list of one-entry objects, keyed by the tag's id; 9001 when none."""
    tags = shelf.every(world.db, KIND)
    if not tags:
        raise envelope.failure(world, call, "9001", "No tags found.")
    offset = world.number("campaigns.display_offset_min")
    shown = [
        {
            tag["id"]: {
                "tagowner": "office",
                "tag_created_time": display(tag["created_at"], offset),
                "tag_name": name,
                "tag_color": tag["color"],
                "tag_desc": tag["description"],
                "tagged_contact_count": str(len(tag["contacts"])),
                "is_crm_tag": "false",
                "zuid": "857543122",
            }
        }
        for name, tag in tags
    ]
    body: envelope.Json = {"tags": shown, "uri": call.path, "version": "1.1"}
    return envelope.bare(world, call, body)


def add(world: World, call: Call) -> Reply:
    """Answer `tag/add`."""
    (name,) = required(world, call, "tagName")
    if shelf.get(world.db, KIND, name) is not None:
        raise envelope.failure(world, call, "9002", "Tag already exists.")
    tag = {
        "id": str(16492000023000000 + world.next_record_id() % 10**6),
        "created_at": world.clock.seconds(),
        "color": call.params.get("color", "#48b9d1"),
        "description": call.params.get("tagDesc", ""),
        "contacts": [],
    }
    shelf.put(world.db, KIND, name, tag)
    return envelope.success(world, call, {"message": "Tag created successfully."})


def delete(world: World, call: Call) -> Reply:
    """Answer `tag/delete`."""
    (name,) = required(world, call, "tagName")
    if not shelf.drop(world.db, KIND, name):
        raise envelope.failure(world, call, "9001", "Tag does not exist.")
    return envelope.success(world, call, {"message": "Tag deleted successfully."})


def associate(world: World, call: Call) -> Reply:
    """Answer `tag/associate`: the address is called `lead_email`."""
    return _change(world, call, on=True)


def deassociate(world: World, call: Call) -> Reply:
    """Answer `tag/deassociate`."""
    return _change(world, call, on=False)


def _change(world: World, call: Call, *, on: bool) -> Reply:
    name, email = required(world, call, "tagName", "lead_email")
    tag = shelf.get(world.db, KIND, name)
    if tag is None:
        raise envelope.failure(world, call, "9001", "Tag does not exist.")
    contact = contacts.find(world, email)
    if contact is None:
        raise envelope.failure(world, call, "2103", "Contact does not exist.")
    members = set(tag["contacts"]) - {contact.id} | ({contact.id} if on else set())
    shelf.put(world.db, KIND, name, {**tag, "contacts": sorted(members)})
    word = "associated" if on else "deassociated"
    return envelope.success(world, call, {"message": f"Tag {word} successfully."})

"""What an admin's tool does to Campaigns beside contacts: lists, topics, contact fields."""

from typing import Any

from service.zoho.simulator import names, shelf
from service.zoho.simulator.campaigns import contacts, envelope
from service.zoho.simulator.campaigns.gate import named, required, window
from service.zoho.simulator.wire import Call, Reply
from service.zoho.simulator.world import World

BULK = 10
MOST = 500
FILTERS = ("sentcampaigns", "scheduledcampaigns", "recentcampaigns")
TOPIC, FIELD = "campaigns_topic", "campaigns_field"


def addlistandcontacts(world: World, call: Call) -> Reply:
    """Answer `addlistandcontacts`: a new list with up to ten bare addresses."""
    name, form, mode, text = required(world, call, "listname", "signupform", "mode", "emailids")
    emails = [email.strip() for email in text.split(",") if email.strip()]
    if mode != "newlist" or form not in ("public", "private") or len(emails) > BULK:
        raise envelope.failure(world, call, "1001", "Pattern doesn't match.")
    if world.db.execute("SELECT 1 FROM lists WHERE name = ?", (name,)).fetchone():
        raise envelope.failure(world, call, "2205", "The list exists already.")
    listkey = f"3z{world.next_record_id():040x}"
    row = world.db.execute(
        "INSERT INTO lists (listkey, name, signup_form, created_at) VALUES (?, ?, ?, ?) RETURNING id",
        (listkey, name, form == "public", world.clock.seconds()),
    ).fetchone()
    for email in emails:
        contact = contacts.find(world, email)
        kept_out = contact is not None and (contact.dnm is not None or contact.hard_bounced)
        if contacts.is_address(email) and not contacts.is_role(email) and not kept_out:
            contacts.set_status(world, row[0], (contact or contacts.add(world, email)).id, "active")
    return envelope.success(world, call, {"listkey": listkey, "listname": name})


def updatelistdetails(world: World, call: Call) -> Reply:
    """Answer `updatelistdetails`: another name, another sign-up form."""
    listkey, name, form = required(world, call, "listkey", "newlistname", "signupform")
    list_id = _list(world, call, listkey, "2102")
    world.db.execute(
        "UPDATE lists SET name = ?, signup_form = ? WHERE id = ?", (name, form == "public", list_id)
    )
    return envelope.success(world, call, {"listkey": listkey, "message": "List updated successfully."})


def deletemailinglist(world: World, call: Call) -> Reply:
    """Answer `deletemailinglist`; `deletecontacts=on` takes contacts that are on no other list along."""
    (listkey,) = required(world, call, "listkey")
    list_id = _list(world, call, listkey, "2202")
    if call.params.get("deletecontacts") == "on":
        world.db.execute(
            "DELETE FROM contacts WHERE id IN (SELECT contact_id FROM members GROUP BY contact_id"
            " HAVING count(*) = 1 AND max(list_id) = ?)",
            (list_id,),
        )
    world.db.execute("DELETE FROM members WHERE list_id = ?", (list_id,))
    world.db.execute("DELETE FROM lists WHERE id = ?", (list_id,))
    shelf.put(world.db, contacts.GONE, listkey, {})
    return envelope.success(world, call, {"message": "List deleted successfully."})


def getlistadvanceddetails(world: World, call: Call) -> Reply:
    """Answer `getlistadvanceddetails`: the list, and its campaigns of a kind; none are ever scheduled."""
    (listkey,) = required(world, call, "listkey")
    wanted = call.params.get("filtertype") or FILTERS[0]
    if wanted not in FILTERS:
        raise envelope.failure(world, call, "1001", "Pattern doesn't match.")
    start, count = window(world, call, most=MOST)
    list_id = _list(world, call, listkey, "2202")
    name, form = world.db.execute("SELECT name, signup_form FROM lists WHERE id = ?", (list_id,)).fetchone()
    sent = world.db.execute(
        "SELECT campaign_key, name FROM campaigns WHERE parent_id IS NULL AND ? ORDER BY sent_at DESC",
        (listkey == names.LIST_KEY and wanted != "scheduledcampaigns",),
    ).fetchall()
    found = sent[start - 1 : start - 1 + count]
    details = {
        "listkey": listkey,
        "listname": name,
        "is_public": str(bool(form)).lower(),
        wanted: [{"campaign_key": key, "campaign_name": title} for key, title in found],
    }
    return envelope.success(world, call, {"list_details": details})


def create_topic(world: World, call: Call) -> Reply:
    """Answer `POST topics`, whose parameters stand in `details`."""
    details = _details(world, envelope.as_json(call))
    name = details.get("topic_name")
    if not name:
        raise envelope.failure(world, envelope.as_json(call), "4010", "The topic's name is missing.")
    if name == names.TOPIC_NAME or shelf.get(world.db, TOPIC, str(name)):
        raise envelope.failure(world, envelope.as_json(call), "4011", "The topic exists already.")
    topic_id = str(80696000000100001 + world.next_record_id() % 10**6)
    shelf.put(world.db, TOPIC, str(name), {"topicId": topic_id, "topicName": name})
    body: envelope.Json = {"topicId": topic_id, "code": "200", "message": "Success", "uri": call.path}
    return envelope.bare(world, envelope.as_json(call), body)


def add_field(world: World, call: Call) -> Reply:
    """Answer `custom/add`, which asks for `type=json` and nests under `response`."""
    (label,) = required(world, call, "fieldname")
    if label in contacts.COLUMNS or shelf.get(world.db, FIELD, label):
        raise envelope.failure(world, call, "916", "The custom field exists already.")
    shelf.put(world.db, FIELD, label, {"label": label})
    told = {"code": "0", "status": "success", "message": "Custom field created.", "fieldname": label}
    body: envelope.Json = {"response": {**told, "fieldtype": call.params.get("fieldtype", "Text")}}
    return envelope.bare(world, call, body)


def _list(world: World, call: Call, listkey: str, code: str) -> int:
    list_id = contacts.list_id(world, listkey)
    if list_id is None:
        raise envelope.failure(world, call, code, "Listkey is empty or invalid.")
    return list_id


def _details(world: World, call: Call) -> dict[str, Any]:
    (text,) = required(world, call, "details")
    details = named(text)
    if not isinstance(details, dict):
        raise envelope.failure(world, call, "1001", "Pattern doesn't match.")
    return details

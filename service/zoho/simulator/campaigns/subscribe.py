"""Writing to Campaigns: subscribe, unsubscribe, Do-Not-Mail, and the bulk that takes bare addresses."""

from service.zoho.simulator.campaigns import contacts, envelope
from service.zoho.simulator.campaigns.gate import named, required
from service.zoho.simulator.wire import Call, Reply
from service.zoho.simulator.world import World

BULK = 10
CONFIRM = "A confirmation email is sent to the user. User needs to confirm to successfully subscribe."


def listsubscribe(world: World, call: Call) -> Reply:
    """Answer `json/listsubscribe`.

    A contact in Do-Not-Mail is 2006 without `donotmail_resub`; an active member gets its fields
    updated; somebody who left the list is put back on it, which is why a client must look first.
    """
    listkey, info = required(world, call, "listkey", "contactinfo")
    list_id, signup_form = _list(world, call, listkey)
    email, fields = _contact(world, call, info)
    contact = contacts.find(world, email)
    if contact is not None and (refusal := _kept_out(world, call, contact)):
        return refusal
    known = contact is not None
    contact = contact or _added(world, call, email)
    contacts.set_fields(world, contact.id, fields)
    if contact.dnm is not None:
        contacts.set_dnm(world, contact.id, None)
    if "topic_id" in call.params:
        _join_topic(world, contact.id, call.params["topic_id"])
    if contacts.status_on(world, list_id, contact.id) == "active":
        return _done(world, call, "User successfully subscribed.")
    confirms = signup_form or world.text("campaigns.confirmation") == "always"
    awaiting = confirms and not (known and contacts.status_on(world, list_id, contact.id) is not None)
    contacts.set_status(world, list_id, contact.id, "awaiting" if awaiting else "active")
    return _done(world, call, CONFIRM if awaiting else "User successfully subscribed.")


def listunsubscribe(world: World, call: Call) -> Reply:
    """Answer `json/listunsubscribe`: off this list (or out of one topic), which is not Do-Not-Mail."""
    listkey, info = required(world, call, "listkey", "contactinfo")
    list_id, _ = _list(world, call, listkey)
    email, _ = _contact(world, call, info)
    contact = contacts.find(world, email)
    if contact is None or contacts.status_on(world, list_id, contact.id) is None:
        raise envelope.failure(
            world, call, world.text("campaigns.unsubscribe_unknown"), "Contact does not exist."
        )
    if "topic_id" in call.params:
        _leave_topic(world, contact.id, call.params["topic_id"])
    if contacts.status_on(world, list_id, contact.id) in ("active", "awaiting"):
        contacts.set_status(world, list_id, contact.id, "unsub")
        contacts.opted_out(world, contact.id)
    return _done(world, call, "User successfully unsubscribed.")


def contactdonotmail(world: World, call: Call) -> Reply:
    """Answer `json/contactdonotmail`; a second time is a success that says so."""
    (info,) = required(world, call, "contactinfo")
    email, _ = _contact(world, call, info)
    contact = contacts.find(world, email)
    if contact is None:
        if world.text("campaigns.dnm_unknown") == "2103":
            raise envelope.failure(world, call, "2103", "Contact does not exist.")
        contact = contacts.add(world, email)
    if contact.dnm is not None:
        return _done(world, call, "User already in Do-Not-Mail.")
    contacts.set_dnm(world, contact.id, "admin")
    if world.text("campaigns.dnm_lists") == "unsub":
        contacts.set_everywhere(world, contact.id, "unsub")
    return _done(world, call, "User successfully moved to Do-Not-Mail.")


def addlistsubscribersinbulk(world: World, call: Call) -> Reply:
    """Answer `addlistsubscribersinbulk`: ten bare addresses at most; who is kept out is skipped unsaid."""
    listkey, text = required(world, call, "listkey", "emailids")
    list_id, _ = _list(world, call, listkey)
    emails = [email.strip() for email in text.split(",") if email.strip()]
    if len(emails) > BULK:
        raise envelope.failure(world, call, "2001", "Only ten email ids are allowed.")
    for email in emails:
        contact = contacts.find(world, email)
        kept_out = contact is not None and (contact.dnm is not None or contact.hard_bounced)
        if contacts.is_address(email) and not contacts.is_role(email) and not kept_out:
            contacts.set_status(world, list_id, (contact or _added(world, call, email)).id, "active")
    if world.text("campaigns.bulk_answer") == "Z101":
        return envelope.bare(world, call, {"status": "error", "code": "Z101", "message": ""})
    name = world.db.execute("SELECT name FROM lists WHERE id = ?", (list_id,)).fetchone()[0]
    body = {
        "status": "success",
        "listkey": listkey,
        "code": "0",
        "url": call.path,
        "listname": name,
        "version": "1.1",
    }
    return envelope.bare(world, call, body)


def _kept_out(world: World, call: Call, contact: contacts.Contact) -> Reply | None:
    if contact.dnm is not None and call.params.get("donotmail_resub", "").lower() != "true":
        if world.text("campaigns.subscribe_dnm") == "2006":
            raise envelope.failure(world, call, "2006", "Contact is in Do-Not-Mail registry.")
        return _done(world, call, "User successfully subscribed.")
    if contact.hard_bounced:
        if world.text("campaigns.subscribe_hard_bounced") == "2001":
            raise envelope.failure(world, call, "2001", "Error in subscription.")
        return _done(world, call, "User successfully subscribed.")
    return None


def _added(world: World, call: Call, email: str) -> contacts.Contact:
    """Return a new contact; 914 where the plan holds no more of them."""
    most = world.number("campaigns.most_contacts")
    if most and world.db.execute("SELECT count(*) FROM contacts").fetchone()[0] >= most:
        raise envelope.failure(world, call, "914", "Contact limit reached.")
    return contacts.add(world, email)


def _list(world: World, call: Call, listkey: str) -> tuple[int, bool]:
    row = world.db.execute("SELECT id, signup_form FROM lists WHERE listkey = ?", (listkey,)).fetchone()
    if row is None:
        raise envelope.failure(world, call, "2501", "Listkey is empty or invalid.")
    return int(row[0]), bool(row[1])


def _contact(world: World, call: Call, info: str) -> tuple[str, dict[str, object]]:
    """Return the address and the other fields of `contactinfo`, JSON or `{Label:value,Label:value}`."""
    fields = named(info)
    if not isinstance(fields, dict):
        raise envelope.failure(world, call, "2001", "Please enter correct XML/JSON format.")
    email = str(fields.pop("Contact Email", "")).strip().lower()
    if not contacts.is_address(email):
        raise envelope.failure(world, call, "2004", "Invalid email address.")
    if contacts.is_role(email):
        raise envelope.failure(world, call, "2005", "Group email address cannot be added.")
    return email, fields


def _done(world: World, call: Call, message: str) -> Reply:
    body: envelope.Json = {
        "message": message,
        "status": "success",
        "code": "0",
        "uri": call.path,
        "version": "1.1",
    }
    return envelope.bare(world, call, body)


def _join_topic(world: World, contact_id: int, topic_id: str) -> None:
    world.db.execute(
        "DELETE FROM topic_optouts WHERE contact_id = ? AND topic_id = ?", (contact_id, topic_id)
    )


def _leave_topic(world: World, contact_id: int, topics: str) -> None:
    for topic_id in topics.split(","):
        world.db.execute("INSERT OR IGNORE INTO topic_optouts VALUES (?, ?)", (contact_id, topic_id.strip()))

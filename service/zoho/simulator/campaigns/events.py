"""What people and mail servers do to Campaigns: a click, a bounce, a complaint, a confirmation.

Nothing of it reaches CRM unless one of the two sync switches is on.
"""

from service.zoho.simulator.campaigns import contacts, transmissions
from service.zoho.simulator.crm.records import Author, change, of_address
from service.zoho.simulator.world import World

SOFT, HARD = "sentsoftbounce", "senthardbounce"


def unsubscribe(world: World, email: str) -> bool:
    """Let the contact click unsubscribe in the last mail; return whether there is such a contact."""
    return _leave(world, email, reason="self", action="optoutcontacts")


def complain(world: World, email: str) -> bool:
    """Let the contact mark the last mail as spam."""
    return _leave(world, email, reason="complaint", action="spamcontacts")


def bounce(world: World, email: str, kind: str) -> bool:
    """Let a mail bounce, `hard` or `soft`: the newest one that has not bounced for this contact yet."""
    contact = contacts.find(world, email)
    if contact is None:
        return False
    limit = world.number("bounce.soft_to_hard")
    if world.on("emailapi.campaign_events"):
        transmissions.happen(world, "bounce", [email], bounce_type=f"{kind} bounce")
    if kind == "soft":
        _record(world, contact.id, SOFT)
        world.db.execute("UPDATE contacts SET soft_bounces = soft_bounces + 1 WHERE id = ?", (contact.id,))
        if not limit or contact.soft_bounces + 1 < limit:
            return True
    else:
        _record(world, contact.id, HARD)
    world.db.execute("UPDATE contacts SET hard_bounced = 1 WHERE id = ?", (contact.id,))
    contacts.set_everywhere(world, contact.id, "bounce")
    if world.on("sync.bounce_to_crm"):
        _opt_out_in_crm(world, email)
    return True


def confirm(world: World, email: str, listkey: str) -> bool:
    """Let the contact confirm a subscription; return whether one was waiting."""
    contact, list_id = contacts.find(world, email), contacts.list_id(world, listkey)
    if contact is None or list_id is None or contacts.status_on(world, list_id, contact.id) != "awaiting":
        return False
    contacts.set_status(world, list_id, contact.id, "active")
    return True


def _leave(world: World, email: str, *, reason: str, action: str) -> bool:
    contact = contacts.find(world, email)
    if contact is None:
        return False
    contacts.set_dnm(world, contact.id, reason)
    contacts.set_everywhere(world, contact.id, "unsub")
    if world.on("emailapi.campaign_events"):
        transmissions.happen(world, "unsubscribed" if reason == "self" else "spam", [email])
    _record(world, contact.id, action)
    if world.on("sync.unsub_to_crm"):
        _opt_out_in_crm(world, email)
    return True


def _record(world: World, contact_id: int, action: str) -> None:
    """Add the outcome to the newest campaign that has none for this contact; it was sent then, too."""
    row = world.db.execute(
        "SELECT id FROM campaigns k WHERE parent_id IS NULL AND NOT EXISTS (SELECT 1 FROM outcomes o"
        " WHERE o.campaign_id = k.id AND o.action = ? AND o.contact_id = ?) ORDER BY sent_at DESC LIMIT 1",
        (action, contact_id),
    ).fetchone()
    if row is None:
        return
    now = world.clock.seconds()
    for kind in ("sentcontacts", action):
        world.db.execute(
            "INSERT OR IGNORE INTO outcomes VALUES (?, ?, ?, ?)", (row[0], kind, contact_id, now)
        )


def _opt_out_in_crm(world: World, email: str) -> None:
    author = Author(source="zoho_campaigns", mode="Zoho campaigns")
    for module, number in of_address(world, email):
        change(world, module, number, {"Email_Opt_Out": 1}, author)

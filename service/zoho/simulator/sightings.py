"""Looking at the world from above, for tests and demos: the planted truth, a person, the meter, totals."""

import msgspec

from service.zoho.simulator.campaigns import contacts
from service.zoho.simulator.crm.fields import MODULES
from service.zoho.simulator.crm.records import of_address
from service.zoho.simulator.crm.rows import columns, load, table
from service.zoho.simulator.kinds import KINDS
from service.zoho.simulator.wire import Call, Reply, json_reply
from service.zoho.simulator.world import World


class Someone(msgspec.Struct):
    """A body that names a person."""

    email: str


def truth(world: World, _call: Call) -> Reply:
    """Answer how many people were planted of each kind."""
    counts = dict(world.db.execute("SELECT key, count(*) FROM truth GROUP BY key"))
    planted = {kind.key: counts[kind.key] for kind in KINDS if kind.is_drift}
    consistent = {kind.key: counts[kind.key] for kind in KINDS if not kind.is_drift}
    return json_reply({"contacts": world.contacts, "planted": planted, "consistent": consistent})


def truth_of(world: World, call: Call) -> Reply:
    """Answer the addresses that were planted of one kind."""
    rows = world.db.execute(
        "SELECT email FROM truth WHERE key = ? ORDER BY email", (call.slots["key"],)
    ).fetchall()
    if not rows:
        return json_reply({"error": f"no such kind: {call.slots['key']}"}, status=404)
    return json_reply({"emails": [email for (email,) in rows]})


def person(world: World, call: Call) -> Reply:
    """Answer what both products say about an address, given as `?email=` or in the body."""
    email = call.query.get("email") or msgspec.json.decode(call.body, type=Someone).email
    email = email.strip().lower()
    crm = [
        {"module": module, **(load(world, module, number, columns(module, MODULES[module])) or {})}
        for module, number in of_address(world, email)
    ]
    return json_reply({"crm": crm, "campaigns": _in_campaigns(world, email)})


def meter(world: World, _call: Call) -> Reply:
    """Answer the calls and credits since the last reset, and until when which endpoint is locked."""
    calls = {product: world.meter.calls[product] for product in ("crm", "campaigns", "oauth")}
    by_endpoint = dict(sorted(world.meter.by_endpoint.items()))
    told = {"calls": calls, "credits": world.meter.credits, "by_endpoint": by_endpoint}
    return json_reply({**told, "locks": world.meter.locks(world.clock.seconds())})


def deliveries(world: World, _call: Call) -> Reply:
    """Answer which callbacks and webhooks were posted and what came of it, oldest first."""
    shown = [
        {
            "kind": delivery.kind,
            "url": delivery.url,
            "body": delivery.body.decode(),
            "outcome": delivery.outcome,
        }
        for delivery in (*world.outbox.past, *world.outbox.waiting)
    ]
    return json_reply({"deliveries": shown})


def state(world: World, _call: Call) -> Reply:
    """Answer totals of the whole organisation."""
    totals = {name: world.db.execute(query).fetchone()[0] for name, query in _TOTALS.items()}
    return json_reply({"people": world.contacts, **totals})


def _in_campaigns(world: World, email: str) -> dict[str, object]:
    contact = contacts.find(world, email)
    if contact is None:
        return {"lists": {}, "dnm": False, "dnm_reason": None, "hard_bounced": False, "fields": {}}
    lists = world.db.execute(
        "SELECT l.listkey, m.status FROM members m JOIN lists l ON l.id = m.list_id WHERE m.contact_id = ?",
        (contact.id,),
    )
    query = f"SELECT {', '.join(contacts.COLUMNS.values())} FROM contacts WHERE id = ?"
    values = world.db.execute(query, (contact.id,)).fetchone()
    return {
        "lists": dict(lists.fetchall()),
        "dnm": contact.dnm is not None,
        "dnm_reason": contact.dnm,
        "hard_bounced": contact.hard_bounced,
        "fields": dict(zip(contacts.COLUMNS, values, strict=True)),
    }


_RECORDS = " UNION ALL ".join(f"SELECT id, Email_Opt_Out, Newsletter FROM {table(m)}" for m in MODULES)


_TOTALS = {
    "crm_records": f"SELECT count(*) FROM ({_RECORDS})",
    "opted_out": f"SELECT count(*) FROM ({_RECORDS}) WHERE Email_Opt_Out",
    "in_view": f"SELECT count(*) FROM ({_RECORDS}) WHERE Newsletter",
    "contacts": "SELECT count(*) FROM contacts",
    "dnm": "SELECT count(*) FROM contacts WHERE dnm IS NOT NULL",
    "hard_bounced": "SELECT count(*) FROM contacts WHERE hard_bounced",
    "granted": "SELECT count(*) FROM contacts WHERE permission = 'Granted'",
    "refused": "SELECT count(*) FROM contacts WHERE permission = 'Refused'",
    **{
        status: f"SELECT count(*) FROM members WHERE status = '{status}'"
        for status in ("active", "unsub", "bounce", "awaiting")
    },
    "automations": "SELECT count(*) FROM automations",
    "timeline": "SELECT count(*) FROM timeline",
}

"""Converting a lead: it becomes a contact, new or present, and leaves every listing but the converted one."""

from collections.abc import Mapping
from typing import Any

from service.zoho.simulator.crm.fields import MODULES
from service.zoho.simulator.crm.gate import error_item, module_of, problem
from service.zoho.simulator.crm.records import Author, add, change, note
from service.zoho.simulator.crm.rows import table
from service.zoho.simulator.crm.uniqueness import clash
from service.zoho.simulator.crm.values import bad
from service.zoho.simulator.crm.writes import Item, body_of, summary
from service.zoho.simulator.names import COUNTRY_FIELD, STATE_FIELD
from service.zoho.simulator.wire import Call, Reply
from service.zoho.simulator.world import World

LEADS, CONTACTS = "Leads", "Contacts"
PRICE = 5
CARRIED = {
    **{
        name: name
        for name in ("First_Name", "Last_Name", "Email", "Secondary_Email", "Phone", "Lead_Source", "Owner")
    },
    COUNTRY_FIELD[LEADS]: COUNTRY_FIELD[CONTACTS],
    STATE_FIELD[LEADS]: STATE_FIELD[CONTACTS],
}
"""The conversion mapping of built-in fields, lead to contact; custom fields need one of their own."""


def convert(world: World, call: Call) -> Reply:
    """Answer `POST /Leads/{id}/actions/convert`: into a new contact, or the one that is named."""
    if module_of(call) != LEADS:
        raise problem("NOT_SUPPORTED", "only leads can be converted", {"module": call.slots["module"]})
    (order, *_) = body_of(call)["data"]
    if not isinstance(order, dict):
        return summary(world, [bad(0, None, "jsonobject")], ok=200)
    world.db.execute("SAVEPOINT call")
    result = _convert(world, call.slots["record_id"], order)
    world.db.execute("RELEASE call")
    return summary(world, [result], ok=200)


def price(_call: Call) -> int:
    """Return the credits of a conversion."""
    return PRICE


def _convert(world: World, text: str, order: Mapping[str, Any]) -> Item:
    number = int(text) if text.isdigit() else -1
    lead = _lead(world, number)
    if lead is None:
        return error_item("INVALID_DATA", "the id given seems to be invalid", {"id": text})
    contact = _named(order.get(CONTACTS))
    if contact is None:
        if error := clash(world, CONTACTS, 0, lead):
            return error
        contact = add(world, CONTACTS, lead, Author())
    elif not _exists(world, contact):
        details = {"api_name": CONTACTS, "json_path": f"$.data[0].{CONTACTS}"}
        return error_item("INVALID_DATA", "the id given seems to be invalid", details)
    elif order.get("overwrite") is True:
        change(world, CONTACTS, contact, {n: v for n, v in lead.items() if v is not None}, Author())
    _leave(world, number)
    return _converted(world, contact)


def _lead(world: World, number: int) -> dict[str, object] | None:
    """Return what the contact gets of a lead, None if there is no such lead to convert."""
    row = world.db.execute(
        f"SELECT {', '.join(CARRIED)}, Email_Opt_Out FROM {table(LEADS)} WHERE id = ?", (number,)
    ).fetchone()
    if row is None:
        return None
    *carried, opted_out = row
    values: dict[str, object] = dict(zip(CARRIED.values(), carried, strict=True))
    if world.on("crm.conversion_carries_optout"):
        values["Email_Opt_Out"] = opted_out
    assert set(values) <= set(MODULES[CONTACTS]), "the mapping names fields of contacts"
    return values


def _named(told: object) -> int | None:
    """Return the contact that an order names, by its id or as an object with one."""
    text = str(told.get("id") if isinstance(told, dict) else told)
    return int(text) if text.isdigit() else None


def _exists(world: World, contact: int) -> bool:
    return (
        world.db.execute(f"SELECT 1 FROM {table(CONTACTS)} WHERE id = ?", (contact,)).fetchone() is not None
    )


def _leave(world: World, number: int) -> None:
    """Take a lead out of the listings; it is neither deleted nor in the recycle bin."""
    world.db.execute(f"INSERT INTO converted_{LEADS} SELECT * FROM {table(LEADS)} WHERE id = ?", (number,))
    world.db.execute(f"DELETE FROM {table(LEADS)} WHERE id = ?", (number,))
    world.db.execute(f"DELETE FROM stale_{LEADS} WHERE id = ?", (number,))
    note(world, LEADS, number, "converted", author=Author(), history=[])


def _converted(world: World, contact: int) -> Item:
    row = world.db.execute(
        f"SELECT trim(coalesce(First_Name, '') || ' ' || coalesce(Last_Name, '')) FROM {table(CONTACTS)}"
        " WHERE id = ?",
        (contact,),
    ).fetchone()
    return {
        "code": "SUCCESS",
        "details": {CONTACTS: {"name": row[0], "id": str(contact)}, "Deals": None, "Accounts": None},
        "message": "The record has been converted successfully",
        "status": "success",
    }

"""What users and mail servers do inside CRM, as calls of the control plane: delete, merge, lock, bounce."""

from typing import Literal

import msgspec

from service.zoho.simulator import shelf
from service.zoho.simulator.crm import mails
from service.zoho.simulator.crm.fields import MODULES
from service.zoho.simulator.crm.merge import merge_into
from service.zoho.simulator.crm.records import Author, of_address, remove, user_number
from service.zoho.simulator.crm.visible import RESTRICTED, is_removable
from service.zoho.simulator.names import GUESTS
from service.zoho.simulator.wire import Call, Reply, json_reply
from service.zoho.simulator.world import World


class Deleted(msgspec.Struct, forbid_unknown_fields=True):
    """A user deletes every CRM record of this address."""

    email: str
    permanent: bool = False
    by: str = "Petra Lindqvist"


class Merged(msgspec.Struct, forbid_unknown_fields=True):
    """A user merges the second record of this address into the first, which takes `fields` from it."""

    email: str
    fields: list[str] = []
    by: str = "Petra Lindqvist"


class Locked(msgspec.Struct, forbid_unknown_fields=True):
    """A user locks (or unlocks) every CRM record of this address; or it waits, or privacy froze it."""

    email: str
    locked: bool = True
    code: Literal["RECORD_LOCKED", "NOT_APPROVED", "NOT_REVIEWED", "RECORD_IN_BLUEPRINT", "FROZEN"] = (
        "RECORD_LOCKED"
    )


class MailBounced(msgspec.Struct, forbid_unknown_fields=True):
    """A one-to-one mail of CRM to this address bounces."""

    email: str
    type: Literal["hard", "soft"] = "hard"


class Unique(msgspec.Struct, forbid_unknown_fields=True):
    """An admin makes fields of a module unique, or restricted; an empty list makes none."""

    module: str
    fields: list[str]


class Removed(msgspec.Struct, forbid_unknown_fields=True):
    """An admin has removed exactly these modules and fields (`Module.Field`); an empty list restores all.

    `guests` says whether the organisation has its own module of that name.
    """

    names: list[str] = []
    guests: bool = False


def delete(world: World, call: Call) -> Reply:
    """Let a user delete the records of an address, from the recycle bin as well if told."""
    body = msgspec.json.decode(call.body, type=Deleted)
    author = Author(user=user_number(world, body.by), source="crm_ui")
    found = of_address(world, body.email.strip().lower())
    for module, number in found:
        remove(world, module, number, author, kind="permanent" if body.permanent else "recycle")
    return _done(len(found))


def merge(world: World, call: Call) -> Reply:
    """Let a user merge two records of one module that share an address."""
    body = msgspec.json.decode(call.body, type=Merged)
    author = Author(user=user_number(world, body.by), source="crm_ui")
    for module in MODULES:
        found = [number for where, number in of_address(world, body.email.strip().lower()) if where == module]
        if len(found) > 1:
            merge_into(world, module, found[0], found[1], fields=body.fields, author=author)
            return _done(1)
    return _done(0)


def lock(world: World, call: Call) -> Reply:
    """Let a user lock or unlock the records of an address."""
    body = msgspec.json.decode(call.body, type=Locked)
    found = of_address(world, body.email.strip().lower())
    for module, number in found:
        if body.locked:
            shelf.put(world.db, "locked", str(number), {"module": module, "code": body.code})
        else:
            shelf.drop(world.db, "locked", str(number))
    return _done(len(found))


def mail_bounce(world: World, call: Call) -> Reply:
    """Let a mail of CRM's own bounce, for every record of the address."""
    body = msgspec.json.decode(call.body, type=MailBounced)
    email = body.email.strip().lower()
    found = of_address(world, email)
    for module, number in found:
        mails.bounce(world, module, number, email, body.type)
    return _done(len(found))


def unique(world: World, call: Call) -> Reply:
    """Let an admin make fields unique."""
    body = msgspec.json.decode(call.body, type=Unique)
    fields = MODULES.get(body.module)
    if fields is None or not all(name in fields and fields[name].stored for name in body.fields):
        return json_reply({"error": "no such module, or no such field in it"}, status=400)
    world.unique[body.module] = body.fields
    return json_reply({"ok": True})


def restrict(world: World, call: Call) -> Reply:
    """Let an admin call fields of a module restricted: no answer shows them, no question may name them."""
    body = msgspec.json.decode(call.body, type=Unique)
    if body.module not in MODULES or not set(body.fields) < set(MODULES[body.module]) - {"id"}:
        return json_reply({"error": "no such module, or no such field in it"}, status=400)
    shelf.put(world.db, RESTRICTED, body.module, {"fields": body.fields})
    return json_reply({"ok": True})


def take_away(world: World, call: Call) -> Reply:
    """Let an admin remove modules or fields; what stood in them comes back with them."""
    body = msgspec.json.decode(call.body, type=Removed)
    if wrong := [name for name in body.names if not is_removable(name)]:
        return json_reply({"error": f"no such module or field: {wrong[0]}"}, status=400)
    world.removed = set(body.names) | (set() if body.guests else {GUESTS})
    return json_reply({"ok": True, "removed": sorted(world.removed)})


def _done(records: int) -> Reply:
    if records:
        return json_reply({"ok": True, "records": records})
    return json_reply({"error": "nothing to do: no such records"}, status=404)

"""The Email API's suppression list: addresses that no transmission goes to."""

from collections.abc import Mapping
from typing import Any

from service.zoho.simulator import shelf
from service.zoho.simulator.campaigns.contacts import is_address
from service.zoho.simulator.campaigns.email_gate import body_of, done, refuse
from service.zoho.simulator.wire import Call, Reply
from service.zoho.simulator.world import World

KIND = "suppression"


def every(world: World, call: Call) -> Reply:
    """Answer `GET /recipients/suppression`, by `start_index` and `end_index` or of one `email`."""
    rows = [row for _, row in shelf.every(world.db, KIND)]
    if "email" in call.query:
        rows = [row for row in rows if row["address"] == call.query["email"].lower()]
    first, last = int(call.query.get("start_index", "1")), int(call.query.get("end_index", "100"))
    return done(200401, "Suppressions fetched successfully", suppressions=rows[first - 1 : last])


def create(world: World, call: Call) -> Reply:
    """Answer `POST /recipients/suppression`; who is on the list already is named apart."""
    added, existing = list[str](), list[str]()
    for one in _recipients(world, call):
        address = str(one.get("address", "")).strip().lower()
        if not is_address(address):
            raise refuse(world, 500401, "The address is invalid")
        is_new = add(world, address, one.get("reason") or {}, "MANUAL", one.get("additional_data"))
        (added if is_new else existing).append(address)
    return done(
        200402,
        "Suppressions added successfully",
        suppressions_added=added,
        suppressions_already_existing=existing,
    )


def delete(world: World, call: Call) -> Reply:
    """Answer `DELETE /recipients/suppression`; who was not on the list is named apart."""
    gone, ignored = list[str](), list[str]()
    for one in _recipients(world, call):
        address = str(one.get("address", "")).strip().lower()
        (gone if shelf.drop(world.db, KIND, address) else ignored).append(address)
    return done(
        200403, "Suppressions deleted successfully", suppressions_deleted=gone, suppressions_ignored=ignored
    )


def add(
    world: World,
    address: str,
    reason: Mapping[str, Any],
    kind: str,
    additional: Mapping[str, Any] | None = None,
) -> bool:
    """Put an address on the list; return whether it is new there."""
    if shelf.get(world.db, KIND, address) is not None:
        return False
    row = {
        "address": address,
        "additional_data": additional or {},
        "reason": reason,
        "added_time": int(world.clock.now() * 1000),
        "suppression_type": kind,
        "zuid": 857543122,
    }
    shelf.put(world.db, KIND, address, row)
    return True


def _recipients(world: World, call: Call) -> list[Mapping[str, Any]]:
    recipients = body_of(world, call).get("recipients")
    if not isinstance(recipients, list) or not recipients:
        raise refuse(world, 500401, "The recipients are missing")
    return recipients

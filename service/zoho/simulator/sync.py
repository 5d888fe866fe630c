"""Zoho's own sync between CRM and Campaigns, on the simulated clock: mappings, when they run, what they did.

A mapping has one direction. It runs periodically over a whole view, or minutes after records were added.
Without mappings, as planted, nothing ever syncs.
"""

from collections import Counter
from typing import Any, Literal

import msgspec

from service.zoho.simulator import shelf
from service.zoho.simulator.campaigns import contacts
from service.zoho.simulator.crm.fields import MODULES
from service.zoho.simulator.names import LIST_KEY
from service.zoho.simulator.sync_rows import pull, push
from service.zoho.simulator.wire import Call, Reply, json_reply
from service.zoho.simulator.world import World

KIND = "sync_mapping"
DAY_S = 86_400
PERIODS_S = {"daily": DAY_S, "weekly": 7 * DAY_S, "monthly": 30 * DAY_S}


class Mapping(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is synced where: `fields` maps CRM fields to contact labels, read in the mapping's direction."""

    name: str
    module: str = "Contacts"
    listkey: str = LIST_KEY
    direction: Literal["crm_to_campaigns", "campaigns_to_crm"] = "crm_to_campaigns"
    mode: Literal["immediate", "periodic"] = "periodic"
    every: Literal["daily", "weekly", "monthly"] = "daily"
    fields: dict[str, str] = {}
    opted_out: Literal["exclude", "remove_from_list", "remove_from_campaigns"] = "exclude"
    converted: Literal["exclude", "remove_from_list", "remove_from_campaigns"] = "exclude"
    """What happens to leads that were converted since they came to the list."""


class Sync(msgspec.Struct, forbid_unknown_fields=True):
    """Replace all mappings, or run those that there are, or both."""

    mappings: list[Mapping] | None = None
    run: bool = False


def control(world: World, call: Call) -> Reply:
    """Answer `/_control/sync`: the mappings, when each ran last, and what it did and skipped."""
    if call.method == "POST":
        asked = msgspec.json.decode(call.body, type=Sync)
        for mapping in asked.mappings or ():
            if error := _nonsense(world, mapping):
                return json_reply({"error": error}, status=400)
        if asked.mappings is not None:
            _replace(world, asked.mappings)
        if asked.run:
            for name, kept in shelf.every(world.db, KIND):
                _run(world, name, kept)
    return json_reply({"mappings": [kept for _, kept in shelf.every(world.db, KIND)]})


def tick(world: World) -> None:
    """Run the mappings that are due."""
    for name, kept in shelf.every(world.db, KIND):
        if _is_due(world, kept):
            _run(world, name, kept)


def _replace(world: World, mappings: list[Mapping]) -> None:
    for name, _ in shelf.every(world.db, KIND):
        shelf.drop(world.db, KIND, name)
    now = world.clock.seconds()
    for mapping in mappings:
        kept = {"mapping": msgspec.to_builtins(mapping), "looked_at": now, "runs": 0, "last": None}
        shelf.put(world.db, KIND, mapping.name, kept)


def _nonsense(world: World, mapping: Mapping) -> str | None:
    if mapping.module not in MODULES:
        return f"no such module: {mapping.module}"
    if contacts.list_id(world, mapping.listkey) is None:
        return f"no such list: {mapping.listkey}"
    fields = MODULES[mapping.module]
    for name, label in mapping.fields.items():
        if name not in fields or not fields[name].stored or label not in contacts.COLUMNS:
            return f"cannot be mapped: {name} to {label}"
    return None


def _is_due(world: World, kept: dict[str, Any]) -> bool:
    mapping, now = kept["mapping"], world.clock.seconds()
    if mapping["mode"] == "periodic":
        return bool(now - kept["looked_at"] >= PERIODS_S[mapping["every"]])
    delay_s = world.number("sync.immediate_delay_s")
    name = "Modified_Time" if world.on("sync.immediate_updates") else "Created_Time"
    query = f"SELECT 1 FROM crm_{mapping['module']} WHERE {name} > ? AND {name} <= ? LIMIT 1"
    return world.db.execute(query, (kept["looked_at"] - delay_s, now - delay_s)).fetchone() is not None


def _run(world: World, name: str, kept: dict[str, Any]) -> None:
    mapping = msgspec.convert(kept["mapping"], type=Mapping)
    since, until = _window(world, kept)
    step = push if mapping.direction == "crm_to_campaigns" else pull
    world.db.execute("BEGIN")
    did: Counter[str] = step(world, mapping, since=since, until=until, salt=kept["runs"])
    world.db.execute("COMMIT")
    now = world.clock.seconds()
    done = {"looked_at": now, "runs": kept["runs"] + 1, "last": {"at": now, "did": dict(sorted(did.items()))}}
    shelf.put(world.db, KIND, name, {**kept, **done})


def _window(world: World, kept: dict[str, Any]) -> tuple[int, int]:
    """Return the times between which a record must have been added; a periodic run takes all."""
    now = world.clock.seconds()
    if kept["mapping"]["mode"] == "periodic":
        return 0, now
    delay_s = world.number("sync.immediate_delay_s")
    return kept["looked_at"] - delay_s, now - delay_s

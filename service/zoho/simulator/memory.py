"""What a restart must find again beside the tables: clock, switches, tokens, credits, limits, numbers."""

from collections import Counter

import msgspec

from service.zoho.simulator import shelf
from service.zoho.simulator.switches import Value, defaults
from service.zoho.simulator.tokens import Code, Grant
from service.zoho.simulator.world import World

KIND, KEY = "memory", "world"
MINUTE_S = 60


class Memory(msgspec.Struct, kw_only=True):
    """A world without its tables; credits are summed up by the minute, calls by the second."""

    contacts: int
    seed: int
    ahead_s: float
    last_record_id: int
    unique: dict[str, list[str]]
    removed: list[str] = []
    switches: dict[str, Value]
    tokens: dict[str, Grant]
    codes: dict[str, Code]
    refresh: dict[str, tuple[str, ...]]
    revoked: list[str]
    spent: dict[str, int]
    issued: dict[str, list[float]] = {}
    windows: dict[str, list[tuple[int, int]]] = {}
    locks: dict[str, float] = {}


def is_planted(world: World) -> bool:
    """Return whether the world's file holds an organisation already."""
    return shelf.get(world.db, KIND, KEY) is not None


def save(world: World) -> None:
    """Write what is not in the tables; nothing to do for a world without a file."""
    if world.path == ":memory:":
        return
    standard, now = defaults(), world.clock.now()
    memory = Memory(
        contacts=world.contacts,
        seed=world.seed,
        ahead_s=world.clock.ahead_s,
        last_record_id=world.last_record_id,
        unique=world.unique,
        removed=sorted(world.removed),
        switches={name: value for name, value in world.switches.items() if value != standard[name]},
        tokens={t: g for t, g in world.tokens.live.items() if g.expires_at > now},
        codes=world.tokens.codes,
        refresh=world.tokens.refresh,
        revoked=sorted(world.tokens.revoked),
        spent=_by_minute(world.meter.spent()),
        issued=world.tokens.issues(now),
        windows=world.meter.windows(),
        locks=world.meter.locks(now),
    )
    shelf.put(world.db, KIND, KEY, msgspec.to_builtins(memory))


def load(world: World) -> None:
    """Take up where the last program that had this file left off."""
    kept = shelf.get(world.db, KIND, KEY)
    assert kept is not None, "ask is_planted first"
    memory = msgspec.convert(kept, type=Memory)
    world.contacts, world.seed = memory.contacts, memory.seed
    world.clock.ahead_s = memory.ahead_s
    world.last_record_id = memory.last_record_id
    world.unique, world.removed = memory.unique, set(memory.removed)
    world.switches = {**defaults(), **memory.switches}
    world.tokens.live, world.tokens.codes = memory.tokens, memory.codes
    world.tokens.refresh = memory.refresh
    world.tokens.revoked = set(memory.revoked)
    world.tokens.recall(memory.issued)
    world.meter.recall(memory.windows, memory.locks)
    for minute, cost in memory.spent.items():
        world.meter.remember(int(minute), cost)


def _by_minute(spent: list[tuple[float, int]]) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for at, cost in spent:
        sums[str(int(at // MINUTE_S) * MINUTE_S)] += cost
    return dict(sums)

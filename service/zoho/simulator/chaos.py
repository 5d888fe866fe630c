"""The chaos profile: a seeded share of all calls goes wrong, each in one of the ways that real ones do."""

from dataclasses import dataclass, field
from random import Random
from typing import Literal, get_args

import msgspec

from service.zoho.simulator.faults import Fault
from service.zoho.simulator.wire import Call, Reply, json_reply
from service.zoho.simulator.world import World

Way = Literal[
    "latency",
    "too_many",
    "too_many_bare",
    "html_502",
    "html_503",
    "drop_before",
    "drop_after",
    "reset",
    "truncate",
    "short",
    "codes",
    "capitals",
    "notifications",
]
WAYS: tuple[Way, ...] = get_args(Way)
_HTML = "<html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"
_TOO_MANY = (
    '{"code":"TOO_MANY_REQUESTS","details":{},"status":"error",'
    '"message":"too many requests. please try again after some time"}'
)


class Profile(msgspec.Struct, forbid_unknown_fields=True):
    """How much goes wrong: `rate` of the calls under `paths`, 0 for none; one seed, one row of troubles."""

    rate: float
    seed: int = 1
    ways: tuple[Way, ...] = WAYS
    paths: tuple[str, ...] = ("/crm", "/api", "/emailapi")
    latency_ms: int = 50


@dataclass(slots=True)
class Chaos:
    """A running profile: it decides about each call in turn."""

    profile: Profile
    rng: Random = field(init=False)

    def __post_init__(self) -> None:
        self.rng = Random(self.profile.seed)  # noqa: S311 - repeatable trouble, not a secret

    def fault(self, path: str) -> Fault | None:
        """Return what goes wrong with this call, None for nothing."""
        ways = [way for way in self.profile.ways if way != "notifications"]
        if not ways or not path.startswith(self.profile.paths):
            return None
        if self.rng.random() >= self.profile.rate:
            return None
        return _fault(self.rng.choice(ways), self.profile.latency_ms)


def control(world: World, call: Call) -> Reply:
    """Answer `/_control/chaos`; a POST starts a profile, or ends it with rate 0."""
    if call.method == "POST":
        profile = msgspec.json.decode(call.body, type=Profile)
        world.faults.chaos = Chaos(profile) if profile.rate > 0 else None
        noisy = profile.rate > 0 and "notifications" in profile.ways
        world.switches |= {"watch.reorder": noisy, "watch.duplicate_every": 3 if noisy else 0}
    running = world.faults.chaos
    return json_reply({"profile": running.profile if isinstance(running, Chaos) else None, "ways": WAYS})


def _fault(way: Way, latency_ms: int) -> Fault:
    match way:
        case "too_many":
            return Fault(match="", how="status", status=429, body=_TOO_MANY)
        case "too_many_bare":
            return Fault(match="", how="status", status=429)
        case "html_502" | "html_503":
            title = "502 Bad Gateway" if way == "html_502" else "503 Service Unavailable"
            return Fault(match="", how="status", status=int(title[:3]), body=_HTML.format(title))
        case _:
            return Fault(match="", how=way, latency_ms=latency_ms)

"""What every simulated organisation has, whatever its size: staff, two lists, a workflow, six campaigns."""

from collections.abc import Iterator

import msgspec

from service.zoho.simulator import names, shelf
from service.zoho.simulator.campaigns import workflows
from service.zoho.simulator.crm.records import API_USER
from service.zoho.simulator.people import DAY_S
from service.zoho.simulator.world import World

CHILD_A, CHILD_B = 7, 8
NEWSLETTER, SIGNUP = 1, 2
CAMPAIGN_AGES_DAYS = (300, 240, 180, 120, 60, 14)
"""When the six campaigns went out, in days before the planting."""
AB_POSITION = 3
"""Which of the six was an A/B test: a quarter of it under each child, the rest under the parent."""
HISTORY_DAYS = 730
STAFF = ("Consent Ledger", "Petra Lindqvist", "Samir Haddad", "Grace Okafor")


def plant_fixtures(world: World, campaign_times: list[int], now: int) -> None:
    """Write the users, lists and campaigns; the children of the A/B test among them."""
    world.db.executemany(
        "INSERT INTO users VALUES (?, ?, ?)",
        [
            (API_USER + position, name, f"{'.'.join(name.lower().split())}@staff.example.com")
            for position, name in enumerate(STAFF)
        ],
    )
    started = now - (HISTORY_DAYS + 10) * DAY_S
    world.db.executemany(
        "INSERT INTO lists VALUES (?, ?, ?, ?, ?)",
        [
            (NEWSLETTER, names.LIST_KEY, names.LIST_NAME, 0, started),
            (SIGNUP, names.SIGNUP_LIST_KEY, names.SIGNUP_LIST_NAME, 1, started),
        ],
    )
    stop = workflows.Workflow()
    shelf.put(world.db, workflows.KIND, stop.key, msgspec.to_builtins(stop))
    world.db.executemany(
        "INSERT INTO campaigns VALUES (?, ?, ?, ?, ?, ?, ?, ?)", list(_campaign_rows(campaign_times))
    )


def _campaign_rows(campaign_times: list[int]) -> Iterator[tuple[object, ...]]:
    for position, sent_at in enumerate(campaign_times):
        kind = "abtesting" if position == AB_POSITION else "normal"
        name = f"Letter {position + 1}"
        yield (
            position + 1,
            _campaign_key(position + 1),
            name,
            f"Our news, part {position + 1}",
            sent_at,
            kind,
            None,
            position,
        )
    for child, letter in ((CHILD_A, "A"), (CHILD_B, "B")):
        name = f"Letter {AB_POSITION + 1} {letter}"
        sent_at = campaign_times[AB_POSITION]
        yield (
            child,
            _campaign_key(child),
            name,
            f"Version {letter}",
            sent_at,
            "normal",
            AB_POSITION + 1,
            AB_POSITION,
        )


def _campaign_key(number: int) -> str:
    return f"3z{number:02x}" + "c0ffee5eed" * 4

"""Planting an organisation: N people, six campaigns, and a known truth about what is wrong with them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from service.zoho.simulator.crm.fields import MODULES
from service.zoho.simulator.crm.records import API_USER
from service.zoho.simulator.crm.rows import table
from service.zoho.simulator.fixtures import (
    AB_POSITION,
    CAMPAIGN_AGES_DAYS,
    CHILD_A,
    CHILD_B,
    HISTORY_DAYS,
    NEWSLETTER,
    STAFF,
    plant_fixtures,
)
from service.zoho.simulator.kinds import FEWEST, KINDS, ORDINARY, Kind, Twin, numbers
from service.zoho.simulator.names import COUNTRY_FIELD
from service.zoho.simulator.people import DAY_S, Person, invent
from service.zoho.simulator.world import World

CHUNK = 10_000


@dataclass(slots=True)
class Rows:
    """Rows that wait to be written together."""

    records: dict[str, list[tuple[object, ...]]] = field(default_factory=lambda: {m: [] for m in MODULES})
    timeline: list[tuple[object, ...]] = field(default_factory=list)
    contacts: list[tuple[object, ...]] = field(default_factory=list)
    members: list[tuple[object, ...]] = field(default_factory=list)
    outcomes: list[tuple[object, ...]] = field(default_factory=list)
    truth: list[tuple[str, str]] = field(default_factory=list)


def plant(world: World, *, now: int) -> None:
    """Fill an empty world with its people, the same for the same seed, in the two years before `now`."""
    if world.contacts < FEWEST:
        raise ValueError(f"an organisation holds at least {FEWEST} people, one of each planted kind")
    rng = Random(world.seed)  # noqa: S311 - a reproducible organisation, not a secret
    campaign_times = [now - days * DAY_S for days in CAMPAIGN_AGES_DAYS]
    world.db.execute("BEGIN")
    plant_fixtures(world, campaign_times, now)
    rows, planter = Rows(), _Planter(world, rng, now, campaign_times)
    for number, kind in enumerate(_kinds(rng, world.contacts), start=1):
        planter.person(rows, number, kind)
        if number % CHUNK == 0:
            _flush(world, rows)
            rows = Rows()
    _flush(world, rows)
    world.db.execute("COMMIT")
    world.db.execute("ANALYZE")


def _kinds(rng: Random, people: int) -> Iterator[Kind]:
    """Yield the kind of each person: the planned numbers of each, in random places."""
    wanted = numbers(people)
    kinds = [kind for kind in KINDS for _ in range(wanted[kind.key])]
    places = rng.sample(range(people), len(kinds))
    by_place = dict(zip(places, kinds, strict=True))
    return (by_place.get(place, ORDINARY) for place in range(people))


class _Planter:
    """Turns one person and kind into rows of both products."""

    def __init__(self, world: World, rng: Random, now: int, campaign_times: list[int]) -> None:
        self.world = world
        self.rng = rng
        self.now = now
        self.campaign_times = campaign_times
        self.ab_promised = True

    def person(self, rows: Rows, number: int, kind: Kind) -> None:
        latest = self.campaign_times[0] - 5 * DAY_S if kind.outcome else self.now - 20 * DAY_S
        person = invent(self.rng, number, earliest=self.now - HISTORY_DAYS * DAY_S, latest=latest)
        if kind is not ORDINARY:
            rows.truth.append((kind.key, person.email))
        left_at = self._campaigns(rows, person, kind) if kind.status else None
        opted_out_at = self._opt_out_time(person, left_at) if kind.opted_out else None
        self._record(rows, person, kind, person.module, opted_out_at, email=person.email)
        if kind.twin is not Twin.NONE:
            self._twin(rows, person, kind)

    def _twin(self, rows: Rows, person: Person, kind: Kind) -> None:
        """Add the second record; every other one spells the address with a capital."""
        module = self.rng.choice(list(COUNTRY_FIELD))
        email = person.email.capitalize() if self.rng.random() < 0.5 else person.email  # noqa: PLR2004 - half
        opted_out_at = self._opt_out_time(person, None) if kind.twin is Twin.OPTED_OUT else None
        self._record(rows, person, kind, module, opted_out_at, email=email)

    def _opt_out_time(self, person: Person, left_at: int | None) -> int:
        if left_at is not None:
            return left_at + self.rng.randrange(300, 3600)
        return self.rng.randrange(person.created_at + DAY_S, self.now - DAY_S)

    def _record(
        self, rows: Rows, person: Person, kind: Kind, module: str, opted_out_at: int | None, *, email: str
    ) -> None:
        number = self.world.next_record_id()
        hand = API_USER + self.rng.randrange(1, len(STAFF))
        modified_at = opted_out_at or self.rng.randrange(person.created_at, self.now - DAY_S)
        mode = (kind.mode or "Manual") if opted_out_at else None
        rows.records[module].append(
            (
                number,
                person.first_name,
                person.last_name,
                email,
                None,
                person.phone,
                person.country,
                self.rng.choice(("Web", "Fair", "Partner")),
                int(opted_out_at is not None),
                mode,
                opted_out_at,
                int(kind.newsletter),
                hand,
                hand,
                hand,
                person.created_at,
                modified_at,
                None,
                None,
                person.state,
            )
        )
        if opted_out_at:
            history = [{"api_name": "Email_Opt_Out", "_value": {"new": "true", "old": "false"}}]
            source = "zoho_campaigns" if mode == "Zoho campaigns" else "crm_ui"
            rows.timeline.append((module, number, opted_out_at, "updated", source, hand, json.dumps(history)))

    def _campaigns(self, rows: Rows, person: Person, kind: Kind) -> int | None:
        """Add the person to Campaigns with what they were sent; return when they left, if they did."""
        added_at = person.created_at + self.rng.randrange(600, DAY_S)
        outcomes = self._outcomes(kind)
        last = max(outcomes) if outcomes and kind.status != "active" else len(self.campaign_times) - 1
        left_at = None
        for position in range(last + 1):
            sent_at = self.campaign_times[position]
            if added_at < sent_at:
                at = self._send(rows, person, kind, position, happened=position in outcomes)
                left_at = at if position in outcomes else left_at
        rows.contacts.append(
            (
                person.number,
                person.email,
                person.first_name,
                person.last_name,
                person.phone,
                person.country,
                kind.permission,
                kind.dnm,
                left_at if kind.dnm else None,
                int(kind.status == "bounce"),
                kind.outcomes if kind.outcome == "sentsoftbounce" else 0,
                added_at,
            )
        )
        rows.members.append((NEWSLETTER, person.number, kind.status, added_at))
        return left_at if kind.status != "active" else None

    def _outcomes(self, kind: Kind) -> range:
        """Return the campaigns, in a row, in which the kind's outcome happened."""
        if kind.outcome is None:
            return range(0)
        if kind.key == "unsubscribed_not_in_crm" and self.ab_promised:
            return range(AB_POSITION, AB_POSITION + 1)
        first = self.rng.randrange(len(self.campaign_times) - kind.outcomes + 1)
        return range(first, first + kind.outcomes)

    def _send(self, rows: Rows, person: Person, kind: Kind, position: int, *, happened: bool) -> int:
        """Add one sent mail and what became of it; return when that was."""
        sent_at = self.campaign_times[position]
        at = sent_at + self.rng.randrange(60, 3 * DAY_S)
        campaign = self._campaign(position, kind, happened=happened)
        rows.outcomes.append((campaign, "sentcontacts", person.number, sent_at))
        chance = self.rng.random()
        if happened and kind.outcome:
            rows.outcomes.append((campaign, kind.outcome, person.number, at))
        elif chance < 0.3:  # noqa: PLR2004 - three in ten open
            rows.outcomes.append((campaign, "openedcontacts", person.number, at))
            if chance < 0.06:  # noqa: PLR2004 - one in five of them clicks
                rows.outcomes.append((campaign, "clickedcontacts", person.number, at + 30))
        return at

    def _campaign(self, position: int, kind: Kind, *, happened: bool) -> int:
        if position != AB_POSITION:
            return position + 1
        if happened and kind.key == "unsubscribed_not_in_crm" and self.ab_promised:
            self.ab_promised = False
            return CHILD_A
        return self.rng.choice((CHILD_A, CHILD_B, position + 1, position + 1))


def _flush(world: World, rows: Rows) -> None:
    for module, records in rows.records.items():
        marks = ",".join("?" * sum(f.stored for f in MODULES[module].values()))
        world.db.executemany(f"INSERT INTO {table(module)} VALUES ({marks})", records)
    world.db.executemany(
        "INSERT INTO timeline (module, record_id, audited_at, action, source, done_by, history)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        rows.timeline,
    )
    world.db.executemany(
        "INSERT INTO contacts (id, email, first_name, last_name, phone, country, permission, dnm, dnm_at,"
        " hard_bounced, soft_bounces, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        rows.contacts,
    )
    world.db.executemany("INSERT INTO members VALUES (?, ?, ?, ?)", rows.members)
    world.db.executemany("INSERT INTO outcomes VALUES (?, ?, ?, ?)", rows.outcomes)
    world.db.executemany("INSERT INTO truth VALUES (?, ?)", rows.truth)

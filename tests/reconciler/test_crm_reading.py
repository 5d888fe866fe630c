from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial

import msgspec
import pytest
from sqlalchemy import select

from service.db import crm_address, crm_record, run
from service.errors import ZohoError
from service.reconciler import mirror, runs
from service.reconciler.crm_reading import read_crm
from service.zoho.mapping import connect
from service.zoho.pace import Pace
from tests.reconciler.conftest import World, hasty, settings


@pytest.fixture
def org(begun) -> Iterator[World]:
    """A few people, whose CRM has been read once, an hour ago."""
    with begun(60) as made:
        read(made)
        later(made, hours=1)
        yield made


@pytest.fixture
def off(org) -> Iterator[Callable[[timedelta], World]]:
    """Return how to set our clock wrong, by which its clients go as well once CRM has answered."""
    pace = Pace(clock=org.clock, sleep=lambda _seconds: None)
    with connect(settings(org.sim.url), org.intake.policy, pace=pace) as zoho:

        def set_off(ahead: timedelta) -> World:
            org.clock.ahead += ahead
            zoho.crm.counts()
            return replace(org, zoho=zoho, context=replace(org.context, crm=zoho.crm))

        yield set_off


def later(made: World, **span) -> None:
    made.clock.ahead += timedelta(**span)
    made.sim.control("clock", {"advance_s": int(timedelta(**span).total_seconds())})


def read(made: World, *, ends: str = "planned", followed_from: int = 0, **parts) -> list[str]:
    """Read CRM in a run of its own; return the modules that were read whole."""
    context = replace(made.context, **parts)
    with made.db.begin() as tx:
        run_id = runs.begin(tx, made.clock())
    put = partial(mirror.put_records, run_id=run_id, vault=context.vault, policy=context.policy)

    def put_all(records) -> None:
        with made.db.begin() as tx:
            put(tx, list(records))

    read_crm(context, run_id, put_all, followed_from=followed_from)
    with made.db.begin() as tx:
        mirror.drop_unseen(tx, run_id)
        runs.advance(tx, run_id, ends)
        summary = tx.scalar(select(run.c.summary).where(run.c.id == run_id))
    return msgspec.json.decode(summary)["crm"]["whole"]


def mirrored(made: World) -> dict:
    """The mirror but for which run saw what, and for who wrote last: a file tells a number for the name."""
    told = [c for c in crm_record.c if c.name not in ("seen_run", "changed_run", "modified_by")]
    with made.db.read() as tx:
        records = tx.execute(select(*told)).all()
        addresses = tx.execute(
            select(crm_address.c.module, crm_address.c.record_id, crm_address.c.address_index)
        ).all()
    return {"records": {tuple(r) for r in records}, "addresses": {tuple(a) for a in addresses}}


def as_if_read_whole(made: World) -> dict:
    """What the mirror is after everything was read."""
    read(made, followed_from=10**9)
    return mirrored(made)


def spent(made: World, act) -> int:
    before = made.zoho.meter.credits
    act()
    return made.zoho.meter.credits - before


def test_what_changed_by_hand_is_taken_over_by_an_increment(org):
    email = org.ordinary()
    fields = {"Email_Opt_Out": True, "Secondary_Email": "second@example.net"}
    org.sim.control("crm/set", {"email": email, "fields": fields})
    assert read(org) == []
    after = mirrored(org)
    assert after == as_if_read_whole(org)
    assert any(
        index == org.intake.vault.address_index("second@example.net") for *_, index in after["addresses"]
    )


@pytest.mark.parametrize("ahead", [timedelta(hours=1), -timedelta(hours=1)])
def test_an_increment_skips_nothing_and_asks_for_no_more_however_far_our_clock_is_off(off, ahead):
    org = off(ahead)
    read(org, followed_from=10**9)
    later(org, minutes=30)
    email = org.ordinary()
    org.sim.control("crm/set", {"email": email, "fields": {"Email_Opt_Out": True}})
    later(org, minutes=15)
    asked = Asking(org.zoho.crm)
    assert not read(org, crm=asked)
    assert mirrored(org) == as_if_read_whole(org)
    theirs = org.sim.world.clock.now() - asked.since[0].timestamp()
    assert timedelta(minutes=54) < timedelta(seconds=theirs) < timedelta(minutes=57)


@pytest.mark.parametrize("ahead", [timedelta(hours=1), -timedelta(hours=1)])
def test_a_merge_that_crm_does_not_list_is_noticed_however_far_our_clock_is_off(off, ahead):
    org = off(ahead)
    email = twins(org)
    org.sim.control("crm/set", {"email": email, "fields": {"Last_Name": "Younger"}})
    read(org, followed_from=10**9)
    later(org, minutes=40)
    org.sim.control("switches", {"crm.merge_lists": "nothing"})
    org.sim.control("crm/merge", {"email": email})
    later(org, minutes=15)
    assert len(read(org)) == 1
    assert mirrored(org) == as_if_read_whole(org)


@dataclass
class Asking:
    """CRM's client, remembering since when it was asked for changes."""

    client: object
    since: list = field(default_factory=list)

    def __getattr__(self, name: str) -> object:
        return getattr(self.client, name)

    def observe(self, **asked: object) -> Iterator[object]:
        self.since.append(asked.get("since"))
        return self.client.observe(**asked)


def test_an_address_that_was_taken_away_is_dropped(org):
    email = org.ordinary()
    org.sim.control("crm/set", {"email": email, "fields": {"Email": None}})
    assert read(org) == []
    after = mirrored(org)
    assert org.intake.vault.address_index(email) not in {index for *_, index in after["addresses"]}
    assert after == as_if_read_whole(org)


@pytest.mark.parametrize("permanent", [False, True])
def test_deleted_records_leave_the_mirror(org, permanent):
    before = mirrored(org)
    org.sim.control("crm/delete", {"email": org.ordinary(), "permanent": permanent})
    assert read(org) == []
    after = mirrored(org)
    assert len(after["records"]) == len(before["records"]) - 1
    assert after == as_if_read_whole(org)


def test_a_merge_that_crm_lists_moves_the_address(org):
    email = twins(org)
    org.sim.control("crm/merge", {"email": email})
    assert read(org) == []
    assert mirrored(org) == as_if_read_whole(org)


def test_a_merge_that_crm_does_not_list_has_the_module_read_whole(org):
    email = twins(org)
    org.sim.control("switches", {"crm.merge_lists": "nothing"})
    org.sim.control("crm/merge", {"email": email})
    later(org, hours=1)
    assert len(read(org)) == 1
    assert mirrored(org) == as_if_read_whole(org)


def twins(made: World) -> str:
    """An address of two records in one module."""
    for module in ("Contacts", "Leads"):
        row = made.sim.world.db.execute(
            f"SELECT min(Email) FROM crm_{module} GROUP BY lower(Email) HAVING count(*) > 1"
        ).fetchone()
        if row:
            return row[0]
    return pytest.fail("nobody is there twice")


def test_a_record_deleted_and_restored_since_is_kept(org):
    email = org.ordinary()
    (record,) = org.person(email)["crm"]
    db = org.sim.world.db
    now = org.sim.world.clock.seconds()
    db.execute(
        "INSERT INTO deleted VALUES (?, ?, 'recycle', 'x', ?, NULL, NULL)",
        (record["id"], record["module"], now),
    )
    org.sim.control("crm/set", {"email": email, "fields": {"Last_Name": "Restored"}})
    before = len(mirrored(org)["records"])
    assert read(org) == []
    assert len(mirrored(org)["records"]) == before


def test_everything_is_read_again_once_the_last_time_is_long_ago(org):
    assert read(org) == []
    later(org, hours=20)
    assert read(org) == ["Contacts", "Leads"]
    assert read(org) == []


def test_everything_is_read_after_a_run_that_was_not_believed(org):
    assert read(org, ends="refused") == []
    assert read(org) == ["Contacts", "Leads"]


def test_everything_is_read_under_other_rules(org):
    other = msgspec.structs.replace(org.context.policy, digest=b"\x01" * 32)
    intake = org.context.intake
    assert read(org, policy=other, intake=intake) == ["Contacts", "Leads"]
    assert read(org, policy=other, intake=intake) == []


def test_everything_is_read_where_crm_may_not_be_counted(org):
    org.sim.control("switches", {"oauth.scopes": "ZohoCRM.modules.ALL ZohoCRM.coql.READ"})
    later(org, hours=2)
    assert read(org) == ["Contacts", "Leads"]


def test_small_modules_are_read_whole_because_that_costs_less(org):
    read(org)  # with a token for the hour
    assert spent(org, lambda: read(org, followed_from=6_000)) == 2 * (3 + 1)
    assert spent(org, lambda: read(org)) == 2 * (2 + 3 + 1)


def test_more_deletions_than_are_followed_have_everything_read(org):
    db, now = org.sim.world.db, org.sim.world.clock.seconds()
    rows = [(900_000 + n, "Contacts", "recycle", "x", now, None, None) for n in range(5_001)]
    db.executemany("INSERT INTO deleted VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    assert read(org) == ["Contacts", "Leads"]


@pytest.fixture
def by_bulk(org) -> Iterator[World]:
    """The same organisation, read by bulk read."""
    mapping = org.context.policy.zoho
    mapping = msgspec.structs.replace(mapping, crm=msgspec.structs.replace(mapping.crm, sweep="bulk"))
    org.sim.control("switches", {"bulk.duration_ms": 0})
    with connect(settings(org.sim.url), mapping, pace=hasty()) as zoho:
        yield replace(org, zoho=zoho, context=replace(org.context, crm=zoho.crm))


def test_a_bulk_read_fills_the_mirror_as_coql_does(org, by_bulk):
    email = org.ordinary()
    org.sim.control("crm/set", {"email": email, "fields": {"Email_Opt_Out": True}})
    assert read(by_bulk, followed_from=10**9) == ["Contacts", "Leads"]
    assert mirrored(by_bulk) == as_if_read_whole(org)


@pytest.mark.parametrize("column", ["Email", "Email_Opt_Out", "Newsletter"])
def test_a_file_without_a_column_changes_nothing_in_the_mirror(org, by_bulk, column):
    before = mirrored(org)
    org.sim.control("switches", {"bulk.omit_column": column})
    with pytest.raises(ZohoError, match=column):
        read(by_bulk, followed_from=10**9)
    assert mirrored(org) == before


def test_after_a_read_that_failed_everything_is_read_again(org, by_bulk):
    org.sim.control("switches", {"bulk.omit_column": "Email"})
    with pytest.raises(ZohoError):
        read(by_bulk, followed_from=10**9)
    assert read(org) == ["Contacts", "Leads"]

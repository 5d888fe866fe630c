"""Every module that the mapping names, one of the organisation's own among them, and every e-mail field."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from service.policy.shapes import Module
from service.reconciler.port import CrmChange
from service.zoho.mapping import connect
from tests.reconciler import conftest as organisations
from tests.reconciler.test_crm_reading import later, mirrored, read
from tests.running import withdrawal

MODULES = ("Contacts", "Leads", "Guests")
FIELDS = ("Email", "Secondary_Email")
LAST = {"Contacts": "Last_Name", "Leads": "Last_Name", "Guests": "Name"}
SECOND = "second@example.com"
BOTH_WAYS = pytest.mark.parametrize("org", ["coql", "bulk"], indirect=True)


@pytest.fixture
def org(request, sqlite_url) -> Iterator[organisations.World]:
    """A few people and one guest, in an organisation that maps three modules; read once, an hour ago."""
    with organisations.world(sqlite_url, 40) as made:
        made.sim.control("crm/remove", {"guests": True})
        made.sim.control("switches", {"bulk.duration_ms": 0, "crm.search_lag_s": 0})
        guests = Module(name="Guests", emails=FIELDS, country="Country")
        zoho = made.context.policy.zoho
        crm = msgspec.structs.replace(
            zoho.crm, modules=(*zoho.crm.modules, guests), sweep=getattr(request, "param", "coql")
        )
        policy = msgspec.structs.replace(made.context.policy, zoho=msgspec.structs.replace(zoho, crm=crm))
        with connect(organisations.settings(made.sim.url), policy, pace=organisations.hasty()) as clients:
            context = replace(made.context, policy=policy, crm=clients.crm, campaigns=clients.campaigns)
            world = replace(made, context=context, zoho=clients)
            create(world, "Guests", "ada@example.com", SECOND)
            yield world


def api(org, method, path, **more):
    token = org.zoho.oauth.token().value
    headers = {"Authorization": f"Zoho-oauthtoken {token}"}
    return org.sim.client.request(method, f"/crm/v8/{path}", headers=headers, **more).json()


def create(org, module, *emails):
    row = {LAST[module]: "Ada", **dict(zip(FIELDS, emails, strict=False))}
    (made,) = api(org, "POST", module, json={"data": [row]})["data"]
    return made["details"]["id"]


@BOTH_WAYS
def test_a_full_sweep_reads_every_module_and_both_addresses_of_each_record(org):
    found = list(org.context.crm.observe())
    counted = {name: int(count) for name, count in org.context.crm.counts().items()}
    assert set(counted) == set(MODULES)
    assert counted["Guests"] == 1
    assert {name: sum(r.module == name for r in found) for name in MODULES} == counted
    (guest,) = [record for record in found if record.module == "Guests"]
    assert guest.addresses == ("ada@example.com", SECOND)


@BOTH_WAYS
def test_whatever_happens_in_any_module_the_mirror_follows_it(org):
    ids = {name: [create(org, name, f"{name.lower()}{n}@example.com") for n in range(5)] for name in MODULES}
    read(org)
    later(org, hours=1)
    for name, (kept, merged, gone, changed, cleared) in ids.items():
        api(org, "POST", f"{name}/{kept}/actions/merge", json={"merge": [{"data": [{"id": merged}]}]})
        api(org, "DELETE", name, params={"ids": gone})
        new = [{"id": changed, "Secondary_Email": f"new.{name}@example.com"}, {"id": cleared, "Email": None}]
        api(org, "PUT", name, json={"data": new, "trigger": []})
    assert read(org) == [], "only what changed is read"
    followed = mirrored(org)
    assert len(followed["records"]) == len(list(org.context.crm.observe()))
    with org.db.begin() as tx:
        tx.exec_driver_sql("DELETE FROM crm_address")
        tx.exec_driver_sql("DELETE FROM crm_record")
    later(org, hours=1)
    read(org, followed_from=10**9)
    assert mirrored(org) == followed


def test_an_address_is_found_in_every_module_whichever_field_holds_it(org):
    mine = {name: create(org, name, f"{name}@example.com", "shared@example.com") for name in MODULES[:2]}
    mine["Guests"] = create(org, "Guests", "shared@example.com")
    for found in (
        org.context.crm.find("shared@example.com"),
        org.context.crm.find_many(["shared@example.com"])["shared@example.com"],
    ):
        assert {record.module: record.record_id for record in found} == mine


def test_stops_are_written_in_every_module_and_read_back(org):
    targets = [(name, create(org, name, f"{name.lower()}@example.com")) for name in MODULES]
    before = org.clock() - timedelta(minutes=1)
    changes = [CrmChange(module=name, record_id=number, opted_out=True) for name, number in targets]
    assert all(result.done for result in org.context.crm.enforce(changes))
    assert all(record.opted_out for record in org.context.crm.read(targets))
    assert {(r.module, r.record_id) for r in org.context.crm.opted_out(before)} >= set(targets)


def test_a_withdrawal_by_a_second_address_stops_the_record_of_every_module(org):
    targets = [(name, create(org, name, f"first.{name}@example.com", "stop@example.com")) for name in MODULES]
    org.intake.record([withdrawal("stop@example.com")])
    org.run()
    assert [record.opted_out for record in org.context.crm.read(targets)] == [True, True, True]


def test_a_canary_of_a_module_of_ones_own_has_the_name_that_it_demands(org):
    number, result = org.context.crm.add("Guests", "canary@example.com", opted_out=True)
    assert result.done
    assert org.context.crm.read([("Guests", number)])[0].opted_out

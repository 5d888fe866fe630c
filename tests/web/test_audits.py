"""The sync audit at the edge, on a real audit of planted mirrors."""

from dataclasses import replace
from datetime import timedelta

import pytest
from litestar.testing import TestClient

from service.db import run
from service.reconciler.audit import Asked
from service.reconciler.audit import audit as run_audit
from service.reconciler.audit.budget import Spending
from service.reconciler.audit.fields import Metadata
from service.reconciler.crm_mirror import put_records
from service.reconciler.port import CrmRecord
from service.web.auth import AUDIT_WRITE, create_key
from service.web.site import create_site

from .conftest import Site, form_token, let_in

SPENDING = Spending(
    allowance=50_000,
    edition="professional",
    by_hour=(10,) * 24,
    by_whom={"watch": 240},
    unknown=None,
    next_runs={},
)


@pytest.fixture
def audited(site: Site):
    """Yield a site whose mirrors hold two records of one address that contradict each other."""
    now = site.clock()
    records = [
        CrmRecord(
            module="Contacts",
            record_id=str(number),
            addresses=("twin@example.com",),
            opted_out=bool(number),
            modified_at=now - timedelta(days=3),
        )
        for number in range(2)
    ]
    with site.edge.db.begin() as tx:
        tx.execute(run.insert().values(kind="reconcile", state="done", started_at=now, summary="{}"))
        put_records(tx, records, run_id=1, policy=site.edge.policy, vault=site.edge.intake.vault)

    def make(push: int):
        with site.edge.db.begin() as tx:
            asked = Asked(metadata=Metadata(crm={}, campaigns={}), spending=SPENDING, push=push)
            return run_audit(tx, site.edge.policy, asked, now=site.clock())

    edge = replace(site.edge, audit=make)
    with TestClient(create_site(edge)) as client:
        yield replace(site, edge=edge, client=client)


def as_program(site: Site, *scopes: str, **body):
    key = create_key(site.edge.db, "auditbot", scopes or (AUDIT_WRITE,))
    return site.client.post("/api/audit", json=body, headers={"Authorization": f"Bearer {key}"})


def test_a_program_gets_all_seven_points(audited: Site):
    told = as_program(audited).json()
    assert [point["number"] for point in told["points"]] == [1, 2, 3, 4, 5, 6, 7]
    assert told["safe_to_sync"] is False
    [twins] = [point for point in told["points"] if point["key"] == "duplicates"]
    assert (twins["verdict"], twins["people"]) == ("fail", 1)
    assert twins["what_to_do"]


def test_a_planned_push_is_forecast(audited: Site):
    told = as_program(audited, push=9_000).json()
    [budget] = [point for point in told["points"] if point["key"] == "budget"]
    values = {one["label"]: one["value"] for one in budget["figures"]}
    assert values["push of 9,000 contacts to a list: minutes, no credits"] == 20
    assert values["write of 9,000 records in CRM: credits"] == 900


def test_another_scope_does_not_audit(audited: Site):
    assert as_program(audited, "history:read").status_code == 403


def test_without_a_connected_organisation_nothing_is_audited(site: Site):
    answer = as_program(site)
    assert answer.status_code == 503
    assert "consent-ledger connect" in answer.text


def test_the_page_shows_the_last_audit_and_makes_a_new_one_by_a_post_alone(audited: Site):
    let_in(audited, "adm", "admin")
    assert "No audit was made yet" in audited.client.get("/audit").text
    token = form_token(audited.client.get("/audit").text)
    assert "No audit was made yet" in audited.client.get("/audit").text
    shown = audited.client.post("/audit", data={"form_token": token})
    assert shown.status_code == 200
    assert "No sync is safe while records of one address contradict each other" in shown.text
    assert "twin@example.com" not in shown.text
    assert audited.client.post("/audit", data={"form_token": "forged"}).status_code == 403


def test_nobody_sees_the_audit_without_logging_in(audited: Site):
    answer = audited.client.get("/audit", follow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/login")

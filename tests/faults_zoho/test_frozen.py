"""Two at the same time: one that was frozen while the other did its work, or both in the same instant."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from service.reconciler.diff import REPORTED
from tests import servers
from tests.faults_zoho.conftest import Org, organisation
from tests.faults_zoho.doors import disagreements, twice_enforced
from tests.faults_zoho.frozen import frozen
from tests.running import claim

FROZEN_S = 60.0


@pytest.fixture
def impatient(postgresql_url: str) -> Iterator[Org]:
    """The organisation on a server that takes locks from the frozen after a second, instead of a minute."""
    with organisation(servers.impatient(postgresql_url, 1_000)) as made:
        yield made


def stopped_in_crm(made, email: str) -> bool:
    return any(record["Email_Opt_Out"] for record in made.person(email)["crm"])


@pytest.mark.crash
@pytest.mark.parametrize("step", ["read list active", "write crm:Contacts/", "written campaigns"])
def test_a_reconciler_that_was_stopped_for_a_minute_writes_nothing_that_is_out_of_date(
    impatient, tmp_path, figures, step
):
    org, email = impatient, impatient.emails("permission_refused_in_campaigns")[0]
    with frozen(org.db.url, org.sim.url, step, tmp_path, slept_s=FROZEN_S) as old:
        org.doors.somebody_else()
        org.later(timedelta(seconds=FROZEN_S))
        org.intake.record([claim(email, received_at=org.clock())])
        assert not org.run().remaining
        writes, people = org.writes(), org.person(email)
    assert old.exitcode == 0
    org.doors()
    figures(f"frozen at {step!r} for a minute", stale_writes=org.writes() - writes)
    assert org.writes() == writes
    assert org.person(email) == people
    assert stopped_in_crm(org, email) == (step == "written campaigns")
    assert twice_enforced(org) == []
    last = org.run()
    assert set(last.found) <= {*REPORTED, "re_permission"}
    assert not last.plan.changes
    assert not disagreements(org, org.doors.db).keys() - {email}

"""Two at the same time: one that was frozen while the other did its work, or both in the same instant."""

from collections.abc import Iterator
from datetime import timedelta
from threading import Barrier, Thread

import pytest

from service.reconciler.apply import WRITERS
from service.reconciler.diff import REPORTED
from tests import servers
from tests.faults_zoho.conftest import Org, organisation
from tests.faults_zoho.doors import disagreements, twice_enforced
from tests.faults_zoho.frozen import frozen
from tests.reconciler.test_many import Meanwhile, members
from tests.running import claim, withdrawal

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


def test_two_runs_at_the_same_instant_stop_everybody_and_undo_nothing(org):
    together, ended = Barrier(2), list[object]()

    def meet(step: str, _done: int, _total: int) -> None:
        if step == "planned":
            together.wait(60)

    runs = [Thread(target=lambda: ended.append(org.attempt(progress=meet))) for _ in range(2)]
    for one in runs:
        one.start()
    for one in runs:
        one.join(60)
    assert [result.failed for result in ended] == [{}, {}]
    org.doors()
    org.converges()


@pytest.mark.parametrize("product", ["crm", "campaigns"])
def test_a_consent_during_the_very_write_of_an_older_stop_is_neither_lost_nor_taken_for_another_stop(
    org, product
):
    email = org.emails("permission_refused_in_campaigns" if product == "crm" else "opted_out_by_hand")[0]
    parts = {
        "crm": Meanwhile(org.zoho.crm, "enforce", lambda: org.intake.record([claim(email)])),
        "campaigns": Meanwhile(org.zoho.campaigns, "refuse", lambda: org.intake.record([claim(email)])),
    }
    org.run(**{product: parts[product]})
    assert org.events(email).count("consent.withdrawn") == 1
    last = org.run()
    assert org.standing(email).state == "permitted"
    assert not org.standing(email).must_stop
    assert org.events(email).count("consent.withdrawn") == 1
    assert last.found["re_permission"] == 1
    assert not last.news
    assert not disagreements(org, org.doors.db).keys() - {email}


def test_a_refusal_that_comes_late_in_its_batch_is_decided_anew(org):
    org.run()
    people = members(org, 20)
    told = [withdrawal(email, received_at=org.clock(), enforce=False) for email in people]
    org.intake.record(told)

    def freeze() -> None:
        org.intake.record([claim(email, received_at=org.clock()) for email in people])
        org.clock.ahead += timedelta(seconds=FROZEN_S)

    org.run(campaigns=Meanwhile(org.zoho.campaigns, "refuse", freeze))
    refused = [email for email in people if org.person(email)["campaigns"]["dnm"]]
    assert 1 <= len(refused) <= 2 * WRITERS < len(people)

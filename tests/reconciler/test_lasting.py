"""What cannot be taken back is said before it is done; a merge of records keeps every restriction."""

from service.cli import plans as told
from service.reconciler import showing
from service.reconciler.lasting import DO_NOT_MAIL, lasting
from tests.reconciler.conftest import World, stopped
from tests.running import claim, withdrawal


def test_only_a_stop_in_campaigns_lasts():
    assert lasting("campaigns", "stop") == DO_NOT_MAIL
    assert lasting("campaigns", "permit") is None
    assert lasting("crm:Contacts/1", "stop") is lasting("crm:Contacts/1", "permit") is None


def test_a_dry_run_and_the_plan_say_which_writes_cannot_be_undone(small: World):
    made = small.run(applying=False)
    count = sum(item.target == "campaigns" for item in made.plan.changes)
    assert count > 0
    assert f"{count}  of these writes cannot be undone: {DO_NOT_MAIL}" in made.plan.summary(small.clock())
    with small.db.read() as tx:
        lines = showing.show(tx, made.run_id, now=small.clock()).lines
    assert sum(line.lasting is not None for line in lines if line.direction == "stop") == count
    assert {("cannot be undone" in told.sentence(line)) for line in lines if line.lasting} == {True}


def test_a_merge_keeps_the_opt_out_that_only_one_of_two_records_had(small: World):
    email = small.ordinary()
    [record] = small.person(email)["crm"]
    module = record["module"]
    [other] = small.sim.world.db.execute(
        f"SELECT Email FROM crm_{module} WHERE Email <> ? AND Email_Opt_Out = 0 LIMIT 1", (email,)
    ).fetchone()
    twin = {"Email": email, "Email_Opt_Out": True}
    small.sim.control("crm/set", {"email": other, "fields": twin, "by": "Petra Lindqvist"})
    small.run()
    assert stopped(small, email)
    small.sim.control(
        "crm/set", {"email": email, "fields": {"Email_Opt_Out": False}, "by": "Petra Lindqvist"}
    )
    small.sim.control("crm/merge", {"email": email})
    small.run()
    assert len(small.person(email)["crm"]) == 1
    assert stopped(small, email)


def test_a_contact_that_was_deleted_and_created_anew_does_not_get_its_old_permission_back(small: World):
    email = small.ordinary()
    small.intake.record([claim(email), withdrawal(email)])
    small.run()
    small.sim.control("crm/delete", {"email": email})
    small.run()
    other = small.sim.world.db.execute("SELECT Email FROM crm_Contacts WHERE Email_Opt_Out = 0").fetchone()
    anew = {"email": other[0], "fields": {"Email": email}, "by": "Petra Lindqvist"}
    small.sim.control("crm/set", anew)
    small.run()
    assert len(small.person(email)["crm"]) == 1
    assert stopped(small, email)

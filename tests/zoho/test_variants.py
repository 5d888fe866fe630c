"""What the sources on Zoho tell in several ways means the same to the clients, whichever it is."""

import pytest

from service.errors import ZohoDenied
from service.reconciler.port import CrmChange
from service.zoho.simulator.switches import SWITCHES


def answers(name: str) -> tuple[object, ...]:
    """All answers that the simulator can give to an open question."""
    return (SWITCHES[name].default, *SWITCHES[name].others)


@pytest.mark.parametrize("told", answers("crm.scope_mismatch"))
def test_a_missing_scope_is_denied_however_it_is_told_and_no_token_is_renewed_for_it(sim, zoho, told):
    sim.control("switches", {"crm.scope_mismatch": told, "oauth.scopes": "ZohoCRM.users.READ"})
    with pytest.raises(ZohoDenied, match="OAUTH_SCOPE_MISMATCH"):
        zoho.crm.org()
    assert sim.control("meter")["calls"]["oauth"] == 1


@pytest.mark.parametrize("told", answers("crm.denied_as"))
def test_a_profile_that_forbids_to_write_is_denied_however_it_is_told(sim, zoho, told):
    record = next(r for r in zoho.crm.observe() if r.module == "Contacts" and not r.opted_out)
    sim.control("switches", {"crm.denied_as": told, "crm.denied": "PUT:Contacts"})
    with pytest.raises(ZohoDenied, match=told.partition(" ")[0]):
        zoho.crm.enforce([CrmChange(module="Contacts", record_id=record.record_id, opted_out=True)])
    (now,) = zoho.crm.read([(record.module, record.record_id)])
    assert not now.opted_out

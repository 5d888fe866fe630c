"""What nobody knows about Zoho, or what its own pages contradict: one named switch each.

The default is what the best source says; a test flips a switch through the control plane to show
that a client stands the other variant as well.
"""

from types import MappingProxyType

from service.zoho.simulator.switches.access import ACCESS, ALL_SCOPES
from service.zoho.simulator.switches.campaigns import CAMPAIGNS
from service.zoho.simulator.switches.crm import CRM
from service.zoho.simulator.switches.switch import Switch, Value

__all__ = ["ALL_SCOPES", "SWITCHES", "Switch", "Value", "defaults"]

SWITCHES = MappingProxyType({**ACCESS, **CRM, **CAMPAIGNS})


def defaults() -> dict[str, Value]:
    """Return every switch at its default."""
    return {name: switch.default for name, switch in SWITCHES.items()}

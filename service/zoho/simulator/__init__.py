"""A Zoho to test against: OAuth, CRM v8 and Campaigns v1.1 over real HTTP on loopback, with a known truth.

It answers from the published facts alone, envelopes that lie included, and is never the clients' own
echo: what is unknown about Zoho is a switch (`switches`), what happens to people is a call of the
control plane (`control`). It never calls out and never names a real Zoho host.
"""

from service.zoho.simulator.app import create_app
from service.zoho.simulator.names import policy_toml
from service.zoho.simulator.server import Simulator, running, serve

__all__ = ["Simulator", "create_app", "policy_toml", "running", "serve"]

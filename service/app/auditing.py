"""The audit of both products as a running service makes it: what they say of their fields, and the budget."""

from collections.abc import Callable
from datetime import datetime

from service.db import Database
from service.policy import PolicySet, ZohoMapping
from service.reconciler.audit import Asked, Audit
from service.reconciler.audit import audit as run_audit
from service.reconciler.audit.fields import Metadata
from service.reconciler.audit.spending import spending
from service.zoho.mapping import Zoho
from service.zoho.metadata import ZohoMetadata
from service.zoho.shared import SharedQuota


def audit(db: Database, policy: PolicySet, zoho: Zoho, *, push: int, now: Callable[[], datetime]) -> Audit:
    """Audit what was read last against both products' metadata, keep the result and return it."""
    learn(zoho)
    metadata = describe(zoho, policy.zoho)
    zoho.quota.settle()
    limits = policy.enforcement.quota
    with db.begin() as tx:
        spent = spending(tx, now=now(), reserve=limits.withdrawal_reserve, own=limits.credits_per_day or None)
        asked = Asked(metadata=metadata, spending=spent, push=push)
        return run_audit(tx, policy, asked, now=now())


def learn(zoho: Zoho) -> None:
    """Ask once a day what the edition allows, for all nodes; limits of one process alone need no asking."""
    if isinstance(zoho.quota, SharedQuota):
        zoho.quota.learn(zoho.transports["crm"])


def describe(zoho: Zoho, mapping: ZohoMapping) -> Metadata:
    """Return what both products say about the fields of the mapped modules."""
    return ZohoMetadata(zoho.crm, zoho.campaigns).describe([module.name for module in mapping.crm.modules])

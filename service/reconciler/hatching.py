"""Create the canaries, in both products, through the mapping that everybody goes through."""

from typing import Any

from sqlalchemy import insert

from service.db import canary
from service.errors import Malformed, Misconfigured, ZohoError
from service.reconciler import natures
from service.reconciler.canaries import Canary, everybody, fingerprint
from service.reconciler.context import Context
from service.reconciler.natures import NATURES, OPTED_OUT, STATES
from service.reconciler.port import CrmChange, Result


def create(context: Context) -> list[Canary]:
    """Create the canaries that do not exist yet, in both products, and return all of them.

    The bounced one is a contact like any other until the first campaign finds its mailbox dead: no API
    makes a bounce. Raises `Misconfigured` without a domain, `ZohoError` where a product refuses.
    """
    rules = context.policy.enforcement.canaries
    if not rules.domain or not rules.dead_domain:
        raise Misconfigured("name domain and dead_domain under [canaries] in policies/enforcement.toml first")
    known = {one.state for one in everybody(context)}
    for state in STATES:
        if state in known:
            continue
        address = f"consent-canary-{state}@{rules.dead_domain if state == 'bounced' else rules.domain}"
        record_id = _in_crm(context, state, address)
        for result in natures.write(context, NATURES[state].made, address):
            _require(result)
        with context.db.begin() as tx:
            tx.execute(insert(canary).values(_row(context, state, address, record_id)))
    return everybody(context)


def _in_crm(context: Context, state: str, address: str) -> str:
    """Return the id of the canary's record, made now unless it is there already."""
    module = context.policy.enforcement.canaries.module
    there = [record for record in context.crm.find(address) if record.module == module]
    if there:
        wanted = CrmChange(module=module, record_id=there[0].record_id, opted_out=OPTED_OUT[state])
        for result in context.crm.enforce([wanted]):
            _require(result)
        return there[0].record_id
    record_id, result = context.crm.add(module, address, opted_out=OPTED_OUT[state])
    _require(result)
    return record_id


def _require(result: Result) -> None:
    if not result.done:
        raise ZohoError(f"{result.target}: {result.code} {result.reason}".strip(), code=result.code)


def _row(context: Context, state: str, address: str, record_id: str) -> dict[str, Any]:
    if not record_id:
        raise Malformed("CRM took the canary and gave it no id; look for it by hand")
    return {
        "state": state,
        "address_index": context.vault.address_index(address),
        "address": context.vault.seal_address(address),
        "module": context.policy.enforcement.canaries.module,
        "record_id": record_id,
        "mapping": fingerprint(context.policy),
        "made_at": context.now(),
        "driven_at": context.now(),
    }

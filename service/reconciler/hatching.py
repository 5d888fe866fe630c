"""Create the canaries, in both products, through the mapping that everybody goes through."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import insert, select

from service.db import canary
from service.errors import Malformed, Misconfigured, ZohoError
from service.reconciler import natures
from service.reconciler.canaries import Canary, everybody, fingerprint, lacking
from service.reconciler.context import Context
from service.reconciler.natures import NATURES, OPTED_OUT
from service.reconciler.port import CrmChange, CrmRecord, Result


def create(context: Context) -> list[Canary]:
    """Create the records that the canaries lack, in every module and in Campaigns; return all of them.

    The bounced one is a contact like any other until the first campaign finds its mailbox dead: no API
    makes a bounce. First records come first, so that a module that refuses keeps no canary from beginning.
    Raises `Misconfigured` without a domain, `ZohoError` where a product refuses.
    """
    rules = context.policy.enforcement.canaries
    if not rules.domain or not rules.dead_domain:
        raise Misconfigured("name domain and dead_domain under [canaries] in policies/enforcement.toml first")
    with context.db.read() as tx:
        missing = lacking(tx, context.policy)
    known = _addresses(context)
    addresses = {state: known.get(state) or _address(context, state) for state in missing}
    there = {state: context.crm.find(addresses[state]) for state in missing}
    wanted = [(state, name, module) for state, names in missing.items() for name, module in names.items()]
    for state, name, module in sorted(wanted, key=lambda one: one[0] != one[1]):
        record_id = _in_crm(context, state, module, addresses[state], there[state])
        for result in natures.write(context, NATURES[state].made if name == state else (), addresses[state]):
            _require(result)
        with context.db.begin() as tx:
            tx.execute(insert(canary).values(_row(context, name, module, addresses[state], record_id)))
    return everybody(context)


def _addresses(context: Context) -> Mapping[str, str]:
    """Return the address of each canary that has begun: a further record has the same."""
    with context.db.read() as tx:
        rows = tx.execute(select(canary.c.state, canary.c.address)).all()
    return {row.state: context.vault.open_address(row.address) for row in rows if row.state in NATURES}


def _address(context: Context, state: str) -> str:
    rules = context.policy.enforcement.canaries
    return f"consent-canary-{state}@{rules.dead_domain if state == 'bounced' else rules.domain}"


def _in_crm(context: Context, state: str, module: str, address: str, there: Sequence[CrmRecord]) -> str:
    """Return the id of the canary's record in a module, made now unless it is there already."""
    held = [record for record in there if record.module == module]
    if held:
        wanted = CrmChange(module=module, record_id=held[0].record_id, opted_out=OPTED_OUT[state])
        for result in context.crm.enforce([wanted]):
            _require(result)
        return held[0].record_id
    record_id, result = context.crm.add(module, address, opted_out=OPTED_OUT[state])
    _require(result)
    return record_id


def _require(result: Result) -> None:
    if not result.done:
        raise ZohoError(f"{result.target}: {result.code} {result.reason}".strip(), code=result.code)


def _row(context: Context, name: str, module: str, address: str, record_id: str) -> dict[str, Any]:
    if not record_id:
        raise Malformed("CRM took the canary and gave it no id; look for it by hand")
    return {
        "state": name,
        "address_index": context.vault.address_index(address),
        "address": context.vault.seal_address(address),
        "module": module,
        "record_id": record_id,
        "mapping": fingerprint(context.policy),
        "made_at": context.now(),
        "driven_at": context.now(),
    }

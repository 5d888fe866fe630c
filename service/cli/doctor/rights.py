"""Checks of what the API user may do, and whether the mapping is the right way round."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import ColumnElement, select

from service.cli.doctor.access import CONSOLE
from service.cli.doctor.finding import Look, fail, fine, warn
from service.cli.doctor.scene import Scene
from service.db import canary
from service.policy import PolicySet
from service.reconciler import canaries, natures
from service.reconciler.port import CrmRecord
from service.zoho import probes

_ANEW = "run `consent-ledger canaries forget`, delete the others in both products, and create them anew"
RULES = "policies/enforcement.toml > [canaries]"
PROFILES = "CRM: Setup > Users and Control > Security Control > Profiles"
OPTED_OUT = natures.OPTED_OUT
"""What CRM's checkbox must say about a canary in each state."""


def permissions(scene: Scene) -> Iterator[Look]:
    """Look at the profile of the user in whose name the API writes."""
    zoho, mapping = scene.zoho.need(), scene.policy.need().zoho
    user = scene.user.open()
    told: Any = user.get("profile")
    profile_id = str(told.get("id", "")) if isinstance(told, dict) else ""
    if not profile_id:
        yield warn(
            "CRM does not say in whose name the API writes",
            "grant ZohoCRM.users.READ and look again",
            CONSOLE,
        )
        return
    profile = probes.profile(zoho, profile_id)
    details = profile.get("permissions_details")
    rights = {one.get("name"): one.get("enabled") for one in details or () if isinstance(one, dict)}
    lacking = [
        f"{verb} {module.name}"
        for module in mapping.crm.modules
        for verb in ("View", "Edit")
        if not rights.get(f"Crm_Implied_{verb}_{module.name}", False)
    ]
    if lacking:
        where = f"{PROFILES} > {profile.get('name')}"
        yield fail(f"the API user's profile may not {', '.join(lacking)}", "allow it", where)
    else:
        yield fine(f"the API writes as a user with the profile {profile.get('name')}, who may view and edit")


def polarity(scene: Scene) -> Iterator[Look]:
    """Look at the canary contacts in CRM: a granted one must not be opted out, the others must."""
    zoho, policy = scene.zoho.need(), scene.policy.need()
    columns = (canary.c.state, canary.c.module, canary.c.record_id, canary.c.trouble)
    with scene.db.need().read() as tx:
        found = tx.execute(select(*columns).where(looked_at(policy))).all()
        missing = canaries.lacking(tx, policy)
    rows = [row for row in found if natures.state_of(row.state) in OPTED_OUT]
    if not rows:
        yield warn(
            "there are no canary contacts, so an inverted mapping would be noticed by its victims first",
            _how_to_begin(scene),
            RULES,
        )
        return
    if missing:
        yield warn(natures.tell_lacking(missing), "run `consent-ledger canaries create`", RULES)
    read = zoho.crm.read([(row.module, row.record_id) for row in rows])
    records = {(record.module, record.record_id): record for record in read}
    for row in rows:
        yield _one(records.get((row.module, row.record_id)), row)


def looked_at(policy: PolicySet) -> ColumnElement[bool]:
    """Return which records of canaries are looked at: those of modules that the mapping names."""
    return canary.c.module.in_([module.name for module in policy.zoho.crm.modules])


def _how_to_begin(scene: Scene) -> str:
    homes = scene.policy.need().enforcement.canaries
    create = "run `consent-ledger canaries create`"
    if homes.domain and homes.dead_domain:
        return create
    return (
        "set domain to a domain whose mail you receive, and dead_domain to one without any mailbox, "
        f"under [canaries]; then {create}"
    )


def _one(found: CrmRecord | None, row: Any) -> Look:  # noqa: ANN401  # a row of the store
    state = natures.state_of(row.state)
    if found is None:
        return fail(f"the {state} canary is gone from {row.module}", _ANEW, row.module)
    reads = f"{'' if found.opted_out else 'not '}opted out"
    if found.opted_out is not OPTED_OUT[state]:
        return fail(
            f"the {state} canary is {reads} in {row.module}: the mapping may be inverted, or somebody "
            "edited it",
            "compare opt_out_field in policies/zoho.toml with CRM before anything is applied",
            "CRM: Setup > Customization > Modules and Fields",
        )
    if row.trouble:
        return warn(f"the {row.state} canary had trouble: {row.trouble}", "look at the last run", row.module)
    return fine(f"the {state} canary is {reads} in {row.module}, as it should")

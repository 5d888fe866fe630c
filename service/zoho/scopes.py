"""The OAuth scopes that this service asks for, why each, and which of them a token lacks. Pure.

Names from facts `zoho-crm` section 1.4 and `zoho-campaigns` section 1.2.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from service.policy import ZohoMapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """One scope to ask for. Without a `required` one nothing works; `lost` is what goes without the others.

    `needs` are the narrowest scopes that do; `{module}` stands for each mapped module.
    """

    name: str
    why: str
    lost: str = ""
    needs: tuple[str, ...] = ()

    @property
    def required(self) -> bool:
        """Return whether nothing works without it."""
        return not self.lost

    def needed(self, modules: Iterable[str]) -> list[str]:
        """Return the narrowest scopes that do for these modules."""
        return [
            need.replace("{module}", module)
            for need in self.needs or (self.name,)
            for module in (modules if "{module}" in need else ("",))
        ]


SCOPES = (
    Scope(
        name="ZohoCRM.modules.ALL",
        why="read who opted out, write Email_Opt_Out where the ledger knows a stop, see deletions",
        needs=("ZohoCRM.modules.{module}.READ", "ZohoCRM.modules.{module}.UPDATE"),
    ),
    Scope(name="ZohoCRM.coql.READ", why="find records by address and by change, for few credits"),
    Scope(name="ZohoCRM.settings.fields.READ", why="check that the mapped fields exist and can be written"),
    Scope(name="ZohoCRM.org.READ", why="know the organisation, its edition and its allowance of credits"),
    Scope(
        name="ZohoCRM.settings.modules.READ",
        why="find modules with e-mail fields that the mapping forgot",
        lost="the audit does not see unmapped modules",
    ),
    Scope(
        name="ZohoCRM.settings.layouts.READ",
        why="see whether Email_Opt_Out is on each layout, and survives a lead's conversion",
        lost="the audit does not see layouts",
    ),
    Scope(
        name="ZohoCRM.settings.profiles.READ",
        why="check what the API user may do",
        lost="permissions are only seen when a write is refused",
    ),
    Scope(
        name="ZohoCRM.settings.duplicate_check_preference.READ",
        why="see how duplicates are found",
        lost="the audit does not see duplicate rules",
    ),
    Scope(
        name="ZohoCRM.settings.custom_views.READ",
        why="compare lists with the views that feed them",
        lost="the audit does not see views",
    ),
    Scope(
        name="ZohoCRM.users.READ",
        why="know in whose name the service writes, and the names of those who changed records",
        lost="permissions are only seen when a write is refused; whoever changed a record may be a number",
    ),
    Scope(
        name="ZohoCRM.apis.READ",
        why="ask what calls cost",
        lost="costs are taken from the documentation",
    ),
    Scope(
        name="ZohoCRM.bulk.READ",
        why="read 200,000 records with one job",
        lost="full reads take many more calls",
    ),
    Scope(
        name="ZohoSearch.securesearch.READ",
        why="count a module's records, which tells that one vanished without a trace",
        lost="every run reads large modules whole, by COQL",
    ),
    Scope(
        name="ZohoCRM.notifications.ALL",
        why="hear of a box that is ticked by hand within seconds",
        lost="changes by hand are seen when the service looks again",
    ),
    Scope(name="ZohoCampaigns.contact.READ", why="read who is on which list, and in which state"),
    Scope(
        name="ZohoCampaigns.contact.UPDATE",
        why="unsubscribe, set Do-Not-Mail and the permission field (CREATE does not do)",
    ),
    Scope(
        name="ZohoCampaigns.campaign.READ",
        why="read opt-outs, bounces and complaints of sent campaigns",
    ),
)

BULK_WRITE = (
    Scope(
        name="ZohoCRM.bulk.ALL",
        why="write very large repairs as one job",
        lost="bulk writes are refused: leave bulk_write_from at 0",
        needs=("ZohoCRM.bulk.CREATE",),
    ),
    Scope(
        name="ZohoFiles.files.ALL",
        why="upload the file of a bulk write",
        lost="bulk writes are refused: leave bulk_write_from at 0",
    ),
)
"""Only where the mapping's `bulk_write_from` is not 0; to be added to what is pasted."""

WORKFLOW = (
    Scope(
        name="ZohoCampaigns.workflow.CREATE",
        why="stop up to 200 people by one call, through the workflow that the mapping names",
        lost="many withdrawals at once go one by one, about a hundred people a minute",
    ),
)
"""Only where the mapping names a workflow; to be added to what is pasted."""

ASKED = ",".join(scope.name for scope in SCOPES)
"""What to paste into the API console, and what the browser asks for."""


def missing(granted: Sequence[str], mapping: ZohoMapping) -> list[Scope]:
    """Return what was asked for and is not covered by `granted`, for the modules of the mapping."""
    modules = [module.name for module in mapping.crm.modules]
    bulk = BULK_WRITE if mapping.crm.bulk_write_from else ()
    wanted = (*SCOPES, *bulk, *(WORKFLOW if mapping.campaigns.workflow else ()))
    return [scope for scope in wanted if not all(covers(granted, need) for need in scope.needed(modules))]


def covers(granted: Sequence[str], needed: str) -> bool:
    """Return whether one of `granted` opens `needed`, e.g. `ZohoCRM.modules.ALL` the Contacts' READ."""
    *where, what = needed.lower().split(".")
    return any(_covers(scope.lower().split("."), where, what) for scope in granted)


def _covers(scope: list[str], where: list[str], what: str) -> bool:
    *place, operation = scope
    if where[: len(place)] != place:
        return False
    written = {"write": {"create", "update", "delete", "write"}, "create-update": {"create", "update"}}
    return operation in ("all", what) or what in written.get(operation, set())

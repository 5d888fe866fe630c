"""Both products' metadata for the audit: CRM's fields by module, Campaigns' contact fields by label."""

from collections.abc import Sequence

from service.reconciler.audit.fields import CrmField, Metadata
from service.zoho.campaigns import ZohoCampaigns
from service.zoho.crm import Field, ZohoCrm


class ZohoMetadata:
    """Reads what both products say about their fields; errors are `ZohoError`s."""

    def __init__(self, crm: ZohoCrm, campaigns: ZohoCampaigns) -> None:
        self._crm = crm
        self._campaigns = campaigns

    def describe(self, modules: Sequence[str]) -> Metadata:
        """Return the fields of these CRM modules, and of Campaigns' contacts; one call more than modules."""
        return Metadata(
            crm={
                module: {found.api_name: _field(found) for found in self._crm.fields(module)}
                for module in modules
            },
            campaigns={found.label: found for found in self._campaigns.described_fields()},
        )


def _field(found: Field) -> CrmField:
    """Return a field as the audit sees it (facts zoho-crm, section 5)."""
    allowed = found.operation_type or {}
    return CrmField(
        name=found.api_name,
        type=found.data_type,
        length=found.length or 0,
        writable=not found.read_only and allowed.get("api_update", True),
        hidden_from=tuple(
            str(profile.get("name", "a profile"))
            for profile in found.profiles or ()
            if profile.get("permission_type") == "hidden"
        ),
    )

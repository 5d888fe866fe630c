"""The mapping document for the next admin: every field, direction, owner, reason, and what is wrong now."""

from collections.abc import Sequence
from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from service.policy import Campaigns, CampaignsList, ZohoMapping
from service.reconciler.audit.fields import Mapped

ARROWS = {"crm_to_campaigns": "CRM → Campaigns", "campaigns_to_crm": "Campaigns → CRM", "both": "both ways"}
CARRIERS = {"zoho": "Zoho's own sync", "service": "this service"}
_PREFACE = (
    "Declared in `policies/zoho.toml`, compared with both products' metadata. "
    "Change the declaration first, then the sync, then write this document again."
)
_FIELDS = ("CRM module", "CRM field", "Campaigns field", "Direction", "Carried by", "Owner", "Why", "Now")
_LISTS = ("List", "Purpose", "Fed by the CRM checkbox", "Key")
OWNERS = {"crm": "CRM", "campaigns": "Campaigns", "ledger": "the ledger", "both": "either product"}


def mapping_markdown(mapping: ZohoMapping, found: Sequence[Mapped], *, controller: str) -> str:
    """Return the document as Markdown; `found` are the declared fields with what is wrong with them."""
    lines = [
        f"# Fields that live in Zoho CRM and in Zoho Campaigns: {controller}",
        "",
        _PREFACE,
        "",
        *_table(_FIELDS, list(map(_field, found))),
        "",
        "## Consent",
        "",
        *(f"- {line}" for line in consent(mapping)),
        "",
        "## Lists",
        "",
        *_table(_LISTS, list(map(_list, mapping.campaigns.lists))),
        "",
    ]
    return "\n".join(lines)


def _field(one: Mapped) -> Sequence[str]:
    return (
        one.module,
        f"`{one.declared.crm}`",
        one.declared.campaigns,
        ARROWS[one.declared.direction],
        CARRIERS[one.declared.by],
        OWNERS[one.declared.owner],
        one.declared.reason,
        state(one),
    )


def _list(one: CampaignsList) -> Sequence[str]:
    return one.name, one.purpose, f"`{one.view_field}`" if one.view_field else "nothing", f"`{one.key}`"


def mapping_html(mapping: ZohoMapping, found: Sequence[Mapped], *, controller: str) -> str:
    """Return the document as one HTML file that loads nothing from elsewhere."""
    return (
        _templates()
        .get_template("mapping.html")
        .render(
            mapping=mapping,
            found=found,
            controller=controller,
            arrows=ARROWS,
            carriers=CARRIERS,
            owners=OWNERS,
            state=state,
            consent=consent(mapping),
        )
    )


def consent(mapping: ZohoMapping) -> tuple[str, ...]:
    """Return in sentences how the two consent fields stand to each other."""
    campaigns = mapping.campaigns
    return (
        (
            f"{mapping.crm.opt_out_field} true means stop. {campaigns.permission_label} "
            f"“{campaigns.granted}” means go, “{campaigns.refused}” means stop. They are opposites."
        ),
        f"Both stand for the purpose “{mapping.governs}”. The ledger decides; this service writes both.",
        "Whoever is refused is also taken off every list of the purpose and put into Do-Not-Mail.",
        (
            f"{campaigns.permission_label} is read back through the segments {campaigns.granted_segment} "
            f"(granted) and {campaigns.refused_segment} (refused)."
        ),
        *_workflow(campaigns),
    )


def _workflow(campaigns: Campaigns) -> tuple[str, ...]:
    """Return in a sentence what stops many at once, where something does."""
    named = campaigns.workflow
    if named is None:
        return ()
    return (
        (
            f"From {named.from_people} withdrawals in five minutes on, the workflow {named.key} stops 200 "
            "people by one call (Automation > Workflows). It must stay active, and its actions must be: "
            "Subscription management, unsubscribe; and update "
            f"{campaigns.permission_label} to “{campaigns.refused}”."
        ),
    )


def state(one: Mapped) -> str:
    """Return what is wrong with a field now, or that nothing is."""
    return "; ".join(f"{fault.trouble}: {fault.detail}" for fault in one.faults) or "in order"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [line(headings), line(["---"] * len(headings)), *map(line, rows)]


@lru_cache(maxsize=1)
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("service.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

"""Which writes the service cannot take back, so that whoever approves or applies a plan knows. Pure."""

from service.reconciler.enforcement import CAMPAIGNS

DO_NOT_MAIL = "Do-Not-Mail gives nobody back but by their own new consent"
"""A stop in Campaigns; who complained or bounced must even subscribe there themselves (zoho-campaigns.md)."""


def lasting(target: str, direction: str) -> str | None:
    """Return why a write cannot be undone, None where the next run could: CRM's field is ticked both ways."""
    return DO_NOT_MAIL if target == CAMPAIGNS and direction == "stop" else None

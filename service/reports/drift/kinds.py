"""What each kind of drift is called by people who do not know the two products.

Pure. A kind that is not listed here is reported under its own name, never left out.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of drift in plain language; `opt_out` where the person themselves said stop."""

    title: str
    meaning: str
    opt_out: bool = True


KINDS = {
    "unsubscribed_not_in_crm": Kind(
        title="Unsubscribed, but CRM did not know",
        meaning="Clicked unsubscribe in a mail. Zoho CRM still showed the person as mailable.",
    ),
    "complaint_not_in_crm": Kind(
        title="Marked as spam, but CRM did not know",
        meaning="Reported a mail as spam. Zoho CRM still showed the person as mailable.",
    ),
    "opted_out_by_hand": Kind(
        title="Opted out in CRM, but still on the list",
        meaning="Somebody ticked Email Opt Out in CRM. Zoho Campaigns would have mailed on.",
    ),
    "permission_refused_in_campaigns": Kind(
        title="Permission refused, but still on the list",
        meaning="Marketing Permission says refused, while the mailing list still held the person.",
    ),
    "duplicate_contradiction": Kind(
        title="Two records that contradict each other",
        meaning="One address stands on two CRM records, and only one of them says opted out.",
    ),
    "hard_bounce_not_in_crm": Kind(
        title="Mailbox gone, but CRM did not know",
        meaning="Mail came back for good. Zoho CRM still showed the address as mailable.",
        opt_out=False,
    ),
    "repeated_soft_bounce_not_in_crm": Kind(
        title="Mailbox failing again and again",
        meaning="Mail came back several times in a row. Zoho CRM still showed the address as mailable.",
        opt_out=False,
    ),
    "withdrawn_not_enforced": Kind(
        title="Refused in the ledger, but not in Zoho",
        meaning="The ledger holds a refusal, a complaint or a dead mailbox. Zoho would have mailed on.",
        opt_out=False,
    ),
    "permitted_without_consent": Kind(
        title="No consent known",
        meaning="Zoho would mail the person, the ledger knows no consent, and the policy says stop.",
        opt_out=False,
    ),
    "re_permission": Kind(
        title="Consented again, still held back",
        meaning="A newer consent permits what Zoho holds back. Nothing is widened without an approval.",
        opt_out=False,
    ),
    "list_lag_missing": Kind(
        title="Should be on the list, is not",
        meaning="The CRM view selects the person, the list does not hold them. Nobody is mailed wrongly.",
        opt_out=False,
    ),
    "list_lag_stale": Kind(
        title="Left the CRM view, still on the list",
        meaning="The list lags behind its CRM view. No opt-out is known; marketing should refresh the list.",
        opt_out=False,
    ),
}


def describe(kind: str) -> Kind:
    """Return the plain-language name of a kind; an unknown one is told by its own name."""
    known = KINDS.get(kind)
    unnamed = Kind(title=kind.replace("_", " ").capitalize(), meaning="Reported under its technical name.")
    return known or unnamed

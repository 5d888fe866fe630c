"""The tables of `purposes.toml`, `zoho.toml` and `enforcement.toml`, as they are read. Pure."""

import hashlib
from typing import Annotated, Literal

import msgspec

from service.policy.limits import Breakers, Canaries, Flapping, Permissive
from service.policy.quota import QuotaRules

Choice = Literal["leave", "report", "stop"]
Grade = Literal["A", "B", "C", "D", "E", "F"]
FORM_BRINGS = frozenset(
    {
        "control",
        "page_url",
        "language",
        "notice_id",
        "notice_version",
        "notice_sha256",
        "notice_copy",
        "form_id",
        "collection_method",
        "ip",
        "user_agent",
    }
)
"""Evidence that a post to a form of ours can bring, or that is known of it without its telling."""
Sweep = Literal["cheapest", "bulk", "coql"]


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of a policy file: unknown keys are refused."""


class Controller(Strict, frozen=True, kw_only=True):
    """Who is responsible; printed in notices, bundles and mails."""

    id: str
    name: str
    contact: str


class Purpose(Strict, frozen=True, kw_only=True):
    """One purpose that people can consent to; a request can be confirmed for `confirm_within_days`."""

    title: str
    description: str = ""
    double_opt_in: bool = False
    confirm_within_days: Annotated[int, msgspec.Meta(ge=1, le=366)] = 30


class Form(Strict, frozen=True, kw_only=True):
    """One place where consent is given; `notice` is the exact text beside the control."""

    purpose: str
    title: str
    notice: str
    notice_version: str
    language: str
    controls: tuple[str, ...] = ("tick", "button")
    allowed_origins: tuple[str, ...] = ()
    required_evidence: tuple[str, ...] = ("page_url", "control")
    serves: tuple[str, ...] = ()
    """Codes of the jurisdictions whose people are asked here; empty: people of anywhere."""
    own_initiative: bool = False
    """Whether whoever comes here came unasked: no mail and no window sends people who opted out here."""
    thanks: str = "Thank you. Your choice has been recorded."

    @property
    def notice_sha256(self) -> str:
        """Return the hex SHA-256 of the notice's UTF-8 text: the name of what was shown."""
        return hashlib.sha256(self.notice.encode()).hexdigest()


class Module(Strict, frozen=True, kw_only=True):
    """One CRM module whose records carry addresses; `emails` are API names of its e-mail fields.

    `country` and `state` are the fields that tell where a person is; both may be left out.
    """

    name: str
    emails: tuple[str, ...]
    country: str | None = None
    state: str | None = None


class Crm(Strict, frozen=True, kw_only=True):
    """Which CRM field says stop (true means stop), and which tell since when and how."""

    opt_out_field: str
    mode_field: str | None = None
    time_field: str | None = None
    reason_field: str | None = None
    """A text field that says why a dead mailbox was opted out, so that people see it was no choice."""
    sweep: Sweep = "cheapest"
    """How whole modules are read: by bulk read, by COQL, or by whichever costs fewer credits."""
    bulk_write_from: int = 0
    """From how many records of one module on a repair is one bulk write; 0 is never (see zoho.toml)."""
    modules: tuple[Module, ...]


class CampaignsList(Strict, frozen=True, kw_only=True):
    """One mailing list, its purpose, and the CRM checkbox that decides who should be on it."""

    name: str
    key: str
    purpose: str
    topic: str | None = None
    view_field: str | None = None
    push_on_change: bool = False
    """Whether a change in CRM puts whom the view selects, and the ledger permits, on the list at once."""


class Workflow(Strict, frozen=True, kw_only=True):
    """A workflow of Campaigns that takes whoever it is triggered for off every list, up to 200 in one call.

    `list` names the list whose members it is drawn for, where it is drawn for one.
    """

    key: str
    trigger_key: str
    list: str | None = None
    from_people: int = 50
    """From so many stops at a time, or within five minutes, on; fewer go one by one, while windows last."""
    seen_within_minutes: int = 10
    """Who is not seen off the lists after so long is stopped one by one."""


class Campaigns(Strict, frozen=True, kw_only=True):
    """How Marketing Permission is written and read back; granted means go."""

    address_label: str
    permission_label: str
    granted: str
    refused: str
    granted_segment: str
    refused_segment: str
    lists: tuple[CampaignsList, ...]
    workflow: Workflow | None = None
    """What stops many at once; None: each is stopped by calls of their own."""


class FieldMapping(Strict, frozen=True, kw_only=True):
    """One field that lives in both products: which way it goes, who owns it, and why.

    `direction` is how values travel today, `owner` the product whose value is right (`both`: each may
    change it, so that it must travel both ways). `by` carries it: Zoho's own sync, or this service.
    `type` and `length` are CRM's, `campaigns_type` is what Campaigns calls its own; `length` is what the
    longest value needs in either. `modules` empty means all.
    """

    crm: str
    campaigns: str
    direction: Literal["crm_to_campaigns", "campaigns_to_crm", "both"]
    owner: Literal["crm", "campaigns", "ledger", "both"]
    by: Literal["zoho", "service"] = "zoho"
    reason: str
    type: str = ""
    campaigns_type: str = ""
    length: int = 0
    modules: tuple[str, ...] = ()

    @property
    def is_two_way(self) -> bool:
        """Return whether values travel both ways."""
        return self.direction == "both"

    @property
    def wants_both(self) -> bool:
        """Return whether either product may change it, so that it must travel both ways."""
        return self.owner in ("both", "ledger")

    @property
    def writes_campaigns(self) -> bool:
        """Return whether something writes the contact field."""
        return self.direction != "campaigns_to_crm"

    @property
    def writes_crm(self) -> bool:
        """Return whether something writes the CRM field."""
        return self.direction != "crm_to_campaigns"


class ZohoMapping(Strict, frozen=True, kw_only=True):
    """`zoho.toml`: `governs` is the purpose that Email_Opt_Out and Marketing Permission stand for."""

    governs: str
    crm: Crm
    campaigns: Campaigns
    fields: tuple[FieldMapping, ...] = ()


class WithoutConsent(Strict, frozen=True, kw_only=True):
    """What happens to an address that a product permits while the ledger knows no permission."""

    unknown: Choice
    pending: Choice
    expired: Choice


class Enforcement(Strict, frozen=True, kw_only=True):
    """`enforcement.toml`: evidence, thresholds, and the limits of one run.

    `required_evidence` comes with every live grant that was given in words, `required_without_form` with
    those for a purpose that no form of ours asks for. `forbidden_evidence` makes any grant none.
    """

    weakest_grade: Grade
    required_evidence: tuple[str, ...]
    required_without_form: tuple[str, ...]
    forbidden_evidence: tuple[str, ...] = ("prechecked",)
    soft_bounce_limit: int
    soft_bounce_days: int
    largest_shrink: float
    without_consent: dict[str, WithoutConsent]
    swift_seconds: int = 30
    """Withdrawals within so many seconds of a sending are told to legal: a scanner may have made them."""
    watch_seconds: int = 5
    full_sweep_hours: int = 20
    """How old the last reading of all of CRM may be for a run to read no more than what changed since."""
    quota: QuotaRules = QuotaRules()
    permissive: Permissive = Permissive()
    breakers: Breakers = Breakers()
    flapping: Flapping = Flapping()
    canaries: Canaries = Canaries()

    def choice(self, jurisdiction: str, state: str) -> Choice:
        """Return what to do about an address in `state` that a product permits."""
        table = self.without_consent.get(jurisdiction, self.without_consent["default"])
        choice: Choice = getattr(table, state)
        return choice

"""What the reconciler asks of the two products; `service.zoho` implements it.

Addresses pass through here in the clear and in memory only: the reconciler hashes them before
anything is stored. Times are aware UTC; None means that the product does not tell.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

NOBODY = "2103"
"""Campaigns' code for an address that it does not know."""


class Member(StrEnum):
    """A contact's state on one Campaigns list."""

    ACTIVE = "active"
    UNSUBSCRIBED = "unsub"
    BOUNCED = "bounce"


class OutcomeKind(StrEnum):
    """What became of a mail to one recipient (`getcampaignrecipientsdata`, action)."""

    OPTED_OUT = "optoutcontacts"
    COMPLAINED = "spamcontacts"
    BOUNCED_HARD = "senthardbounce"
    BOUNCED_SOFT = "sentsoftbounce"


@dataclass(frozen=True, slots=True, kw_only=True)
class CrmRecord:
    """One record with an address; `addresses` lists all e-mail fields that are filled, as CRM has them."""

    module: str
    record_id: str
    addresses: tuple[str, ...]
    opted_out: bool
    modified_at: datetime
    unsubscribed_mode: str | None = None
    unsubscribed_at: datetime | None = None
    country: str | None = None
    state: str | None = None
    views: frozenset[str] = frozenset()
    """Names of the lists (`policies/zoho.toml`) whose view this record is in."""
    modified_by: str | None = None
    """Who wrote the record last, as CRM names them."""
    created_at: datetime | None = None
    understood: bool = True
    """False where the opt-out field holds neither true nor false; `opted_out` is then False."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListMember:
    """One contact on one list with one status; Campaigns tells no time of leaving (facts section 2)."""

    list_name: str
    address: str
    status: Member


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One recipient's outcome of one campaign; `happened_at` only where Campaigns printed it."""

    campaign_key: str
    address: str
    kind: OutcomeKind
    happened_at: datetime | None = None
    sent_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CrmChange:
    """One record to write. `unmodified_since` makes the write fail if a person wrote in between."""

    module: str
    record_id: str
    opted_out: bool
    unmodified_since: datetime | None = None
    reason: str = ""
    """Why a dead mailbox is opted out, for the field that policies/zoho.toml names; empty leaves it alone."""
    read_as_of: datetime | None = None
    """When the record had last been written as it was read. A stop of one that anybody wrote since ends as
    ALREADY_MODIFIED, like `unmodified_since`, but such stops still go into one call together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How one change ended. `done` False with `retry` True may be tried again as it is."""

    target: str
    """`Contacts/<id>`; `campaigns/permission`, `campaigns/unsubscribe/<list>`, `campaigns/do-not-mail`."""
    done: bool
    code: str
    answer_sha256: bytes
    """SHA-256 of the product's whole answer, kept as evidence; of nothing where no answer came."""
    retry: bool = False
    reason: str = ""
    until: datetime | None = None
    """When the window opens that is used up, where one is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Triggered:
    """How a workflow took many people: who entered before, and who could not; addresses folded.

    All others entered. What the workflow did to them is seen on the lists alone.
    """

    code: str
    answer_sha256: bytes
    already: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()


@dataclass(slots=True)
class Meter:
    """Calls and credits spent so far; shared by both clients of one run."""

    calls: dict[str, int] = field(default_factory=dict)
    """By product: `crm`, `campaigns`, `oauth`."""
    credits: int = 0

    def book(self, product: str, *, credits: int = 0) -> None:  # noqa: A002  # Zoho's own word for its unit
        """Count one call before it is sent."""
        self.calls[product] = self.calls.get(product, 0) + 1
        self.credits += credits

    @property
    def total(self) -> int:
        """Return all calls of all products."""
        return sum(self.calls.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """How one field of a record came to be as it is; `who` as the product names them."""

    source: str
    who: str | None
    at: datetime | None


BOUNCED = "Hard bounce"
"""The reason of a mailbox that is gone."""


class Crm(Protocol):
    """Zoho CRM as the reconciler needs it; errors are `ZohoError`s."""

    meter: Meter

    def now(self) -> datetime:
        """Return CRM's own time, as far as its last answer told; ours before the first."""

    def observe(
        self, *, since: datetime | None = None, modules: Sequence[str] | None = None
    ) -> Iterator[CrmRecord]:
        """Yield every record of every configured module, or of `modules`, or those modified since.

        Records without any address are among them, and a record may come twice.
        """

    def deleted(self, since: datetime, modules: Sequence[str] | None = None) -> Iterator[tuple[str, str]]:
        """Yield (module, id) of what was deleted since; what was merged away only if CRM lists it."""

    def counts(self, modules: Sequence[str] | None = None) -> Mapping[str, int]:
        """Return how many records each configured module, or those named, holds; may lag behind."""

    def opted_out(self, since: datetime) -> Sequence[CrmRecord]:
        """Return the records with an address that are opted out and were modified since; cheap if few are."""

    def find(self, address: str) -> Sequence[CrmRecord]:
        """Return every record, in all configured modules, that carries `address` in any e-mail field."""

    def find_many(self, addresses: Sequence[str]) -> Mapping[str, Sequence[CrmRecord]]:
        """Return what `find` returns for each of many addresses, in few calls."""

    def last_flip(self, module: str, record_id: str) -> Flip | None:
        """Return the newest change of a record's opt-out field, None where CRM knows none; a credit each."""

    def read(self, targets: Sequence[tuple[str, str]]) -> Sequence[CrmRecord]:
        """Return the records named by (module, id) as they are now; those that are gone are left out."""

    def at_once(self, waiting: int) -> int:
        """Return how many stops of one module are best handed to `enforce` together when so many wait."""

    def keeps_conditions(self, changes: Sequence[CrmChange]) -> bool:
        """Return whether `enforce` would heed `read_as_of` of these changes; a bulk write cannot."""

    def enforce(self, changes: Sequence[CrmChange]) -> Sequence[Result]:
        """Write the changes in batches of 100 with `trigger: []`; one result per change, in order.

        A lost answer is a result with the code UNREACHABLE and `retry`: read those records back. Raises
        `ZohoDenied` or `QuotaExhausted` only while nothing was written; later they end up in results.
        """

    def add(self, module: str, address: str, *, opted_out: bool) -> tuple[str, Result]:
        """Add a record of our own (a canary) with this address; return its id, empty where it failed."""


class Campaigns(Protocol):
    """Zoho Campaigns as the reconciler needs it; errors are `ZohoError`s."""

    meter: Meter

    def members(self, list_name: str, status: Member) -> Iterator[ListMember]:
        """Yield every contact of one list in one status, to the true end."""

    def left(self, list_name: str) -> Iterator[ListMember]:
        """Yield who has left a list, in the opposite order: perhaps those first who left last."""

    def joined_lately(self, list_name: str) -> Iterator[str]:
        """Yield the addresses of those who joined a list lately; how lately only Campaigns knows."""

    def unsubscribed_counts(self) -> Mapping[str, int]:
        """Return how many contacts each configured list has as unsubscribed, by its name; a call or two."""

    def permissions(self, granted: bool) -> Iterator[str]:  # noqa: FBT001  # the two segments have no other name
        """Yield the addresses in the segment that reads Marketing Permission back."""

    def outcomes(self, since: datetime | None = None) -> Iterator[Outcome]:
        """Yield opt-outs, complaints and bounces of all sent campaigns, A/B children included."""

    def departures(self, sent_since: datetime) -> Iterator[Outcome]:
        """Yield opt-outs and complaints of the campaigns sent since."""

    def subscribe(self, list_name: str, address: str) -> Result:
        """Put one contact on one list; never lifts Do-Not-Mail. A list with a sign-up form asks first."""

    def refuse(self, address: str, lists: Sequence[str], *, active_on: str | None) -> Sequence[Result]:
        """Write the refusal: permission field (only where active), every list, then Do-Not-Mail.

        One result per step, in this order; a step that fails (any `ZohoError` becomes its result) stops none.
        """

    def permit(self, address: str, lists: Sequence[str], *, rejoin: bool = False) -> Sequence[Result]:
        """Write the permission and join the lists; `rejoin` brings back whom Do-Not-Mail holds.

        Only for somebody whose newer consent is known, never after a bounce or a complaint. One result per
        list; a step that fails stops none.
        """

    def place(self, list_name: str, address: str, *, granted: bool) -> Result:
        """Put a contact of our own (a canary) on a list, with Marketing Permission granted or refused."""

    def unsubscribe(self, list_name: str, address: str) -> Result:
        """Take one contact off one list; somebody whom Campaigns does not know counts as done."""

    def trigger(self, addresses: Sequence[str]) -> Triggered:
        """Trigger the workflow that stops for up to 200 people, once; raises `ZohoError` for all of them.

        After `Unreachable` nobody knows who entered. Only where the mapping names a workflow.
        """

    def is_refused(self, address: str) -> Result:
        """Return `done` when Campaigns says that the address is in Do-Not-Mail already, or unknown (2103).

        There is no call that only asks: this enters the address into Do-Not-Mail if it was not there.
        """

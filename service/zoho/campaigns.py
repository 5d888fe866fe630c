"""Zoho Campaigns v1.1 as the reconciler needs it: members, permissions, outcomes; refuse, and prove it.

Implements the port's `Campaigns` by facts `zoho-campaigns` sections 1 to 3. Addresses travel in form
bodies only. `donotmail_resub`, which brings somebody back from Do-Not-Mail, is sent by `permit` alone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from service.errors import Misconfigured, QuotaExhausted, Unreachable, ZohoError
from service.policy import ZohoMapping
from service.reconciler.audit.fields import LabelField
from service.reconciler.port import NOBODY, ListMember, Member, Meter, Outcome, Result, Triggered
from service.zoho import contact_fields, envelopes, workflows
from service.zoho.crm_answers import scrub
from service.zoho.envelopes import Envelope, Row, text
from service.zoho.listings import BASE, Listings, Note
from service.zoho.mails import ZohoMails
from service.zoho.ranges import Ranges
from service.zoho.transport import Call, Transport
from service.zoho.wire import NO_ANSWER, Answer

UNKNOWN_CONTACT = {"2101", NOBODY}
"""Unsubscribing whom the list does not know; two pages of the documentation, two codes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailingList:
    """One list as Campaigns counts it."""

    key: str
    name: str
    active: int
    unsubscribed: int
    bounced: int


class ZohoCampaigns:
    """The Campaigns client of one organisation; errors are `ZohoError`s."""

    def __init__(
        self,
        transport: Transport,
        mapping: ZohoMapping,
        *,
        note: Note | None = None,
        ranges: Ranges | None = None,
    ) -> None:
        self._transport = transport
        self._listings = Listings(transport, note, ranges)
        self._mapping = mapping.campaigns
        self._keys = {entry.name: entry.key for entry in mapping.campaigns.lists}
        self.meter: Meter = transport.till.meter

    def lists(self) -> Sequence[MailingList]:
        """Return all lists of the organisation with their counts."""
        return [_mailing_list(row) for row in self._listings.rows("getmailinglists", {"sort": "asc"})]

    def mails(self) -> ZohoMails:
        """Return what was sent, and to whom."""
        return ZohoMails(self._listings)

    def contact_fields(self) -> Sequence[str]:
        """Return the labels of all contact fields, as Campaigns displays them."""
        return [found.label for found in self.described_fields()]

    def described_fields(self) -> Sequence[LabelField]:
        """Return all contact fields, with type and length where Campaigns tells them."""
        return contact_fields.read(self._transport)

    def unsubscribed_counts(self) -> Mapping[str, int]:
        """Return how many contacts each configured list has as unsubscribed, by its name."""
        names = {key: name for name, key in self._keys.items()}
        return {names[found.key]: found.unsubscribed for found in self.lists() if found.key in names}

    def members(self, list_name: str, status: Member) -> Iterator[ListMember]:
        """Yield every contact of one list in one status, to the true end."""
        return self._members(list_name, status, "asc")

    def left(self, list_name: str) -> Iterator[ListMember]:
        """Yield who has left one list, from its other end; by what it is ordered is documented nowhere."""
        return self._members(list_name, Member.UNSUBSCRIBED, "desc")

    def joined_lately(self, list_name: str) -> Iterator[str]:
        """Yield the addresses of those who joined one list lately; the time is documented nowhere."""
        params = {"listkey": self._key(list_name), "status": "recent", "sort": "desc"}
        for row in self._listings.rows("getlistsubscribers", params):
            if (address := text(row, "contact_email", "contactemailaddress")) is not None:
                yield address

    def permissions(self, granted: bool) -> Iterator[str]:  # noqa: FBT001  # the port's signature
        """Yield the addresses in the segment that reads Marketing Permission back."""
        cvid = self._mapping.granted_segment if granted else self._mapping.refused_segment
        for row in self._listings.rows("getsegmentcontacts", {"cvid": cvid}):
            if (address := text(row, "contact_email", "contactemailaddress")) is not None:
                yield address

    def outcomes(self, since: datetime | None = None) -> Iterator[Outcome]:
        """Yield opt-outs, complaints and bounces of sent campaigns, each once per campaign and address.

        An A/B test's children count as their campaign. With `since`, what certainly happened before is
        left out, and so are campaigns sent more than 120 days before it.
        """
        return self._listings.outcomes(since)

    def departures(self, sent_since: datetime) -> Iterator[Outcome]:
        """Yield opt-outs and complaints of the campaigns sent since, each once per campaign and address."""
        return self._listings.departures(sent_since)

    def subscribe(self, list_name: str, address: str, fields: Mapping[str, str] | None = None) -> Result:
        """Add or update one contact on one list; with a sign-up form Campaigns asks the person first.

        It would bring back whom the list has as unsubscribed, so the caller answers for the consent.
        `fields` are values by display label. Never repeated: a lost answer is the code UNREACHABLE.
        """
        target = f"campaigns/subscribe/{list_name}"
        return self._act(target, lambda: self._subscribe(list_name, address, fields or {}), _is_ok)

    def unsubscribe(self, list_name: str, address: str) -> Result:
        """Take one contact off one list; somebody whom Campaigns does not know counts as done."""
        target = f"campaigns/unsubscribe/{list_name}"
        form = {"listkey": self._key(list_name), "contactinfo": self._contact(address)}
        return self._act(target, lambda: self._post("json/listunsubscribe", form), _is_ok_or_unknown)

    def do_not_mail(self, address: str) -> Result:
        """Put one address into Do-Not-Mail; being there already, or unknown to Campaigns, counts as done."""
        return self._act("campaigns/do-not-mail", lambda: self._do_not_mail(address), _is_kept_out)

    def refuse(self, address: str, lists: Sequence[str], *, active_on: str | None) -> Sequence[Result]:
        """Write the refusal so that no step undoes another; a step that fails stops none.

        The permission field is written first and only on a list where the contact is active: the same call
        would subscribe anybody else again. Then every list is left, then Do-Not-Mail is entered.
        """
        results = []
        if active_on is not None:
            fields = {self._mapping.permission_label: self._mapping.refused}
            results.append(
                self._act("campaigns/permission", lambda: self._subscribe(active_on, address, fields), _is_ok)
            )
        results += [self.unsubscribe(name, address) for name in lists]
        results.append(self.do_not_mail(address))
        return results

    def permit(self, address: str, lists: Sequence[str], *, rejoin: bool = False) -> Sequence[Result]:
        """Write the permission on each list and join it; `rejoin` brings back whom Do-Not-Mail holds.

        The caller answers for a newer consent. A sign-up form of the list asks the person once more.
        """
        fields = {self._mapping.permission_label: self._mapping.granted}

        def join(name: str) -> Result:
            target = f"campaigns/permit/{name}"
            return self._act(target, lambda: self._subscribe(name, address, fields, rejoin=rejoin), _is_ok)

        return [join(name) for name in lists]

    def place(self, list_name: str, address: str, *, granted: bool) -> Result:
        """Put a contact of our own on a list, with Marketing Permission granted or refused."""
        value = self._mapping.granted if granted else self._mapping.refused
        return self.subscribe(list_name, address, {self._mapping.permission_label: value})

    def trigger(self, addresses: Sequence[str]) -> Triggered:
        """Trigger the mapping's workflow for up to 200 people; raises as `workflows.trigger` does."""
        workflow = self._mapping.workflow
        if workflow is None:
            raise Misconfigured("policies/zoho.toml names no workflow; add [campaigns.workflow]")
        listkey = None if workflow.list is None else self._key(workflow.list)
        return workflows.trigger(self._transport, workflow, listkey, addresses)

    def is_refused(self, address: str) -> Result:
        """Return `done` when Campaigns says that the address is in Do-Not-Mail already, or does not know it.

        There is no call that asks; repeating the idempotent one and reading "already" is the documented way.
        """
        return self._act("campaigns/do-not-mail", lambda: self._do_not_mail(address), _was_kept_out)

    def _members(self, list_name: str, status: Member, sort: str) -> Iterator[ListMember]:
        params = {"listkey": self._key(list_name), "status": status.value, "sort": sort}
        for row in self._listings.rows("getlistsubscribers", params):
            if (address := text(row, "contact_email", "contactemailaddress")) is not None:
                yield ListMember(list_name=list_name, address=address, status=status)

    def _key(self, list_name: str) -> str:
        if list_name not in self._keys:
            raise Misconfigured(
                f"policies/zoho.toml has no list {list_name!r}; add it under [[campaigns.lists]]"
            )
        return self._keys[list_name]

    def _contact(self, address: str, fields: Mapping[str, str] | None = None) -> str:
        """Return `contactinfo`: real JSON, which every client sends, by display label."""
        return msgspec.json.encode({self._mapping.address_label: address, **(fields or {})}).decode()

    def _subscribe(
        self, list_name: str, address: str, fields: Mapping[str, str], *, rejoin: bool = False
    ) -> Answer:
        form = {"listkey": self._key(list_name), "contactinfo": self._contact(address, fields)}
        if rejoin:
            form["donotmail_resub"] = "true"
        return self._post("json/listsubscribe", form, repeatable=False)

    def _do_not_mail(self, address: str) -> Answer:
        return self._post("json/contactdonotmail", {"contactinfo": self._contact(address)})

    def _post(self, endpoint: str, form: Mapping[str, str], *, repeatable: bool = True) -> Answer:
        call = Call(
            method="POST",
            path=BASE + endpoint,
            endpoint=endpoint,
            form={"resfmt": "JSON", **form},
            repeatable=repeatable,
        )
        return self._transport.send(call)

    @staticmethod
    def _act(target: str, send: Callable[[], Answer], is_done: Callable[[Envelope], bool]) -> Result:
        """Return how one write ended; a `ZohoError` becomes a result, so that the next step still runs."""
        try:
            answer = send()
            envelope = envelopes.read(answer, target)
        except ZohoError as error:
            retry = isinstance(error, Unreachable | QuotaExhausted)
            return Result(
                target=target,
                done=False,
                code=error.code,
                answer_sha256=NO_ANSWER,
                retry=retry,
                reason=str(error),
                until=error.until if isinstance(error, QuotaExhausted) else None,
            )
        return Result(
            target=target,
            done=is_done(envelope),
            code=envelope.code,
            answer_sha256=answer.sha256,
            reason=scrub(envelope.message),
        )


def _is_ok(envelope: Envelope) -> bool:
    return envelope.ok


def _is_ok_or_unknown(envelope: Envelope) -> bool:
    return envelope.ok or envelope.code in UNKNOWN_CONTACT


def _says_already(envelope: Envelope) -> bool:
    """Return whether this was a repetition: a first and a second Do-Not-Mail differ in text alone."""
    return "already" in envelope.message.lower()


def _is_kept_out(envelope: Envelope) -> bool:
    return envelope.ok or _was_kept_out(envelope)


def _was_kept_out(envelope: Envelope) -> bool:
    return _says_already(envelope) or envelope.code == NOBODY


def _mailing_list(row: Row) -> MailingList:
    def count(name: str) -> int:
        found = text(row, name) or "0"
        return int(found) if found.isdecimal() else 0

    return MailingList(
        key=text(row, "listkey") or "",
        name=text(row, "listname") or "",
        active=count("noofcontacts"),
        unsubscribed=count("noofunsubcnt"),
        bounced=count("noofbouncecnt"),
    )

"""The organisation's rules as data: purposes, forms, field mapping, enforcement, law.

Reads `policies/*.toml` and `policies/jurisdictions/*.toml`, refuses what it does not understand
with the file's name, and digests the whole set, so that a decision can name the rules it was
made under. Apart from reading files it is pure.
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeVar

import holidays
import msgspec

from service.consent import Rules
from service.errors import Misconfigured, NotFound


T = TypeVar("T")
_SATURDAY = 5  # date.weekday()


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of a policy file: unknown keys are refused."""


class Controller(Strict, kw_only=True):
    """Who is responsible; printed in notices, bundles and mails."""

    id: str
    name: str
    contact: str


class Purpose(Strict, kw_only=True):
    """One purpose that people can consent to."""

    title: str
    description: str = ""
    double_opt_in: bool = False


class Form(Strict, kw_only=True):
    """One place where consent is given; `notice` is the exact text beside the control."""

    purpose: str
    title: str
    notice: str
    notice_version: str
    language: str
    controls: tuple[str, ...] = ("tick", "button")
    allowed_origins: tuple[str, ...] = ()
    required_evidence: tuple[str, ...] = ("page_url", "control")
    thanks: str = "Thank you. Your choice has been recorded."

    @property
    def notice_sha256(self) -> str:
        """Return the hex SHA-256 of the notice's UTF-8 text: the name of what was shown."""
        return hashlib.sha256(self.notice.encode()).hexdigest()


class Module(Strict, kw_only=True):
    """One CRM module whose records carry addresses; `emails` are API names of its e-mail fields."""

    name: str
    emails: tuple[str, ...]
    country: str | None = None


class Crm(Strict, kw_only=True):
    """Which CRM field says stop (true means stop), and which tell since when and how."""

    opt_out_field: str
    mode_field: str | None = None
    time_field: str | None = None
    modules: tuple[Module, ...]


class CampaignsList(Strict, kw_only=True):
    """One mailing list, its purpose, and the CRM checkbox that decides who should be on it."""

    name: str
    key: str
    purpose: str
    topic: str | None = None
    view_field: str | None = None


class Campaigns(Strict, kw_only=True):
    """How Marketing Permission is written and read back; granted means go."""

    address_label: str
    permission_label: str
    granted: str
    refused: str
    granted_segment: str
    refused_segment: str
    lists: tuple[CampaignsList, ...]


class ZohoMapping(Strict, kw_only=True):
    """`zoho.toml`: `governs` is the purpose that Email_Opt_Out and Marketing Permission stand for."""

    governs: str
    crm: Crm
    campaigns: Campaigns


Choice = Literal["leave", "report", "stop"]


class WithoutConsent(Strict, kw_only=True):
    """What happens to an address that a product permits while the ledger knows no permission."""

    unknown: Choice
    pending: Choice
    expired: Choice


class Enforcement(Strict, kw_only=True):
    """`enforcement.toml`: evidence, thresholds, and the limits of one run."""

    weakest_grade: str
    soft_bounce_limit: int
    soft_bounce_days: int
    largest_shrink: float
    without_consent: dict[str, WithoutConsent]

    def choice(self, jurisdiction: str, state: str) -> Choice:
        """Return what to do about an address in `state` that a product permits."""
        table = self.without_consent.get(jurisdiction, self.without_consent["default"])
        choice: Choice = getattr(table, state)
        return choice


class Deadline(Strict, kw_only=True):
    """By when mail must have stopped after a withdrawal was received; exactly one unit is given."""

    id: str
    business_days: int | None = None
    days: int | None = None
    hours: int | None = None
    law: str
    citation: str
    confidence: Literal["primary", "secondary", "memory"]
    status: Literal["draft", "active", "retired"]
    verified_by: str = ""

    def ends(self, received_at: datetime, calendar: str) -> datetime:
        """Return the moment (UTC) when this deadline passes; `calendar` is an ISO country code.

        Business days follow the public holidays of the country and end at midnight UTC.
        """
        if self.hours is not None:
            return received_at + timedelta(hours=self.hours)
        if self.days is not None:
            return received_at + timedelta(days=self.days)
        day = _after_business_days(received_at.date(), self.business_days or 0, calendar)
        return datetime.combine(day + timedelta(days=1), time(), tzinfo=received_at.tzinfo)


class Jurisdiction(Strict, kw_only=True):
    """`jurisdictions/<code>.toml`: names as CRM writes the country, mailbox domains, deadlines."""

    code: str
    title: str
    calendar: str = ""
    names: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    deadlines: tuple[Deadline, ...] = ()


class PolicySet(msgspec.Struct, frozen=True, kw_only=True):
    """All rules of one organisation; `digest` is the SHA-256 over every file's name and bytes."""

    controller: Controller
    purposes: dict[str, Purpose]
    forms: dict[str, Form]
    zoho: ZohoMapping
    enforcement: Enforcement
    jurisdictions: dict[str, Jurisdiction]
    digest: bytes

    def form(self, name: str) -> Form:
        """Return a form, or raise `NotFound` that does not repeat the name back."""
        if name not in self.forms:
            raise NotFound("no form of this name is declared; see policies/purposes.toml for those that are")
        return self.forms[name]

    def rules(self, purpose: str) -> Rules:
        """Return the parameters of the fold for one purpose."""
        return Rules(
            weakest_grade=self.enforcement.weakest_grade,
            double_opt_in=self.purposes[purpose].double_opt_in,
            soft_bounce_limit=self.enforcement.soft_bounce_limit,
            soft_bounce_days=self.enforcement.soft_bounce_days,
        )

    def jurisdiction(self, country: str | None) -> str:
        """Return the code for a country as CRM writes it; "unknown" where none fits."""
        wanted = (country or "").strip().casefold()
        for code, rules in self.jurisdictions.items():
            if wanted and wanted in (code.casefold(), *(n.casefold() for n in rules.names)):
                return code
        return "unknown"

    def stop_by(
        self, received_at: datetime, jurisdiction: str, *, address: str = ""
    ) -> tuple[datetime, Deadline]:
        """Return when mail must have stopped, and under which rule: the earliest that applies.

        Where the country is unknown, or its law names no number of days, every rule could apply.
        The mailbox providers' rules apply to addresses on their domains. Rules from memory and
        retired ones do not count.
        """
        ends = [(d.ends(received_at, j.calendar), d) for j, d in self._deadlines(jurisdiction, address)]
        return min(ends, key=lambda pair: pair[0])

    def _deadlines(self, jurisdiction: str, address: str) -> Iterable[tuple[Jurisdiction, Deadline]]:
        domain = address.rpartition("@")[2].casefold()
        known = jurisdiction in self.jurisdictions and bool(self.jurisdictions[jurisdiction].deadlines)
        for rules in self.jurisdictions.values():
            if not known or rules.code == jurisdiction or domain in rules.domains:
                for deadline in rules.deadlines:
                    if deadline.confidence != "memory" and deadline.status != "retired":
                        yield rules, deadline


def load(folder: Path) -> PolicySet:
    """Return the policy set of `folder`; raises `Misconfigured` naming the file and what is wrong."""
    files = sorted([*folder.glob("*.toml"), *folder.glob("jurisdictions/*.toml")])
    raw = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    purposes = _decode(raw, "purposes.toml", _Purposes)
    laws = [_decode(raw, name, Jurisdiction) for name in raw if name.startswith("jurisdictions/")]
    found = PolicySet(
        controller=purposes.controller,
        purposes=purposes.purposes,
        forms=purposes.forms,
        zoho=_decode(raw, "zoho.toml", ZohoMapping),
        enforcement=_decode(raw, "enforcement.toml", Enforcement),
        jurisdictions={law.code: law for law in laws},
        digest=_digest(raw),
    )
    _check(found)
    return found


class _Purposes(Strict, kw_only=True):
    controller: Controller
    purposes: dict[str, Purpose]
    forms: dict[str, Form]


def _decode(raw: Mapping[str, bytes], name: str, kind: type[T]) -> T:
    if name not in raw:
        raise Misconfigured(f"policies/{name} is missing; start from the one that ships with the service")
    try:
        return msgspec.toml.decode(raw[name], type=kind)
    except msgspec.DecodeError as error:
        raise Misconfigured(f"policies/{name} cannot be used: {error}") from None


def _digest(raw: Mapping[str, bytes]) -> bytes:
    lines = (f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(raw.items()))
    return hashlib.sha256("".join(lines).encode()).digest()


def _check(found: PolicySet) -> None:
    """Refuse a set whose files name purposes that do not exist."""
    named = {f"form {name}": form.purpose for name, form in found.forms.items()}
    named |= {f"list {entry.name}": entry.purpose for entry in found.zoho.campaigns.lists}
    named["zoho.toml governs"] = found.zoho.governs
    for where, purpose in named.items():
        if purpose not in found.purposes:
            raise Misconfigured(
                f"{where} names the purpose {purpose!r}, which purposes.toml does not declare"
            )
    if "default" not in found.enforcement.without_consent:
        raise Misconfigured("enforcement.toml needs a table [without_consent.default]")


@lru_cache(maxsize=4096)
def _after_business_days(day: date, count: int, calendar: str) -> date:
    for _ in range(count):
        day += timedelta(days=1)
        while day.weekday() >= _SATURDAY or day in _holidays(calendar):
            day += timedelta(days=1)
    return day


@lru_cache(maxsize=64)
def _holidays(calendar: str) -> Mapping[date, str]:
    """Return the public holidays of an ISO country code, expanded as years are asked for."""
    return holidays.country_holidays(calendar) if calendar else {}

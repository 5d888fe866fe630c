"""The organisation's rules as data: purposes, forms, field mapping, enforcement, law.

Reads `policies/*.toml` and `policies/jurisdictions/*.toml`, refuses what it does not understand with the
file's name and line, and digests the whole set, so that a decision can name the rules it was made under.
Apart from reading files it is pure. `law` has the kinds of rules, `places` who is where, `judging` turns
both into the parameters of the fold, `checking` says all that is wrong at once.
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from functools import cached_property
from pathlib import Path

import msgspec

from service.consent import Event, Rules
from service.errors import Misconfigured, NotFound
from service.policy import files as reading
from service.policy.checking import Purposes, contradictions
from service.policy.files import Files, UnusableError
from service.policy.judging import demanded, fold_rules, served
from service.policy.law import Deadline, Jurisdiction
from service.policy.places import UNKNOWN, Atlas, Place
from service.policy.shapes import (
    Campaigns,
    CampaignsList,
    Controller,
    Crm,
    Enforcement,
    FieldMapping,
    Form,
    Module,
    Purpose,
    WithoutConsent,
    Workflow,
    ZohoMapping,
)

__all__ = [
    "UNKNOWN",
    "Campaigns",
    "CampaignsList",
    "Controller",
    "Crm",
    "Deadline",
    "Enforcement",
    "FieldMapping",
    "Form",
    "Jurisdiction",
    "Module",
    "Place",
    "PolicySet",
    "Purpose",
    "Workflow",
    "ZohoMapping",
    "load",
    "load_files",
]


class PolicySet(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """All rules of one organisation; `digest` is the SHA-256 over every file's name and bytes, `files`."""

    controller: Controller
    purposes: dict[str, Purpose]
    forms: dict[str, Form]
    zoho: ZohoMapping
    enforcement: Enforcement
    jurisdictions: dict[str, Jurisdiction]
    digest: bytes
    files: dict[str, bytes] = msgspec.field(default_factory=dict)

    def form(self, name: str) -> Form:
        """Return a form, or raise `NotFound` that does not repeat the name back."""
        if name not in self.forms:
            raise NotFound("no form of this name is declared; see policies/purposes.toml for those that are")
        return self.forms[name]

    def rules(self, purpose: str, jurisdiction: str = UNKNOWN) -> Rules:
        """Return the parameters of the fold for one purpose and place; unknown: the strictest of all."""
        made = self._rules.get((purpose, jurisdiction))
        if made is None:
            made = fold_rules(
                self.purposes[purpose],
                self.enforcement,
                self.atlas.chain(jurisdiction),
                self.jurisdictions.values(),
                policy=self.digest.hex(),
            )
            self._rules[purpose, jurisdiction] = made
        return made

    def demands(self, purpose: str | None) -> Mapping[str, str]:
        """Return the evidence without which a live grant given in words is refused, each with who asks.

        That is what enforcement.toml asks for, and the forms of the purpose. What the law asks for on top
        of that is in `rules`: a grant without it is recorded, and does not count.
        """
        found = self._demands.get(purpose)
        if found is None:
            found = self._demands[purpose] = self._demanded(purpose)
        return found

    def form_demands(self, name: str, day: date) -> Mapping[str, str]:
        """Return the evidence that a grant through a form must bring on a day, each with who asks.

        That is what the form itself asks for, and the law of every place whose people are asked by it.
        """
        form = self.form(name)
        own = dict.fromkeys(form.required_evidence, f"forms.{name}.required_evidence")
        laws = served(form.serves, self.jurisdictions)
        return {**demanded((rule for law in laws for rule in law.rules), day), **own}

    def _demanded(self, purpose: str | None) -> Mapping[str, str]:
        forms = {name: form for name, form in self.forms.items() if form.purpose == purpose}
        asked = {name: f"forms.{form}" for form, told in forms.items() for name in told.required_evidence}
        if not forms:
            asked = dict.fromkeys(self.enforcement.required_without_form, "enforcement.required_without_form")
        always = dict.fromkeys(self.enforcement.required_evidence, "enforcement.required_evidence")
        return {**always, **asked}

    def jurisdiction(self, country: str | None, state: str | None = None) -> str:
        """Return the code for a country and state as CRM writes them; "unknown" where none fits."""
        return self.atlas.code(country, state)

    def place_of(self, events: Iterable[Event], crm: str | None = None) -> Place:
        """Return where the person of these events is: by events, then CRM, then the address's domain."""
        return self.atlas.place_of(events, crm)

    def stop_by(
        self, received_at: datetime, jurisdiction: str, *, address: str | None = ""
    ) -> tuple[datetime, Deadline]:
        """Return when mail must have stopped, and under which rule: the earliest that applies.

        Where the country is unknown, or its law names no number of days, every rule could apply.
        The mailbox providers' rules apply to addresses on their domains, and where the address is not
        at hand (None). Rules from memory, retired ones, and those that were not law then do not count.
        """
        return self.deadlines(received_at, jurisdiction, address=address)[0]

    def deadlines(
        self, received_at: datetime, jurisdiction: str, *, address: str | None = ""
    ) -> list[tuple[datetime, Deadline]]:
        """Return every deadline to stop that applies, as `stop_by` says, the strictest first."""
        domain = None if address is None else address.rpartition("@")[2].casefold()
        asked = (
            jurisdiction,
            domain if domain is None or domain in self._mailboxes else "",
            received_at.date(),
        )
        applying = self._applying.get(asked)
        if applying is None:
            applying = self._applying[asked] = self._in_effect(*asked)
        ends = [(d.ends(received_at, j.days), d) for j, d in applying]
        return sorted(ends, key=lambda pair: pair[0])

    @cached_property
    def atlas(self) -> Atlas:
        """Return who knows which country is which."""
        return Atlas(self.jurisdictions)

    @cached_property
    def _rules(self) -> dict[tuple[str, str], Rules]:
        return {}

    @cached_property
    def _demands(self) -> dict[str | None, Mapping[str, str]]:
        return {}

    @cached_property
    def _mailboxes(self) -> frozenset[str]:
        return frozenset(domain for one in self.jurisdictions.values() for domain in one.domains)

    @cached_property
    def _applying(self) -> dict[tuple[str, str | None, date], list[tuple[Jurisdiction, Deadline]]]:
        """Deadlines that were asked for before: a comparison asks for hundreds of thousands of people."""
        return {}

    def _in_effect(
        self, jurisdiction: str, domain: str | None, day: date
    ) -> list[tuple[Jurisdiction, Deadline]]:
        counted = [(j, d) for j, d in self._deadlines(jurisdiction, domain) if d.effective(day)]
        return counted or list(self._deadlines(UNKNOWN, ""))

    def _deadlines(self, jurisdiction: str, domain: str | None) -> Iterable[tuple[Jurisdiction, Deadline]]:
        chain = self.atlas.chain(jurisdiction)
        known = any(one.counted for one in chain)
        for rules in self.jurisdictions.values():
            provider = bool(rules.domains) and (domain is None or domain in rules.domains)
            if not known or provider or rules in chain:
                yield from ((rules, deadline) for deadline in rules.counted)


def load(folder: Path) -> PolicySet:
    """Return the policy set of `folder`; raises `Misconfigured` naming file, line and what is wrong."""
    return load_files(reading.read(folder))


def load_files(files: Files) -> PolicySet:
    """Return the policy set of these files, as `load` does."""
    try:
        return _assemble(files)
    except UnusableError as error:
        raise Misconfigured(str(error)) from None


def _assemble(files: Files) -> PolicySet:
    purposes = reading.decode(files, "purposes.toml", Purposes)
    zoho = reading.decode(files, "zoho.toml", ZohoMapping)
    enforcement = reading.decode(files, "enforcement.toml", Enforcement)
    laws = {name: reading.read_law(files, name) for name in reading.law_files(files)}
    for problem in contradictions(files, purposes, zoho, enforcement, laws):
        raise UnusableError(problem)
    jurisdictions = {law.code: law for law in laws.values()}
    return PolicySet(
        controller=purposes.controller,
        purposes=purposes.purposes,
        forms=purposes.forms,
        zoho=zoho,
        enforcement=_inherited(enforcement, Atlas(jurisdictions), jurisdictions),
        jurisdictions=jurisdictions,
        digest=reading.digest(files),
        files=dict(files),
    )


def _inherited(enforcement: Enforcement, atlas: Atlas, codes: Iterable[str]) -> Enforcement:
    """Return the enforcement in which a country has the choices of what it lies within."""
    told = enforcement.without_consent
    nearest: dict[str, WithoutConsent] = {}
    for code in codes:
        for one in reversed(atlas.chain(code)):
            if one.code in told:
                nearest[code] = told[one.code]
    return msgspec.structs.replace(enforcement, without_consent={**told, **nearest})

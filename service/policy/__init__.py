"""The organisation's rules as data: purposes, forms, field mapping, enforcement, law.

Reads `policies/*.toml` and `policies/jurisdictions/*.toml`, refuses what it does not understand
with the file's name, and digests the whole set, so that a decision can name the rules it was
made under. Apart from reading files it is pure.
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from service.consent import Rules
from service.errors import Misconfigured, NotFound
from service.policy.law import Deadline, Jurisdiction
from service.policy.shapes import (
    Campaigns,
    CampaignsList,
    Controller,
    Crm,
    Enforcement,
    Form,
    Module,
    Purpose,
    Strict,
    ZohoMapping,
)

__all__ = [
    "Campaigns",
    "CampaignsList",
    "Controller",
    "Crm",
    "Deadline",
    "Enforcement",
    "Form",
    "Jurisdiction",
    "Module",
    "PolicySet",
    "Purpose",
    "ZohoMapping",
    "load",
]

T = TypeVar("T")


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
        known = jurisdiction in self.jurisdictions and bool(self.jurisdictions[jurisdiction].counted)
        for rules in self.jurisdictions.values():
            if not known or rules.code == jurisdiction or domain in rules.domains:
                yield from ((rules, deadline) for deadline in rules.counted)


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


class _Purposes(Strict, frozen=True, kw_only=True):
    controller: Controller
    purposes: dict[str, Purpose]
    forms: dict[str, Form]


def _decode(raw: Mapping[str, bytes], name: str, kind: type[T]) -> T:
    if name not in raw:
        raise Misconfigured(f"policies/{name} is missing; start from the one that ships with the service")
    try:
        return msgspec.toml.decode(raw[name], type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
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
    if not any(law.counted for law in found.jurisdictions.values()):
        raise Misconfigured(
            "policies/jurisdictions/ holds no deadline that counts, so that no withdrawal would have one; "
            "put back the files that ship with the service"
        )

"""From the mapping to select lists, and from CRM's rows to records. Pure.

Nothing here knows a field's name: `policies/zoho.toml` says which field stands for what.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import idna

from service.errors import Unreachable
from service.policy import ZohoMapping
from service.reconciler.port import CrmRecord

MODIFIED = "Modified_Time"
MODIFIER = "Modified_By"
CREATED = "Created_Time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What to ask of one module, and how to read a row of it."""

    module: str
    emails: Sequence[str]
    opt_out: str
    mode: str | None
    time: str | None
    country: str | None
    state: str | None
    views: Mapping[str, frozenset[str]]
    """By CRM checkbox: the lists whose view it decides."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the API names to select, each once; `id` first."""
        named = ("id", *self.emails, self.opt_out, self.mode, self.time, self.country)
        named += (self.state, MODIFIED, MODIFIER, CREATED, *self.views)
        return tuple(dict.fromkeys(name for name in named if name))

    def read(self, row: Mapping[str, Any], name_of: Callable[[str], str] = str) -> CrmRecord:
        """Return the record of a row; raises `Unreachable` where id or Modified_Time are missing.

        `name_of` turns the number of a user, where a row tells no more, into their name.
        """
        modified_at, who = moment(row.get(MODIFIED)), _who(row.get(MODIFIER))
        if modified_at is None or not row.get("id"):
            raise Unreachable(f"CRM sent a row of {self.module} without id or {MODIFIED}", code="UNREADABLE")
        return CrmRecord(
            module=self.module,
            record_id=str(row["id"]),
            addresses=tuple(text for name in self.emails if (text := _text(row.get(name)))),
            opted_out=_truth(row.get(self.opt_out)),
            modified_at=modified_at,
            unsubscribed_mode=_text(row.get(self.mode)) if self.mode else None,
            unsubscribed_at=moment(row.get(self.time)) if self.time else None,
            country=_text(row.get(self.country)) if self.country else None,
            state=_text(row.get(self.state)) if self.state else None,
            views=frozenset().union(*(lists for name, lists in self.views.items() if _truth(row.get(name)))),
            modified_by=None if who is None else name_of(who),
            created_at=moment(row.get(CREATED)),
            understood=_is_either(row.get(self.opt_out)),
        )


def layouts(mapping: ZohoMapping) -> dict[str, Layout]:
    """Return the layout of each mapped module, in the mapping's order."""
    views: dict[str, frozenset[str]] = {}
    for entry in mapping.campaigns.lists:
        if entry.view_field:
            views[entry.view_field] = views.get(entry.view_field, frozenset()) | {entry.name}
    return {
        module.name: Layout(
            module=module.name,
            emails=module.emails,
            opt_out=mapping.crm.opt_out_field,
            mode=mapping.crm.mode_field,
            time=mapping.crm.time_field,
            country=module.country,
            state=module.state,
            views=views,
        )
        for module in mapping.crm.modules
    }


def moment(text: object) -> datetime | None:
    """Return the UTC time of CRM's text (ISO 8601 with offset); None for nothing or another format."""
    if not isinstance(text, str) or not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo else None


def iso(at: datetime) -> str:
    """Return the text that CRM's headers and criteria take: whole seconds with an offset."""
    return at.astimezone(UTC).replace(microsecond=0).isoformat()


def same_address(one: str, other: str) -> bool:
    """Return whether two spellings reach one mailbox: case and an internationalised domain do not count."""
    return _plain(one) == _plain(other)


def spellings(address: str) -> list[str]:
    """Return how CRM may hold an address: as given, in lower case, its domain in ASCII or in letters."""
    local, _, domain = address.strip().lower().rpartition("@")
    try:
        letters = idna.decode(domain)
    except idna.IDNAError:
        letters = domain
    return list(dict.fromkeys([address.strip(), f"{local}@{domain}", _plain(address), f"{local}@{letters}"]))


def mailbox(address: str) -> str:
    """Return what two spellings of one mailbox have in common."""
    return _plain(address)


def _plain(address: str) -> str:
    local, _, domain = address.strip().casefold().rpartition("@")
    try:
        return f"{local}@{idna.encode(domain, uts46=True).decode()}"
    except idna.IDNAError:
        return f"{local}@{domain}"


def _text(value: object) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _truth(value: object) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == "true")


def _is_either(value: object) -> bool:
    """Return whether a checkbox holds what one can hold; an empty one is unticked."""
    return value is None or isinstance(value, bool) or str(value).lower() in ("true", "false", "")


def _who(value: object) -> str | None:
    """Return a user as CRM shows one: an object in JSON, their number in a file."""
    if isinstance(value, dict):
        return _text(value.get("name")) or _text(value.get("id"))
    return _text(value)

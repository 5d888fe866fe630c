"""Where a person is, as far as anybody tells: the event, then CRM, then the address's domain. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from service.consent import Event
from service.policy.law import Jurisdiction

UNKNOWN = "unknown"
ELSEWHERE = "elsewhere"
"""What stands for a country that CRM names and no rules know; where nothing is named, it is `UNKNOWN`."""
_CODE = 2  # letters of a country's code, and of a country-code domain


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A jurisdiction, and how we know; the strictest of all rules holds where it is `UNKNOWN`."""

    jurisdiction: str
    reason: str


_BY_EVENT = "the event tells the country"
_BY_CRM = "CRM tells the country"
_BY_DOMAIN = "the address ends in .{}"
_STRANGE = "the event tells a country for which there are no rules; the strictest hold"
_NO_RULES = "CRM tells a country for which there are no rules; the strictest hold"
_TORN = "records in CRM tell different countries; the strictest rules hold"
_NO_RULES_THERE = "the address ends in .{}, for which there are no rules; the strictest hold"
_NOBODY = "neither the event nor CRM nor the address tells a country; the strictest rules hold"


class Atlas:
    """The jurisdictions of a set, by name, by domain, and one within the other."""

    def __init__(self, jurisdictions: Mapping[str, Jurisdiction]) -> None:
        countries = [one for one in jurisdictions.values() if not one.domains]
        self._all = jurisdictions
        self._codes = {name.casefold(): one.code for one in countries for name in (one.code, *one.names)}
        self._states = {(one.within, name.casefold()): one.code for one in countries for name in one.states}
        self._tlds = {tld: one.code for one in countries for tld in one.tlds}
        self._mailboxes = {domain for one in jurisdictions.values() for domain in one.domains}

    def code(self, country: str | None, state: str | None = None) -> str:
        """Return the code for a country as somebody writes it, or of its state; `UNKNOWN` where none fits."""
        code = self._codes.get((country or "").strip().casefold(), UNKNOWN)
        return self._states.get((code, (state or "").strip().casefold()), code)

    def mirrored(self, country: str | None, state: str | None = None) -> str:
        """Return what is kept of a record's country and state: a code, `ELSEWHERE`, or `UNKNOWN` if empty."""
        code = self.code(country, state)
        return ELSEWHERE if code == UNKNOWN and (country or "").strip() else code

    def storable(self, country: str | None) -> str | None:
        """Return what of a country's name may be kept in the clear: a code, never free text."""
        if (code := self.code(country)) != UNKNOWN:
            return code
        text = (country or "").strip()
        return text.upper() if len(text) == _CODE and text.isascii() and text.isalpha() else None

    def hint(self, address: str | None) -> str | None:
        """Return the country-code domain of a folded address; a mailbox provider's domain is no country."""
        domain = (address or "").rpartition("@")[2].casefold()
        tld = domain.rpartition(".")[2]
        if domain in self._mailboxes or len(tld) != _CODE or not tld.isascii():
            return None
        return tld

    def place(self, *, country: str | None = None, crm: str | None = None, hint: str | None = None) -> Place:
        """Return where somebody is: by the event's country, CRM's, the domain's hint.

        `crm` is as the mirror has it: `UNKNOWN` where records contradict each other, None where none tells.
        """
        if country and country.strip():
            code = self.code(country)
            return Place(jurisdiction=code, reason=_STRANGE if code == UNKNOWN else _BY_EVENT)
        if crm == ELSEWHERE:
            return Place(jurisdiction=UNKNOWN, reason=_NO_RULES)
        if crm is not None:
            code = self.code(crm)
            return Place(jurisdiction=code, reason=_TORN if code == UNKNOWN else _BY_CRM)
        if hint in self._tlds:
            return Place(jurisdiction=self._tlds[hint], reason=_BY_DOMAIN.format(hint))
        return Place(jurisdiction=UNKNOWN, reason=_NO_RULES_THERE.format(hint) if hint else _NOBODY)

    def place_of(self, events: Iterable[Event], crm: str | None = None) -> Place:
        """Return where the person of these events is; the newest event that tells a country counts."""
        country: str | None = None
        hint: str | None = None
        for event in sorted(events, key=_told):
            country, hint = event.country or country, event.hint or hint
        return self.place(country=country, crm=crm, hint=hint)

    def chain(self, code: str) -> tuple[Jurisdiction, ...]:
        """Return a jurisdiction and those that it lies within, the nearest first; none if it is not known."""
        found: list[Jurisdiction] = []
        while code in self._all and self._all[code] not in found:
            found.append(self._all[code])
            code = found[-1].within
        return tuple(found)


def _told(event: Event) -> int:
    return event.index

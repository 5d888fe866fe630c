"""Gotcha 2: the field mapping that `policies/zoho.toml` declares, against both products' metadata. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from service.policy import FieldMapping, ZohoMapping
from service.reconciler.audit.point import Figure, Point, Verdict


class Trouble(StrEnum):
    """What can be wrong with a mapped field; the value is what a person reads."""

    MISSING = "missing"
    WRONG_TYPE = "wrong type"
    TOO_SHORT = "too short"
    READ_ONLY = "read-only"
    HIDDEN = "hidden from a profile"
    ONE_WAY = "one way only"


Told = tuple[Trouble, str, str]
"""What is wrong, in detail, and what to do about it."""

HARMFUL = {Trouble.MISSING, Trouble.WRONG_TYPE, Trouble.READ_ONLY}
"""With these a value never arrives; with the others it arrives for some, or in part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrmField:
    """A CRM field by its metadata; `length` 0 where CRM tells none, `hidden_from` names profiles."""

    name: str
    type: str
    length: int = 0
    writable: bool = True
    hidden_from: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelField:
    """A contact field of Campaigns by its metadata; type "" and length 0 where Campaigns tells none."""

    label: str
    type: str = ""
    length: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What both products say about their fields: CRM's by module and name, Campaigns' by label."""

    crm: Mapping[str, Mapping[str, CrmField]]
    campaigns: Mapping[str, LabelField]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong with one mapped field of one module, and where it is mended."""

    module: str
    crm: str
    label: str
    trouble: Trouble
    detail: str
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """One declared field of one module, and what is wrong with it."""

    module: str
    declared: FieldMapping
    faults: tuple[Fault, ...] = field(default=())


def compare(mapping: ZohoMapping, found: Metadata) -> tuple[Mapped, ...]:
    """Return every declared field of every module with its faults."""
    return tuple(
        Mapped(module=module.name, declared=one, faults=tuple(_faults(module.name, one, found)))
        for module in mapping.crm.modules
        for one in mapping.fields
        if not one.modules or module.name in one.modules
    )


def _faults(module: str, one: FieldMapping, found: Metadata) -> Iterator[Fault]:
    """Yield what is wrong with one field: in CRM, in Campaigns, between them."""
    told = [
        *_of_crm(module, one, found.crm.get(module, {}).get(one.crm)),
        *(_of_campaigns(one, found.campaigns) if one.campaigns else ()),
        *_between(one),
    ]
    for trouble, detail, advice in told:
        yield Fault(
            module=module,
            crm=one.crm,
            label=one.campaigns,
            trouble=trouble,
            detail=detail,
            advice=advice,
        )


def _of_crm(module: str, one: FieldMapping, crm: CrmField | None) -> Iterator[Told]:
    where = f"CRM: Setup > Customization > Modules and Fields > {module} > {one.crm}"
    if crm is None:
        yield Trouble.MISSING, f"CRM has no field {one.crm} in {module}", f"{where}: create it"
        return
    if one.type and crm.type != one.type:
        detail = f"it is {crm.type}, the mapping says {one.type}"
        yield Trouble.WRONG_TYPE, detail, f"{where}: make one of the right type and map that"
    if one.length and crm.length and crm.length < one.length:
        detail = f"it holds {crm.length} characters, the mapping needs {one.length}; longer ones are dropped"
        yield Trouble.TOO_SHORT, detail, f"{where}: raise its length"
    if one.writes_crm and not crm.writable:
        detail = "CRM lets nobody write it through the API"
        yield Trouble.READ_ONLY, detail, f"{where}: map a field that can be written"
    if crm.hidden_from:
        detail = f"hidden from {', '.join(crm.hidden_from)}"
        yield Trouble.HIDDEN, detail, "CRM: Setup > Users and Control > Security Control > Profiles: show it"


def _of_campaigns(one: FieldMapping, known: Mapping[str, LabelField]) -> Iterator[Told]:
    where = "Campaigns: Contacts > Contact Fields"
    found = known.get(one.campaigns)
    if found is None:
        yield Trouble.MISSING, *_no_label(one.campaigns, known, where)
        return
    if one.campaigns_type and found.type and found.type != one.campaigns_type.lower():
        detail = f'"{found.label}" is {found.type} in Campaigns, the mapping says {one.campaigns_type}'
        yield Trouble.WRONG_TYPE, detail, f"{where}: make one of the right type and map that"
    if one.writes_campaigns and one.length and found.length and found.length < one.length:
        detail = (
            f'"{found.label}" holds {found.length} characters in Campaigns, the mapping needs {one.length}; '
            "longer values are dropped in silence"
        )
        yield Trouble.TOO_SHORT, detail, f"{where}: make a longer one and map that"


def _no_label(label: str, known: Iterable[str], where: str) -> tuple[str, str]:
    """Return what is wrong where no field has this label, and what to do: it may be written otherwise."""
    near = next((one for one in known if one.casefold().split() == label.casefold().split()), None)
    if near is None:
        detail = f'Campaigns has no contact field "{label}"; values for it are dropped in silence'
        return detail, f'{where}: add "{label}", letter by letter'
    detail = f'Campaigns calls it "{near}", and compares letter by letter; values for "{label}" are dropped'
    return detail, f'{where}: rename it to "{label}", or write "{near}" in policies/zoho.toml'


def _between(one: FieldMapping) -> Iterator[Told]:
    if one.wants_both and not one.is_two_way:
        yield (
            Trouble.ONE_WAY,
            f"it goes {one.direction.replace('_', ' ')} alone, but the owner wants both",
            "Map it in the sync of the other direction too, or make one side its owner",
        )


def mapping(found: Sequence[Mapped]) -> Point:
    """Say what is wrong with the mapping, field by field."""
    faults = [fault for one in found for fault in one.faults]
    harmful = [fault for fault in faults if fault.trouble in HARMFUL]
    counted = {trouble: sum(fault.trouble is trouble for fault in faults) for trouble in Trouble}
    return Point(
        number=2,
        key="mapping",
        title="Field mapping, per direction",
        verdict=Verdict.FAIL if harmful else Verdict.WARN if faults else Verdict.PASS,
        people=0,
        oldest=None,
        amount=len(faults),
        unit=("defect", "defects"),
        summary=(
            f"{len(faults):,} of {len(found):,} mapped fields have something wrong with them."
            if faults
            else f"All {len(found):,} mapped fields exist in both products, with the right types."
        ),
        how="policies/zoho.toml against CRM's fields by module and profile, and Campaigns' contact fields.",
        advice=_advice(faults),
        figures=tuple(
            Figure(label=str(trouble), value=count, people=False)
            for trouble, count in counted.items()
            if count
        ),
    )


def _advice(faults: Iterable[Fault]) -> tuple[str, ...]:
    """Return what to do about each defect; one that several modules share is told once."""
    where: dict[tuple[str, str], list[str]] = {}
    for fault in faults:
        where.setdefault((fault.detail, fault.advice), []).append(f"{fault.module}.{fault.crm}")
    return tuple(f"{', '.join(names)}: {detail}. {todo}." for (detail, todo), names in where.items())

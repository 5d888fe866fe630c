"""Gotcha 2: the field mapping that `policies/zoho.toml` declares, against both products' metadata. Pure."""

from collections.abc import Iterator, Mapping, Sequence
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
class Metadata:
    """What both products say about their fields: CRM's by module and name, Campaigns' labels."""

    crm: Mapping[str, Mapping[str, CrmField]]
    labels: frozenset[str]


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

    def fault(trouble: Trouble, detail: str, advice: str) -> Fault:
        return Fault(
            module=module,
            crm=one.crm,
            label=one.campaigns,
            trouble=trouble,
            detail=detail,
            advice=advice,
        )

    crm = found.crm.get(module, {}).get(one.crm)
    where = f"CRM: Setup > Customization > Modules and Fields > {module} > {one.crm}"
    if crm is None:
        yield fault(Trouble.MISSING, f"CRM has no field {one.crm} in {module}", f"{where}: create it")
    else:
        yield from (fault(*told) for told in _of_crm(one, crm, where))
    if one.campaigns and one.campaigns not in found.labels:
        yield fault(
            Trouble.MISSING,
            f'Campaigns has no contact field "{one.campaigns}"; values for it are dropped in silence',
            f"Campaigns: Contacts > Contact Fields: add {one.campaigns}, letter by letter",
        )


def _of_crm(one: FieldMapping, crm: CrmField, where: str) -> Iterator[tuple[Trouble, str, str]]:
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
    if one.wants_both and not one.is_two_way:
        detail = f"it goes {one.direction.replace('_', ' ')} alone, but the owner wants both"
        yield (
            Trouble.ONE_WAY,
            detail,
            "map it in the sync of the other direction too, or make one side its owner",
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
        summary=(
            f"{len(faults):,} of {len(found):,} mapped fields have something wrong with them."
            if faults
            else f"All {len(found):,} mapped fields exist in both products, with the right types."
        ),
        how="policies/zoho.toml against CRM's fields by module and profile, and Campaigns' contact fields.",
        advice=tuple(
            dict.fromkeys(f"{fault.module}.{fault.crm}: {fault.detail}. {fault.advice}." for fault in faults)
        ),
        figures=tuple(
            Figure(label=str(trouble), value=count, people=False)
            for trouble, count in counted.items()
            if count
        ),
    )

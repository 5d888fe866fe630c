"""The consent module that compliance adds to CRM: a processing basis and its details beside each record.

Implements facts `zoho-crm` section 2.7. Without the switch `crm.privacy_settings` the two fields do not
exist: they are dropped from writes, left out of answers and unknown to COQL.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from service.zoho.simulator import shelf
from service.zoho.simulator.clock import iso
from service.zoho.simulator.crm.gate import error_item
from service.zoho.simulator.world import World

BASIS, DETAILS = "Data_Processing_Basis", "Data_Processing_Basis_Details"
FLAGS = tuple(f"Contact_Through_{way}" for way in ("Email", "Phone", "Survey", "Social"))
TEXTS = (
    "Consent_Date",
    "Consent_Remarks",
    "Consent_Through",
    "Mail_Sent_Time",
    "Lawful_Reason",
    "Consent_EndsOn",
)
KIND = "consent"

_LAWFUL = (
    *("Not Applicable", "Legitimate Interests", "Contract"),
    *("Legal Obligation", "Vital Interests", "Public Interests"),
)
_CONSENT = {
    "waiting": ("Pending", "Waiting", "Obtained", "Not Responded"),
    "awaiting": ("Pending", "Awaiting", "Obtained", "Not Responded"),
}

Item = dict[str, object]


def is_on(world: World) -> bool:
    """Return whether the organisation has switched compliance on."""
    return world.on("crm.privacy_settings")


def picks(world: World) -> tuple[str, ...]:
    """Return the values of the basis, spelt as the switch says."""
    spelling = world.text("crm.basis_spelling")
    if spelling == "short":
        return (*_LAWFUL, *_CONSENT["waiting"])
    return (*_LAWFUL, *(f"Consent - {state}" for state in _CONSENT[spelling]))


def refusal(world: World, position: int, record: Mapping[str, Any]) -> Item | None:
    """Return the error of a basis that the picklist lacks or of details that are no object, None if fine."""
    if not is_on(world):
        return None
    details = record.get(DETAILS)
    if details is not None and not isinstance(details, dict):
        return _bad(position, DETAILS, expected_data_type="jsonobject")
    if record.get(BASIS) is not None and record[BASIS] not in picks(world):
        return _bad(position, BASIS, supported_values=picks(world))
    for name, value in (details or {}).items():
        path = f"{DETAILS}.{name}"
        if name == BASIS and value is not None and value not in picks(world):
            return _bad(position, path, supported_values=picks(world))
        if name in FLAGS and not isinstance(value, bool):
            return _bad(position, path, expected_data_type="boolean")
    return None


def keep(world: World, number: int, record: Mapping[str, Any], user: Item) -> None:
    """Write what a record says of its basis; the details' basis is the record's own as well."""
    if not is_on(world) or not {BASIS, DETAILS} & set(record):
        return
    kept = shelf.get(world.db, KIND, str(number)) or {BASIS: None, DETAILS: None}
    if BASIS in record:
        kept[BASIS] = record[BASIS]
    if (given := record.get(DETAILS)) is not None:
        kept[DETAILS] = _details(world, kept[DETAILS], given, user)
        kept[BASIS] = kept[DETAILS][BASIS] or kept[BASIS]
    elif DETAILS in record:
        kept[DETAILS] = None
    shelf.put(world.db, KIND, str(number), kept)


def of(world: World, number: int) -> Item:
    """Return both fields of a record, nothing without compliance."""
    if not is_on(world):
        return {}
    return {BASIS: None, DETAILS: None, **(shelf.get(world.db, KIND, str(number)) or {})}


def asked_for(world: World, number: int, names: Sequence[str]) -> Item:
    """Return those of the two fields that are among `names`."""
    wanted = {BASIS, DETAILS} & set(names)
    return {name: value for name, value in of(world, number).items() if name in wanted} if wanted else {}


def expression(world: World, column: str) -> str | None:
    """Return the SQL of a column of COQL that belongs here, None for another."""
    base, _, inner = column.partition(".")
    if not is_on(world) or base not in (BASIS, DETAILS):
        return None
    if base == BASIS and not inner:
        return _extract(f"$.{BASIS}")
    known = inner in (BASIS, "id", *FLAGS, *TEXTS, "Created_Time", "Modified_Time")
    if base == BASIS or (inner and not known):
        return None
    return _extract(f"$.{DETAILS}.{inner or 'id'}")


def shown(column: str, value: object) -> object:
    """Return the value of such a column as COQL shows it."""
    inner = column.partition(".")[2]
    if inner in FLAGS and value is not None:
        return bool(value)
    return {"id": value} if column == DETAILS and value is not None else value


def compared(column: str, value: str | int) -> object:
    """Return a value of a condition as it is stored."""
    return int(value == "true") if column.partition(".")[2] in FLAGS else value


def descriptions(world: World, like: Mapping[str, object]) -> list[Item]:
    """Return both fields as the metadata describes them, after the pattern of another field."""
    if not is_on(world):
        return []
    number = int(str(like["id"]))
    basis = {
        "id": str(number + 1001),
        "api_name": BASIS,
        "data_type": "picklist",
        "json_type": "string",
        "pick_list_values": [{"display_value": pick, "actual_value": pick} for pick in picks(world)],
    }
    lookup = {"module": {"api_name": "Consents"}, "display_label": "Data Processing Basis Details"}
    details = {
        "id": str(number + 1003),
        "api_name": DETAILS,
        "data_type": "consent_lookup",
        "json_type": "jsonobject",
        "lookup": lookup,
    }
    labelled = [{**one, "field_label": _label(one), "display_label": _label(one)} for one in (basis, details)]
    return [{**like, "unique": {}, "length": 120, "ui_type": 2, **one} for one in labelled]


def _label(one: Mapping[str, object]) -> str:
    return str(one["api_name"]).replace("_", " ")


def _details(world: World, before: Item | None, given: Mapping[str, Any], user: Item) -> Item:
    now = iso(world.clock.seconds())
    old = before or {
        "id": str(world.next_record_id()),
        "Owner": user,
        **dict.fromkeys(FLAGS, False),
        **dict.fromkeys((*TEXTS, BASIS)),
        "Created_Time": now,
        "Created_By": user,
    }
    written = {name: value for name, value in given.items() if name in (BASIS, *FLAGS, *TEXTS)}
    return {**old, **written, "Modified_Time": now, "Modified_By": user}


def _extract(path: str) -> str:
    return (
        f"(SELECT json_extract(CAST(body AS TEXT), '{path}') FROM documents"
        f" WHERE kind = '{KIND}' AND key = CAST(record.id AS TEXT))"
    )


def _bad(position: int, path: str, **more: object) -> Item:
    name = path.rpartition(".")[2]
    details = {**more, "api_name": name, "json_path": f"$.data[{position}].{path}"}
    return error_item("INVALID_DATA", "invalid data", details)

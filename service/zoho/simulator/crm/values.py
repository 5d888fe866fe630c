"""What may stand in a record that the API writes: types, lengths, and fields that only CRM itself fills."""

from collections.abc import Mapping, Sequence
from typing import Any

from service.zoho.simulator.crm.fields import MODULES, Field, Kind
from service.zoho.simulator.crm.gate import error_item
from service.zoho.simulator.world import World

Item = dict[str, object]


def refusals(world: World, module: str, position: int, record: Mapping[str, Any]) -> list[Item]:
    """Return the error of each field that may not be written so."""
    fields = MODULES[module]
    errors = (
        _refusal(world, fields[name], position, value)
        for name, value in record.items()
        if name in fields and name != "id"
    )
    return [error for error in errors if error is not None]


def one_of(errors: Sequence[Item]) -> Item | None:
    """Return a record's errors as one: itself, or MULTIPLE_OR_MULTI_ERRORS around several."""
    if len(errors) < 2:  # noqa: PLR2004 - several
        return errors[0] if errors else None
    message = "the record has more than one error"
    return error_item("MULTIPLE_OR_MULTI_ERRORS", message, {"errors": list(errors)})


def stored(module: str, record: Mapping[str, Any]) -> dict[str, object]:
    """Return what may be written of a record; names that the module lacks are dropped, as CRM does."""
    fields = MODULES[module]
    writable = {n: v for n, v in record.items() if n in fields and not fields[n].read_only}
    return {name: _column_value(fields[name].kind, value) for name, value in writable.items()}


def bad(position: int, name: str | None, expected: str) -> Item:
    """Return the error of a value that has the wrong type; without a name, of the whole record."""
    path = f"$.data[{position}]" + (f".{name}" if name else "")
    return error_item(
        "INVALID_DATA", "invalid data", {"expected_data_type": expected, "api_name": name, "json_path": path}
    )


def _refusal(world: World, field: Field, position: int, value: object) -> Item | None:
    name = field.api_name
    if field.read_only and world.text("crm.read_only_fields") == "refused":
        details = {"api_name": name, "json_path": f"$.data[{position}].{name}"}
        return error_item("INVALID_DATA", "the field is read only", details)
    if not field.read_only and isinstance(value, str) and len(value) > field.length:
        return _too_long(position, field)
    if isinstance(value, str) and field.picks and not field.read_only and value not in field.picks:
        return _no_pick(position, field)
    if value is not None and not field.read_only and not _fits(field, value):
        return bad(position, name, "boolean" if field.kind is Kind.BOOLEAN else str(field.kind))
    return None


def _too_long(position: int, field: Field) -> Item:
    path = f"$.data[{position}].{field.api_name}"
    details = {"api_name": field.api_name, "json_path": path, "maximum_length": field.length}
    return error_item("INVALID_DATA", "invalid data", details)


def _no_pick(position: int, field: Field) -> Item:
    path = f"$.data[{position}].{field.api_name}"
    details = {"api_name": field.api_name, "json_path": path, "supported_values": field.picks}
    return error_item("INVALID_DATA", "invalid data", details)


def _fits(field: Field, value: object) -> bool:
    match field.kind:
        case Kind.BOOLEAN:
            return isinstance(value, bool)
        case Kind.EMAIL:
            return isinstance(value, str) and value.count("@") == 1
        case Kind.USER:
            return isinstance(value, dict) and str(value.get("id")).isdigit()
        case _:
            return isinstance(value, str)


def _column_value(kind: Kind, value: Any) -> object:  # noqa: ANN401 - what JSON held, checked by _fits
    if kind is Kind.BOOLEAN:
        return int(bool(value))
    return int(value["id"]) if kind is Kind.USER and value is not None else value

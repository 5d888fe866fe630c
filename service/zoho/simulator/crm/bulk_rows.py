"""One row of a bulk write: from CSV cells to a record that is added or changed, or to the reason why not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.zoho.simulator import shelf
from service.zoho.simulator.crm.fields import MODULES, Kind, name_field
from service.zoho.simulator.crm.records import Author, add, change
from service.zoho.simulator.crm.rows import table
from service.zoho.simulator.crm.uniqueness import clash, find
from service.zoho.simulator.crm.values import refusals, stored
from service.zoho.simulator.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a row: ADDED, UPDATED, SKIPPED or UNPROCESSED; errors are `CODE-column`."""

    status: str
    record_id: str = ""
    errors: tuple[str, ...] = ()


def write_row(world: World, job: Mapping[str, Any], row: Sequence[str]) -> Outcome:
    """Write one row as the job's operation says."""
    resource, operation = job["resource"], job["operation"]
    module = resource["module"]
    record = _record(job, row)
    number = None if operation == "insert" else _existing(world, module, resource["find_by"], record)
    if number is None and operation == "update":
        return Outcome(status="SKIPPED", errors=(f"INVALID_DATA-{resource['find_by']}",))
    return _add(world, module, record) if number is None else _change(world, module, number, record)


def _add(world: World, module: str, record: Mapping[str, Any]) -> Outcome:
    if not record.get(name := name_field(module)):
        return Outcome(status="SKIPPED", errors=(f"MANDATORY_NOT_FOUND-{name}",))
    if errors := _errors(world, module, record, but=0):
        return Outcome(status="SKIPPED", errors=errors)
    number = add(world, module, stored(module, record), Author())
    return Outcome(status="ADDED", record_id=str(number))


def _change(world: World, module: str, number: int, record: Mapping[str, Any]) -> Outcome:
    if (held := shelf.get(world.db, "locked", str(number))) is not None:
        code = "NOT_APPROVED" if held.get("code") == "NOT_APPROVED" else "BLOCKED_RECORD"
        return Outcome(status="SKIPPED", record_id=str(number), errors=(f"{code}-id",))
    if errors := _errors(world, module, record, but=number):
        return Outcome(status="SKIPPED", record_id=str(number), errors=errors)
    mode = "Manual" if world.on("crm.api_optout_stamps_mode") else None
    change(world, module, number, stored(module, record), Author(mode=mode))
    return Outcome(status="UPDATED", record_id=str(number))


def _errors(world: World, module: str, record: Mapping[str, Any], *, but: int) -> tuple[str, ...]:
    errors = refusals(world, module, 0, record)
    if not errors and (same := clash(world, module, 0, record, but=but)) is not None:
        errors = [same]
    return tuple(_told(error) for error in errors)


def _told(error: Mapping[str, object]) -> str:
    details = error["details"]
    assert isinstance(details, dict), "every such error names its field"
    return f"{error['code']}-{details['api_name']}"


def _record(job: Mapping[str, Any], row: Sequence[str]) -> dict[str, Any]:
    fields = MODULES[job["resource"]["module"]]
    record: dict[str, Any] = {}
    for mapping in job["resource"]["field_mappings"]:
        name = mapping["api_name"]
        text = row[mapping["index"]] if "index" in mapping and mapping["index"] < len(row) else ""
        if text == "" and mapping.get("default_value"):
            text = str(mapping["default_value"]["value"])
        if text == "" and job["ignore_empty"]:
            continue
        record[name] = _cell(fields[name].kind, text)
    return record


def _cell(kind: Kind, text: str) -> object:
    if kind is Kind.BOOLEAN:
        return {"true": True, "false": False}.get(text.lower(), text)
    if kind is Kind.USER:
        return {"id": text}
    return text or None


def _existing(world: World, module: str, find_by: str, record: Mapping[str, Any]) -> int | None:
    value = record.get(find_by)
    if find_by != "id":
        return find(world, module, find_by, value) if find_by in MODULES[module] else None
    number = int(str(value)) if str(value).isdigit() else -1
    row = world.db.execute(f"SELECT id FROM {table(module)} WHERE id = ?", (number,)).fetchone()
    return None if row is None else int(row[0])

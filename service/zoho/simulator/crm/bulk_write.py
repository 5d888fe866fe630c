"""Bulk write: a job over an uploaded CSV, its states, and a CSV that says row by row what became of it."""

from collections.abc import Mapping
from typing import Any

import msgspec

from service.zoho.simulator import names, shelf
from service.zoho.simulator.clock import iso
from service.zoho.simulator.crm import archive
from service.zoho.simulator.crm.bulk_query import check_callback, check_json
from service.zoho.simulator.crm.bulk_rows import Outcome, write_row
from service.zoho.simulator.crm.fields import MODULE_IDS, name_field
from service.zoho.simulator.crm.gate import error_item, problem
from service.zoho.simulator.crm.jobs import STARTED_AT, Job, call_back, find, finish_due, progress
from service.zoho.simulator.crm.records import API_USER
from service.zoho.simulator.crm.rows import user_objects
from service.zoho.simulator.crm.visible import fields_of, modules_of
from service.zoho.simulator.crm.writes import Item, automate
from service.zoho.simulator.wire import Call, Reply, json_reply
from service.zoho.simulator.world import World

KIND = "bulk_write"
MOST_ROWS = 25_000
MOST_COLUMNS = 200
FIRST_COLUMNS = 3
"""Mapped columns that the result repeats."""


def create(world: World, call: Call) -> Reply:
    """Answer `POST /crm/bulk/v8/write` with 201 and the new job's id, not wrapped in `data`."""
    check_json(call.headers.get("content-type", ""))
    asked = _asked(call)
    check_callback(asked, problem)
    resource = _resource(world, asked)
    key = str(world.next_record_id())
    job: Job = {
        "id": key,
        "operation": asked["operation"],
        "ignore_empty": bool(asked.get("ignore_empty")),
        "resource": resource,
        "callback": asked.get("callback"),
        "base_url": call.base_url,
        "started_at": world.clock.now(),
        "created_time": iso(world.clock.seconds()),
        "counts": {"ADDED": 0, "UPDATED": 0, "SKIPPED": 0, "UNPROCESSED": 0},
    }
    shelf.put(world.db, f"{KIND}_open", key, job)
    details = {"id": key, "created_by": _creator(world)}
    return json_reply(
        {"status": "success", "code": "SUCCESS", "message": "success", "details": details}, status=201
    )


def status(world: World, call: Call) -> Reply:
    """Answer `GET /crm/bulk/v8/write/{id}`: the job at the top level."""
    tick(world)
    return json_reply(_shown(world, _job(world, call)))


def result(world: World, call: Call) -> Reply:
    """Answer the address that a finished job names: a zip with the result CSV."""
    tick(world)
    reply = archive.download(world, f"{_job(world, call)['id']}-result")
    if reply is None:
        raise _unknown(call.slots["job_id"])
    return reply


def tick(world: World) -> None:
    """Finish the jobs that are due."""
    finish_due(world, KIND, _finish)


def _asked(call: Call) -> dict[str, Any]:
    try:
        asked = msgspec.json.decode(call.body, type=dict[str, Any])
    except msgspec.DecodeError:
        raise problem("INVALID_FORMAT", "The request body could not be read") from None
    if asked.get("operation") not in ("insert", "update", "upsert"):
        raise _missing("operation")
    return asked


def _resource(world: World, asked: Mapping[str, Any]) -> Job:
    resources = asked.get("resource")
    if not isinstance(resources, list) or len(resources) != 1 or not isinstance(resources[0], dict):
        raise _missing("resource")
    resource: Job = resources[0]
    module = str((resource.get("module") or {}).get("api_name"))
    if module not in modules_of(world):
        raise problem("INVALID_MODULE", "the module name given seems to be invalid", {"api_name": "module"})
    if asked["operation"] != "insert" and not resource.get("find_by"):
        raise _missing("find_by")
    mappings = resource.get("field_mappings") or []
    names_mapped = [mapping.get("api_name") for mapping in mappings]
    if not mappings or (asked["operation"] == "insert" and name_field(module) not in names_mapped):
        raise problem("MANDATORY_FIELDS_NOT_MAPPED", "Mandatory fields are not mapped")
    for mapping in mappings:
        if mapping.get("api_name") not in fields_of(world, module):
            details = {"api_name": mapping.get("api_name")}
            raise problem("INVALID_FIELD", "The field is not available", details)
    file_id = str(resource.get("file_id"))
    if world.db.execute("SELECT 1 FROM files WHERE id = ?", (file_id,)).fetchone() is None:
        raise problem("INVALID_FILE_ID", "The file id is invalid", {"api_name": "file_id"})
    return {**resource, "file_id": file_id, "module": module}


def _missing(name: str) -> Exception:
    return problem("MISSING_REQUIRED_KEY", "Required key is missing", {"api_name": name})


def _job(world: World, call: Call) -> Job:
    job = find(world, KIND, call.slots["job_id"])
    if job is None:
        raise _unknown(call.slots["job_id"])
    return job


def _unknown(key: str) -> Exception:
    return problem(
        "RESOURCE_NOT_FOUND", "The requested resource doesn't exist.", {"resource": key}, status=404
    )


def _finish(world: World, job: Job) -> None:
    rows = archive.table_of(world.db, job["resource"]["file_id"])
    if error := _refusal(world, job, rows):
        job |= {"status": "FAILED", "code": error}
    else:
        _write_rows(world, job, rows[0], rows[1:])
        job |= {"status": "COMPLETED", "code": "SUCCESS"}
    call_back(world, job, _shown(world, job))


def _refusal(world: World, job: Job, rows: list[list[str]]) -> str | None:
    if world.text("bulk.fate") == "fails":
        return "INTERNAL_SERVER_ERROR"
    if not rows or len(rows) - 1 > MOST_ROWS:
        return "INVALID_FORMAT"
    if len(rows[0]) > MOST_COLUMNS:
        return "HEADER_LIMIT_EXCEEDED"
    columns = [mapping.get("index", 0) for mapping in job["resource"]["field_mappings"]]
    return "COLUMN_INDEX_NOT_FOUND" if max(columns) >= len(rows[0]) else None


def _write_rows(world: World, job: Job, header: list[str], rows: list[list[str]]) -> None:
    resource = job["resource"]
    shown = [mapping["index"] for mapping in resource["field_mappings"] if "index" in mapping][:FIRST_COLUMNS]
    world.db.execute("BEGIN")
    outcomes = [write_row(world, job, row) for row in rows]
    world.db.execute("COMMIT")
    for outcome in outcomes:
        job["counts"][outcome.status] += 1
    lines = ([*(row[i] for i in shown), *_told(outcome)] for row, outcome in zip(rows, outcomes, strict=True))
    names_shown = [header[i] for i in shown]
    archive.keep(
        world, f"{job['id']}-result", job["id"], [*names_shown, "STATUS", "RECORD_ID", "ERRORS"], lines
    )
    if world.on("bulk.runs_workflows"):
        written: list[Item] = [
            {"code": "SUCCESS", "details": {"id": o.record_id}} for o in outcomes if o.record_id
        ]
        automate(world, resource["module"], {}, written)


def _told(outcome: Outcome) -> tuple[str, str, str]:
    return outcome.status, outcome.record_id, ":".join(outcome.errors)


def _shown(world: World, job: Job) -> dict[str, object]:
    state = job.get("status") or _state(world, job)
    resource, counts = job["resource"], job["counts"]
    file = {
        "status": state,
        "name": f"{resource['file_id']}.csv",
        "added_count": counts["ADDED"],
        "skipped_count": counts["SKIPPED"] + counts["UNPROCESSED"],
        "updated_count": counts["UPDATED"],
        "total_count": sum(counts.values()),
    }
    mappings = [
        {"api_name": None, "index": None, "format": None, "find_by": None, "default_value": None, **mapping}
        for mapping in resource["field_mappings"]
    ]
    shown: dict[str, object] = {
        "status": state,
        "character_encoding": "UTF-8",
        "resource": [
            {
                "status": state,
                "code": job.get("code", "SUCCESS"),
                "type": "data",
                "module": {"api_name": resource["module"], "id": MODULE_IDS[resource["module"]]},
                "field_mappings": mappings,
                "file": file,
            }
        ],
        "id": job["id"],
    }
    if state == "COMPLETED":
        shown["result"] = {"download_url": _address(world, job)}
    if state == "FAILED":
        shown["result"] = {"error_message": error_item(job["code"], "The job could not be completed")}
    more = {"created_by": _creator(world), "operation": job["operation"], "created_time": job["created_time"]}
    return {**shown, **more}


def _address(world: World, job: Job) -> str:
    path = f"org{names.ORG_ZGID}/bulk-write/{job['id']}/{job['id']}.zip"
    if world.text("bulk.result_url") == "absolute":
        return f"{job['base_url']}/v2/crm/{path}"
    return f"/v8/crm/{path}"


def _state(world: World, job: Job) -> str:
    return "ADDED" if progress(world, job) < STARTED_AT else world.text("bulk.write_state")


def _creator(world: World) -> dict[str, object]:
    user = user_objects(world.db)[API_USER]
    return {"id": user["id"], "name": user["name"]}

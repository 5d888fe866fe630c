"""Bulk read: a job, its states, its zip with one CSV, page after page of up to 200,000 rows."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from service.zoho.simulator import shelf
from service.zoho.simulator.clock import iso
from service.zoho.simulator.crm import archive
from service.zoho.simulator.crm.bulk_query import BulkQuery, check_callback, check_json, read, token, where
from service.zoho.simulator.crm.fields import MODULE_IDS, MODULES, Kind
from service.zoho.simulator.crm.gate import error_item, problem
from service.zoho.simulator.crm.jobs import QUEUED_AT, STARTED_AT, Job, call_back, find, finish_due, progress
from service.zoho.simulator.crm.records import API_USER
from service.zoho.simulator.crm.rows import select_list, table, user_objects
from service.zoho.simulator.wire import Call, Reply, json_reply
from service.zoho.simulator.world import World

KIND = "bulk_read"
MINUTE_S = 60


def create(world: World, call: Call) -> Reply:
    """Answer `POST /crm/bulk/v8/read` with 201 and the new job's id."""
    check_json(call.headers.get("content-type", ""))
    query, asked = read(world, call.body)
    check_callback(asked)
    key = str(world.next_record_id())
    job: Job = {
        "id": key,
        "query": msgspec.to_builtins(query),
        "callback": asked.get("callback"),
        "started_at": world.clock.now(),
        "created_time": iso(world.clock.seconds()),
    }
    shelf.put(world.db, f"{KIND}_open", key, job)
    details = {
        "id": key,
        "operation": "read",
        "state": "ADDED",
        "created_by": _creator(world),
        "created_time": job["created_time"],
    }
    added = {
        "status": "success",
        "code": "ADDED_SUCCESSFULLY",
        "message": "Added successfully.",
        "details": details,
    }
    return json_reply({"data": [added], "info": {}}, status=201)


def status(world: World, call: Call) -> Reply:
    """Answer `GET /crm/bulk/v8/read/{id}`."""
    tick(world)
    return json_reply(_shown(world, _job(world, call)))


def result(world: World, call: Call) -> Reply:
    """Answer `GET /crm/bulk/v8/read/{id}/result`: the zip, at most ten a minute."""
    tick(world)
    job = _job(world, call)
    limit = world.number("bulk.downloads_per_min")
    if not world.meter.within("bulk downloads", limit, MINUTE_S, now=world.clock.now()):
        message = "too many requests. please try again after some time"
        raise problem("TOO_MANY_REQUESTS", message, status=429)
    reply = archive.download(world, job["id"])
    lasts_s = world.number("bulk.result_lasts_s")
    if reply is None or 0 < lasts_s < world.clock.now() - job["started_at"]:
        raise _unknown(job["id"])
    return reply


def tick(world: World) -> None:
    """Finish the jobs that are due."""
    finish_due(world, KIND, _finish)


def _job(world: World, call: Call) -> Job:
    job = find(world, KIND, call.slots["job_id"])
    if job is None:
        raise _unknown(call.slots["job_id"])
    return job


def _unknown(key: str) -> Exception:
    return problem(
        "RESOURCE_NOT_FOUND", "The requested resource doesn't exist.", {"resource": key}, status=404
    )


def _shown(world: World, job: Job) -> dict[str, object]:
    state = _state(world, job)
    query = job["query"]
    shown: dict[str, object] = {"id": job["id"], "operation": "read", "state": state}
    if job.get("result") is not None:
        shown["result"] = job["result"]
    elif world.on("bulk.early_result"):
        shown["result"] = {"page": query["page"], "per_page": world.number("bulk.rows_per_page"), "count": 0}
    shown["query"] = {
        "module": {"id": MODULE_IDS[query["module"]], "api_name": query["module"]},
        "page": query["page"],
    }
    more = {"created_by": _creator(world), "created_time": job["created_time"], "file_type": "csv"}
    return {"data": [{**shown, **more}]}


def _state(world: World, job: Job) -> str:
    if "state" in job:
        return str(job["state"])
    share = progress(world, job)
    if share < QUEUED_AT:
        return "ADDED"
    return "QUEUED" if share < STARTED_AT else "IN PROGRESS"


def _finish(world: World, job: Job) -> None:
    if world.text("bulk.fate") == "fails":
        error = error_item("INTERNAL_SERVER_ERROR", "The job could not be completed")
        job |= {"state": "FAILURE", "result": {"error_message": error}}
    else:
        job |= {"state": "COMPLETED", "result": _write(world, job["id"], _query_of(job))}
    call_back(world, job, _shown(world, job))


def _query_of(job: Job) -> BulkQuery:
    return msgspec.convert(job["query"], type=BulkQuery)


def _write(world: World, key: str, query: BulkQuery) -> dict[str, Any]:
    """Write the page's file and return the job's `result`."""
    per_page = world.number("bulk.rows_per_page")
    names = [
        name for name in dict.fromkeys(query.fields) if name not in ("id", world.text("bulk.omit_column"))
    ]
    condition, values = where(query)
    query_text = (
        f"SELECT {select_list(query.module, ['id', *names])} FROM {table(query.module)}"
        f" WHERE {condition} AND id > ? ORDER BY id LIMIT ? OFFSET ?"
    )
    offset = 0 if query.after is not None else (query.page - 1) * per_page
    cursor = world.db.execute(query_text, (*values, query.after or 0, per_page + 1, offset))
    rows = _Rows(_converters(query.module, names), per_page)
    header = [world.text("bulk.id_column"), *names]
    count = archive.keep(world, key, key, header, rows.of(cursor))
    return {
        "page": query.page,
        "per_page": per_page,
        "count": count,
        "download_url": f"/crm/bulk/v8/read/{key}/result",
        "more_records": rows.more,
        "next_page_token": token(query, rows.last, world.clock.seconds()) if rows.more else None,
    }


class _Rows:
    """Rows as a CSV writes them, one page of them, remembering the last and whether there are more."""

    def __init__(self, converters: Sequence[Callable[[Any], object]], per_page: int) -> None:
        self.converters = converters
        self.per_page = per_page
        self.last = 0
        self.more = False

    def of(self, cursor: Iterator[tuple[Any, ...]]) -> Iterator[list[object]]:
        for count, row in enumerate(cursor):
            if count == self.per_page:
                self.more = True
                return
            self.last = row[0]
            yield [convert(value) for convert, value in zip(self.converters, row, strict=True)]


def _converters(module: str, names: Sequence[str]) -> list[Callable[[Any], object]]:
    return [str, *(_converter(MODULES[module][name].kind) for name in names)]


@lru_cache(maxsize=65_536)
def _iso(seconds: int | None) -> str:
    return iso(seconds) or ""


def _converter(kind: Kind) -> Callable[[Any], object]:
    match kind:
        case Kind.BOOLEAN:
            return ("false", "true").__getitem__
        case Kind.DATETIME:
            return _iso
        case _:
            return lambda value: "" if value is None else value


def _creator(world: World) -> dict[str, object]:
    user = user_objects(world.db)[API_USER]
    return {"id": user["id"], "name": user["name"]}

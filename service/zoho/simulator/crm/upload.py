"""Taking a file for bulk write: a multipart part called `file`, a zip with one CSV in it."""

import re
import zipfile

from service.zoho.simulator import names
from service.zoho.simulator.clock import iso
from service.zoho.simulator.crm import archive
from service.zoho.simulator.crm.gate import problem, wrong_address
from service.zoho.simulator.wire import Call, Reply, json_reply
from service.zoho.simulator.world import World

LARGEST = 25 * 1024 * 1024
_BOUNDARY = re.compile(r'boundary="?([^";]+)"?')


def upload(world: World, call: Call) -> Reply:
    """Answer `POST /crm/v8/upload`, which wants the headers `feature` and `X-CRM-ORG`."""
    host = call.headers.get("host", "").partition(":")[0]
    if world.text("bulk.upload_host") == "apart" and host != "localhost":
        return wrong_address()
    feature, organisation = call.headers.get("feature"), call.headers.get("x-crm-org")
    if not feature:
        raise problem("MANDATORY_NOT_FOUND", "Required key feature is not available")
    if feature != "bulk-write":
        raise problem("NOT_SUPPORTED_FEATURE", "The feature is not supported")
    if not organisation:
        raise problem("MANDATORY_NOT_FOUND", "Required key x-crm-org is not available")
    if organisation != names.ORG_ZGID:
        raise problem("INVALID_DATA", "The x-crm-org is invalid", {"api_name": "x-crm-org"})
    body = _part(call)
    if len(body) > LARGEST:
        if world.text("bulk.too_large") == "413":
            raise problem("FILE_TOO_LARGE", "The file is too large", status=413)
        raise problem("INVALID_DATA", "The file is too large")
    try:
        archive.rows_of(body)
    except (zipfile.BadZipFile, UnicodeDecodeError):
        raise problem("INVALID_FILE_FORMAT", "The file must be a zip with one csv in it") from None
    file_id = str(world.next_record_id())
    archive.put(world.db, file_id, f"{file_id}.zip", body)
    details = {"file_id": file_id, "created_time": iso(world.clock.seconds())}
    return json_reply(
        {"status": "success", "code": "FILE_UPLOAD_SUCCESS", "message": "file uploaded.", "details": details}
    )


def _part(call: Call) -> bytes:
    """Return the body of the part called `file`."""
    boundary = _BOUNDARY.search(call.headers.get("content-type", ""))
    parts = call.body.split(b"--" + boundary[1].encode()) if boundary else []
    for part in parts:
        head, _, body = part.partition(b"\r\n\r\n")
        if b'name="file"' in head:
            return body.removesuffix(b"\r\n")
    raise problem("MANDATORY_NOT_FOUND", "Required key file is not available", {"api_name": "file"})

"""A program that drives Zoho's own Python SDK against a simulator and prints what the SDK saw, as JSON.

It runs in a process of its own: the SDK keeps its state in globals and writes files where it stands.
"""

import base64
import io
import json
import tempfile
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from official_kit import (
    BASE,
    CONTACTS,
    SEEN,
    body_of,
    control,
    data,
    error,
    headers,
    params,
    results,
    step,
    value,
)
from zohocrmsdk.src.com.zoho.api.authenticator.oauth_token import OAuthToken
from zohocrmsdk.src.com.zoho.api.authenticator.store import FileStore
from zohocrmsdk.src.com.zoho.crm.api import bulk_read, bulk_write, coql
from zohocrmsdk.src.com.zoho.crm.api.bulk_read import bulk_read_operations as reads
from zohocrmsdk.src.com.zoho.crm.api.bulk_write import bulk_write_operations as writes
from zohocrmsdk.src.com.zoho.crm.api.coql import coql_operations as queries
from zohocrmsdk.src.com.zoho.crm.api.dc import DataCenter
from zohocrmsdk.src.com.zoho.crm.api.fields import MinifiedField
from zohocrmsdk.src.com.zoho.crm.api.fields import fields_operations as fields
from zohocrmsdk.src.com.zoho.crm.api.initializer import Initializer
from zohocrmsdk.src.com.zoho.crm.api.modules import MinifiedModule
from zohocrmsdk.src.com.zoho.crm.api.notifications import BodyWrapper as WatchBody
from zohocrmsdk.src.com.zoho.crm.api.notifications import Notification
from zohocrmsdk.src.com.zoho.crm.api.notifications import notifications_operations as watches
from zohocrmsdk.src.com.zoho.crm.api.org.org_operations import OrgOperations
from zohocrmsdk.src.com.zoho.crm.api.record import record_operations as records
from zohocrmsdk.src.com.zoho.crm.api.sdk_config import SDKConfig
from zohocrmsdk.src.com.zoho.crm.api.users import users_operations as users
from zohocrmsdk.src.com.zoho.crm.api.util import Choice, StreamWrapper

folder = Path(tempfile.mkdtemp(dir=Path.cwd()))


@step("initialize")
def _() -> object:
    token = OAuthToken(
        client_id="1000.SIMULATOR", client_secret="simulator-secret", refresh_token="1000.simulator.refresh"
    )
    Initializer.initialize(
        environment=DataCenter.Environment(BASE, f"{BASE}/oauth/v2/token", BASE),
        token=token,
        store=FileStore(str(folder / "tokens.csv")),
        resource_path=str(folder),
        sdk_config=SDKConfig(
            auto_refresh_fields=False,
            pick_list_validation=False,
            connect_timeout=5,
            read_timeout=5,
            update_api_domain=False,
        ),
    )
    return {"token": token.get_access_token()[:5], "url": Initializer.get_initializer().environment.url}


@step("org")
def _() -> object:
    (org,) = OrgOperations().get_organization().get_object().get_org()
    return {"zgid": org.get_zgid(), "paid": org.get_license_details().get_paid_type()}


@step("users")
def _() -> object:
    def asked(kind: str) -> object:
        answer = users.UsersOperations().get_users(params((users.GetUsersParam.type, kind)))
        body = answer.get_object()
        return [user.get_email() for user in body.get_users()] if body else answer.get_status_code()

    return {kind: asked(kind) for kind in ("CurrentUser", "ActiveUsers", "DeactiveUsers")}


@step("fields")
def _() -> object:
    found = fields.FieldsOperations().get_fields(params((fields.GetFieldsParam.module, "Contacts")))
    return {
        field.get_api_name(): {
            "type": field.get_data_type(),
            "writes": field.get_operation_type().get_api_update(),
        }
        for field in found.get_object().get_fields()
    }


LIST = records.GetRecordsParam
FIELDS = (LIST.fields, "Last_Name,Email,Email_Opt_Out,Modified_Time")


def listed(*pairs: tuple[object, object], since: datetime | None = None) -> dict[str, object]:
    header = headers() if since is None else headers((records.GetRecordsHeader.if_modified_since, since))
    return data(CONTACTS.get_records(params(FIELDS, *pairs), header))


@step("read")
def _() -> object:
    first = listed((LIST.per_page, 10))
    ids = [row["id"] for row in first["rows"]]
    far = datetime.now(UTC) + timedelta(days=400)
    return {
        "first": first,
        "second": listed((LIST.per_page, 10), (LIST.page, 2)),
        "by_token": listed((LIST.per_page, 10), (LIST.page_token, first["info"]["token"])),
        "sorted": listed((LIST.per_page, 5), (LIST.sort_by, "Modified_Time"), (LIST.sort_order, "asc")),
        "ids": listed((LIST.ids, f"{ids[1]},{ids[0]}")),
        "view": listed((LIST.cvid, "5725767000000087501"), (LIST.per_page, 5)),
        "bad_view": error(CONTACTS.get_records(params(FIELDS, (LIST.cvid, "7")), headers())),
        "converted": CONTACTS.get_records(
            params(FIELDS, (LIST.converted, "true")), headers()
        ).get_status_code(),
        "approved": listed((LIST.approved, "true"), (LIST.per_page, 3)),
        "include_child": listed((LIST.include_child, "true"), (LIST.per_page, 3)),
        "since": CONTACTS.get_records(
            params(FIELDS), headers((records.GetRecordsHeader.if_modified_since, far))
        ).get_status_code(),
        "changed": listed((LIST.per_page, 3), since=datetime(2001, 1, 1, tzinfo=UTC)),
        "one": data(CONTACTS.get_record(int(ids[0]), params(), headers())),
        "none": CONTACTS.get_record(77, params(), headers()).get_status_code(),
    }


@step("write")
def _() -> object:
    add = results(
        CONTACTS.create_records(body_of({"Last_Name": "Sdk", "Email": "sdk@example.com"}), headers())
    )
    number = int(add["items"][0]["details"]["id"])
    change = {"id": number, "Email_Opt_Out": True}
    mixed = body_of(change, {"id": 77, "Email_Opt_Out": True}, trigger=[])
    twice = [
        results(
            CONTACTS.upsert_records(body_of({"Last_Name": "Up", "Email": email}, check=["Email"]), headers())
        )
        for email in ("up@example.com", "up@example.com")
    ]
    control("crm/unique", {"module": "Contacts", "fields": ["Phone"]})
    CONTACTS.update_records(body_of({"id": number, "Phone": "55"}), headers())
    duplicate = body_of({"Last_Name": "Dup", "Email": "dup@example.com", "Phone": "55"})
    return {
        "insert": add,
        "update": results(CONTACTS.update_records(body_of(change, trigger=[]), headers())),
        "mixed": results(CONTACTS.update_records(mixed, headers())),
        "failed": results(CONTACTS.update_records(body_of({"id": 77, "Email_Opt_Out": True}), headers())),
        "upserts": twice,
        "duplicate": results(CONTACTS.create_records(duplicate, headers())),
        "id": str(number),
    }


@step("stale")
def _() -> object:
    header = headers()
    # The SDK has no name for this header and garbles those that it does not know; so it is put in by hand.
    header.request_headers["If-Unmodified-Since"] = "2001-01-01T00:00:00+00:00"
    body = body_of({"id": int(SEEN["write"]["id"]), "Last_Name": "Late"})
    return results(CONTACTS.update_records(body, header))


@step("search")
def _() -> object:
    control("clock", {"advance_s": 60})
    find = records.SearchRecordsParam
    return {
        "email": data(CONTACTS.search_records(params((find.email, "sdk@example.com")), headers())),
        "criteria": data(
            CONTACTS.search_records(params((find.criteria, "(Last_Name:equals:Sdk)")), headers())
        ),
        "word": data(CONTACTS.search_records(params((find.word, "sdk")), headers())),
        "none": CONTACTS.search_records(params((find.email, "no@example.com")), headers()).get_status_code(),
        "bad": error(CONTACTS.search_records(params((find.criteria, "nonsense")), headers())),
        "count": CONTACTS.record_count(params((records.RecordCountParam.email, "sdk@example.com")))
        .get_object()
        .get_count(),
    }


@step("coql")
def _() -> object:
    def asked(text: str) -> object:
        body = coql.BodyWrapper()
        body.set_select_query(text)
        return queries.CoqlOperations().get_records(body)

    good = asked(
        "select Email, Email_Opt_Out from Contacts where Email = 'sdk@example.com' and id > 0 limit 10"
    )
    none = asked("select Email from Contacts where Email = 'no@example.com'")
    return {
        "rows": [row.get_key_values() for row in good.get_object().get_data()],
        "more": good.get_object().get_info().get_more_records(),
        "none": none.get_status_code(),
        "bad": error(asked("select Email from Contacts")),
    }


@step("delete")
def _() -> object:
    gone = records.DeleteRecordsParam
    number = SEEN["write"]["upserts"][0]["items"][0]["details"]["id"]
    deleted = results(CONTACTS.delete_records(params((gone.ids, number)), headers()))
    listing = CONTACTS.get_deleted_records(
        params((records.GetDeletedRecordsParam.type, "recycle")), headers()
    )
    return {
        "deleted": deleted,
        "id": number,
        "listed": [
            {"id": str(one.get_id()), "type": value(one.get_type()), "by": one.get_deleted_by().get_name()}
            for one in listing.get_object().get_data()
        ],
    }


def run_job(operations: object, body: object) -> tuple[object, object]:
    created = operations.create_bulk_read_job(body)
    (item,) = created.get_object().get_data()
    job = item.get_details()["id"]
    (detail,) = operations.get_bulk_read_job_details(int(job)).get_object().get_data()
    return created, detail


@step("bulk_read")
def _() -> object:
    control("switches", {"bulk.duration_ms": 0, "bulk.rows_per_page": 20})
    operations, body, query = reads.BulkReadOperations(), bulk_read.BodyWrapper(), bulk_read.Query()
    module, criteria, field = MinifiedModule(), bulk_read.Criteria(), MinifiedField()
    module.set_api_name("Contacts")
    field.set_api_name("Email_Opt_Out")
    criteria.set_field(field)
    criteria.set_comparator(Choice("equal"))
    criteria.set_value(False)
    query.set_module(module)
    query.set_fields(["Email", "Email_Opt_Out"])
    query.set_criteria(criteria)
    body.set_query(query)
    created, detail = run_job(operations, body)
    stream = operations.download_result(int(detail.get_id())).get_object().get_file()
    content = b"".join(stream.get_stream())
    following, next_page = bulk_read.BodyWrapper(), bulk_read.Query()
    next_page.set_page_token(detail.get_result().get_next_page_token())
    following.set_query(next_page)
    _, second = run_job(operations, following)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        lines = archive.read(archive.namelist()[0]).decode().splitlines()
    return {
        "created": results(created)["items"][0]["code"],
        "state": value(detail.get_state()),
        "count": detail.get_result().get_count(),
        "more": detail.get_result().get_more_records(),
        "file": stream.get_name(),
        "header": lines[0],
        "lines": len(lines) - 1,
        "second_page": second.get_result().get_page(),
        "unknown": error(operations.get_bulk_read_job_details(77)),
    }


@step("bulk_write")
def _() -> object:
    number = SEEN["write"]["id"]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("contacts.csv", f"id,out\n{number},false\n77,true\n")
    file_body = bulk_write.FileBodyWrapper()
    file_body.set_file(StreamWrapper("contacts.zip", io.BytesIO(buffer.getvalue())))
    operations, named = writes.BulkWriteOperations(), writes.UploadFileHeader
    uploaded = operations.upload_file(
        file_body, headers((named.feature, "bulk-write"), (named.x_crm_org, SEEN["org"]["zgid"]))
    )
    upload = uploaded.get_object()
    resource, module, mappings = bulk_write.Resource(), MinifiedModule(), []
    module.set_api_name("Contacts")
    for index, name in enumerate(("id", "Email_Opt_Out")):
        mapping = bulk_write.FieldMapping()
        mapping.set_api_name(name)
        mapping.set_index(index)
        mappings.append(mapping)
    resource.set_type(Choice("data"))
    resource.set_module(module)
    resource.set_file_id(str(upload.get_details()["file_id"]))
    resource.set_find_by("id")
    resource.set_field_mappings(mappings)
    request = bulk_write.RequestWrapper()
    request.set_operation(Choice("update"))
    request.set_character_encoding("UTF-8")
    request.set_resource([resource])
    created = operations.create_bulk_write_job(request)
    job = operations.get_bulk_write_job_details(str(created.get_object().get_details()["id"])).get_object()
    result = operations.download_bulk_write_result(job.get_result().get_download_url().lstrip("/"))
    content = b"".join(result.get_object().get_file().get_stream())
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        lines = archive.read(archive.namelist()[0]).decode().splitlines()
    file = job.get_resource()[0].get_file()
    return {
        "uploaded": value(upload.get_code()),
        "created": created.get_status_code(),
        "status": job.get_status(),
        "counts": [file.get_updated_count(), file.get_skipped_count(), file.get_total_count()],
        "lines": lines,
    }


@step("watch")
def _() -> object:
    operations, channel = watches.NotificationsOperations(), "1000000068001"

    def body(**named: object) -> object:
        notification, wrapper = Notification(), WatchBody()
        notification.set_channel_id(channel)
        for name, given in named.items():
            getattr(notification, f"set_{name}")(given)
        wrapper.set_watch([notification])
        return wrapper

    def watched(response: object) -> object:
        return results(response, lambda wrapper: wrapper.get_watch())

    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=5)
    made = body(
        events=["Contacts.all"], notify_url="http://127.0.0.1:9/n", token="s3cret", channel_expiry=until
    )
    seen = {"enabled": watched(operations.enable_notifications(made))}
    (entry,) = operations.get_notifications(params()).get_object().get_watch()
    seen["read"] = [entry.get_channel_id(), entry.get_token(), entry.get_events(), entry.get_notify_url()]
    seen["patched"] = watched(operations.update_notification(body(token="other")))
    seen["replaced"] = watched(
        operations.update_notifications(body(events=["Leads.edit"], notify_url="http://127.0.0.1:9/m"))
    )
    seen["removed"] = watched(
        operations.disable_notification(body(events=["Leads.edit"], delete_events=True))
    )
    seen["dead"] = watched(operations.update_notification(body(token="dead")))
    operations.enable_notifications(made)
    gone = params((watches.DeleteNotificationParam.channel_ids, channel))
    seen["disabled"] = watched(operations.delete_notification(gone))
    seen["none"] = operations.get_notifications(params()).get_status_code()
    return seen


import official_lists  # noqa: E402, F401 - its steps run when it is read, and need what was made above


@step("errors")
def _() -> object:
    control("switches", {"crm.credits_per_day": 1})
    throttled = error(CONTACTS.get_records(params(FIELDS), headers()))
    control("reset", {})
    return {
        "throttled": throttled,
        "no_fields": error(CONTACTS.get_records(params(), headers())),
    }


@step("granted")
def _() -> object:
    scopes = "ZohoCRM.org.READ,ZohoCRM.users.READ"
    token = OAuthToken(
        client_id="1000.SIMULATOR",
        client_secret="simulator-secret",
        grant_token=control("oauth/code", {"scope": scopes})["code"],
    )
    Initializer.switch_user(
        environment=DataCenter.Environment(BASE, f"{BASE}/oauth/v2/token", BASE), token=token
    )
    (org,) = OrgOperations().get_organization().get_object().get_org()
    return {
        "zgid": org.get_zgid(),
        "refresh_token": token.get_refresh_token()[:5],
        "revoked": OAuthToken.revoke_refresh_token(
            token.get_refresh_token(), f"{BASE}/oauth/v2/token/revoke"
        ),
    }


print(base64.b64encode(json.dumps(SEEN, default=str).encode()).decode())  # noqa: T201 - its answer

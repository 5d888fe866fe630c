"""Every option of every call that lists or reads records, as Zoho's own SDK offers them."""

from datetime import UTC, datetime, timedelta

from official_kit import CONTACTS, body_of, control, data, error, headers, params, results, step
from zohocrmsdk.src.com.zoho.crm.api.fields import fields_operations as fields
from zohocrmsdk.src.com.zoho.crm.api.notifications import notifications_operations as watches
from zohocrmsdk.src.com.zoho.crm.api.record import record_operations as records
from zohocrmsdk.src.com.zoho.crm.api.timelines import timelines_operations as timelines
from zohocrmsdk.src.com.zoho.crm.api.users import users_operations as users
from zohocrmsdk.src.com.zoho.crm.api.util import Choice

LIST, ONE = records.GetRecordsParam, records.GetRecordParam
FIND, COUNT, GONE = records.SearchRecordsParam, records.RecordCountParam, records.GetDeletedRecordsParam
LEADS = records.RecordOperations("Leads")
FIELDS = "Last_Name,Email,Modified_Time,Created_Time"
VIEW = "5725767000000087501"
NUMBER = "Contacts.Customer_Number"
EARLY, LATE = datetime(2001, 1, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(days=400)


def brief(response: object) -> object:
    """Return the ids of an answer, or its status where there are none, or its code where it is an error."""
    if not hasattr(response.get_object(), "get_data"):
        return error(response)["code"] if response.get_object() else response.get_status_code()
    return [row["id"] for row in data(response)["rows"]]


def listed(*pairs: tuple[object, object], **header: object) -> object:
    named = [(getattr(records.GetRecordsHeader, name), value) for name, value in header.items()]
    return brief(CONTACTS.get_records(params((LIST.fields, FIELDS), *pairs), headers(*named)))


@step("list_options")
def _() -> object:
    all_ids = listed((LIST.per_page, 200))
    return {
        "all": all_ids,
        "sorted": {
            f"{name} {order}": listed((LIST.per_page, 200), (LIST.sort_by, name), (LIST.sort_order, order))
            for name in ("id", "Created_Time", "Modified_Time")
            for order in ("asc", "desc")
        },
        "approved": {
            text: listed((LIST.per_page, 200), (LIST.approved, text)) for text in ("true", "false", "both")
        },
        "converted": {
            text: brief(LEADS.get_records(params((LIST.fields, FIELDS), (LIST.converted, text)), headers()))
            for text in ("true", "false", "both")
        },
        "pages": [listed((LIST.per_page, 20), (LIST.page, page)) for page in (1, 2, 3, 4)],
        "ids": listed((LIST.ids, ",".join(str(one) for one in all_ids[3:5]))),
        "uid": listed((LIST.per_page, 200), (LIST.uid, "5725767000000411001")),
        "between": listed((LIST.per_page, 200), (LIST.startdatetime, EARLY), (LIST.enddatetime, LATE)),
        "territory": listed((LIST.territory_id, "1")),
        "child": listed((LIST.per_page, 200), (LIST.include_child, "true")),
        "view": listed((LIST.per_page, 200), (LIST.cvid, VIEW)),
        "since": listed((LIST.per_page, 200), if_modified_since=EARLY),
        "unchanged": listed(if_modified_since=LATE),
        "external": listed((LIST.per_page, 200), x_external=NUMBER),
        "too_many": listed((LIST.per_page, 201)),
    }


@step("one_option")
def _() -> object:
    (number, *_) = listed((LIST.per_page, 1))
    options = {
        "approved": (ONE.approved, "both"),
        "converted": (ONE.converted, "both"),
        "cvid": (ONE.cvid, VIEW),
        "uid": (ONE.uid, "5725767000000411001"),
        "fields": (ONE.fields, "Email"),
        "start": (ONE.startdatetime, EARLY),
        "end": (ONE.enddatetime, LATE),
        "child": (ONE.include_child, "true"),
        "on_demand": (ONE.on_demand_properties, "x"),
    }
    unchanged = headers((records.GetRecordHeader.if_modified_since, LATE))
    return {
        "id": number,
        "seen": {
            name: brief(CONTACTS.get_record(number, params(pair), headers()))
            for name, pair in options.items()
        },
        "unchanged": CONTACTS.get_record(number, params(), unchanged).get_status_code(),
    }


@step("external")
def _() -> object:
    made = results(
        CONTACTS.create_records(body_of({"Last_Name": "Ext", "Customer_Number": "K-1"}), headers())
    )
    read, write = records.GetRecordUsingExternalIDHeader, records.UpdateRecordUsingExternalIDHeader
    gone = records.DeleteRecordUsingExternalIDHeader
    change = body_of({"Phone": "9"}, trigger=[])
    return {
        "id": made["items"][0]["details"]["id"],
        "read": brief(
            CONTACTS.get_record_using_external_id("K-1", params(), headers((read.x_external, NUMBER)))
        ),
        "changed": results(
            CONTACTS.update_record_using_external_id("K-1", change, headers((write.x_external, NUMBER)))
        )["items"][0]["code"],
        "deleted": results(
            CONTACTS.delete_record_using_external_id("K-1", params(), headers((gone.x_external, NUMBER)))
        )["items"][0]["code"],
    }


@step("search_options")
def _() -> object:
    control("clock", {"advance_s": 60})

    def found(*pairs: tuple[object, object]) -> object:
        return brief(CONTACTS.search_records(params(*pairs), headers()))

    word = (FIND.word, "example")
    return {
        "word": found(word, (FIND.per_page, 200)),
        "phone": found((FIND.phone, "55")),
        "criteria": found((FIND.criteria, "((Email:starts_with:s)and(Last_Name:equals:Sdk))")),
        "fields": found((FIND.email, "sdk@example.com"), (FIND.fields, "Email")),
        "approved": found(word, (FIND.approved, "false")),
        "converted": found(word, (FIND.converted, "true")),
        "view": found(word, (FIND.per_page, 200), (FIND.cvid, VIEW)),
        "type": found((FIND.email, "sdk@example.com"), (FIND.type, "all")),
        "pages": [found(word, (FIND.per_page, 10), (FIND.page, page)) for page in (1, 2)],
        "counts": {
            "view": CONTACTS.record_count(params((COUNT.cvid, VIEW))).get_object().get_count(),
            "phone": CONTACTS.record_count(params((COUNT.phone, "55"))).get_object().get_count(),
            "word": CONTACTS.record_count(params(word)).get_object().get_count(),
            "criteria": CONTACTS.record_count(params((COUNT.criteria, "(Last_Name:equals:Sdk)")))
            .get_object()
            .get_count(),
        },
    }


@step("deleted_options")
def _() -> object:
    def gone(*pairs: tuple[object, object], since: datetime | None = None) -> object:
        header = headers((records.GetDeletedRecordsHeader.if_modified_since, since)) if since else headers()
        answer = CONTACTS.get_deleted_records(params(*pairs), header)
        body = answer.get_object()
        return [str(one.get_id()) for one in body.get_data()] if body else answer.get_status_code()

    return {
        **{kind: gone((GONE.type, kind)) for kind in ("all", "recycle", "permanent")},
        "paged": [gone((GONE.per_page, 1), (GONE.page, page)) for page in (1, 2)],
        "since": gone(since=EARLY),
        "later": gone(since=LATE),
    }


@step("other_options")
def _() -> object:
    who, told, field = users.GetUsersParam, timelines.GetTimelinesParam, fields.GetFieldsParam
    (number, *_) = listed((LIST.per_page, 1), (LIST.sort_by, "Modified_Time"), (LIST.sort_order, "desc"))
    by_api = '{"comparator":"equal","field":{"api_name":"source"},"value":"crm_api"}'
    history = timelines.TimelinesOperations().get_timelines(
        "Contacts",
        str(number),
        params((told.filters, by_api), (told.per_page, "1"), (told.sort_by, "audited_time")),
    )
    contacts_fields = fields.FieldsOperations().get_fields(
        params(
            (field.module, "Contacts"),
            (field.type, Choice("used")),
            (field.include, "allowed_permissions_to_update"),
        )
    )
    watching = watches.GetNotificationsParam
    none = watches.NotificationsOperations().get_notifications(
        params(
            (watching.channel_id, 1),
            (watching.module, "Contacts"),
            (watching.page, 1),
            (watching.per_page, 5),
        )
    )
    everybody = users.UsersOperations().get_users(
        params((who.type, "ActiveUsers"), (who.page, 1), (who.per_page, 2))
    )
    return {
        "timeline": [one.get_source() for one in history.get_object().get_timeline()],
        "fields": len(contacts_fields.get_object().get_fields()),
        "watch": none.get_status_code(),
        "users": len(everybody.get_object().get_users()),
    }

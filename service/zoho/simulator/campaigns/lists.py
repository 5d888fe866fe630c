"""Reading Campaigns' lists: which there are, who is on them by status, segments, topics, contact fields."""

import re

from service.zoho.simulator import misfits, names, shelf
from service.zoho.simulator.campaigns import contacts, envelope, membership
from service.zoho.simulator.campaigns.gate import required, window
from service.zoho.simulator.campaigns.markup import XML_ONLY
from service.zoho.simulator.clock import display, epoch_ms
from service.zoho.simulator.fixtures import NEWSLETTER
from service.zoho.simulator.wire import Call, Reply
from service.zoho.simulator.world import World

MOST = 650
"""The largest range of a list's page, by what a client in the wild has found."""
TOPICS = 100
SEGMENTS = {names.GRANTED_SEGMENT: names.GRANTED, names.REFUSED_SEGMENT: names.REFUSED}
COUNTED = ("active", "unsub", "bounce", "spam")
STATUSES = ("active", "recent", "most recent", "mostrecent", "unsub", "bounce")


def getmailinglists(world: World, call: Call) -> Reply:
    """Answer `getmailinglists`; every value of a row is text, but `segments`."""
    start, count = window(world, call, most=MOST)
    sort = call.params.get("sort", "desc")
    rows = world.db.execute(
        f"SELECT id, listkey, name, signup_form, created_at FROM lists ORDER BY id {_direction(sort)}"
    ).fetchall()
    page = rows[start - 1 : start - 1 + count]
    if not page:
        raise envelope.failure(world, call, "2401", "No mailing list has been created.")
    details = {"fromindex": start, "range": count, "total_list_count": str(len(rows)), "sort": sort}
    return envelope.success(
        world, call, {"requestdetails": details, "list_of_details": [_list_row(world, row) for row in page]}
    )


def getlistsubscribers(world: World, call: Call) -> Reply:
    """Answer `getlistsubscribers` by status; the end of a list is error 2502."""
    (listkey,) = required(world, call, "listkey")
    list_id = contacts.list_id(world, listkey)
    if list_id is None:
        code = contacts.unknown_list(world, listkey)
        raise envelope.failure(world, call, code, "Listkey is empty or invalid.")
    status, sort = call.params.get("status", "active"), call.params.get("sort", "asc")
    if status not in STATUSES:
        raise envelope.failure(world, call, "1001", "Pattern doesn't match.")
    start, count = window(world, call, most=MOST)
    listing = membership.members(world, list_id, status)
    found = world.ranks.page(listing, start - 1, count, descending=_direction(sort) == "DESC")
    if not found:
        raise envelope.failure(world, call, "2502", "Yet,There are no contacts in this list.")
    details = {"fromindex": start, "range": count, "sort": sort, "status": status}
    shown = {
        "requestdetails": details,
        f"{XML_ONLY}list_details": _list_details(world, list_id),
        "list_of_details": membership.subscribers(world, list_id, found),
    }
    return envelope.success(world, call, shown)


def listsubscriberscount(world: World, call: Call) -> Reply:
    """Answer `listsubscriberscount`: the one call whose code is the number 0."""
    (listkey,) = required(world, call, "listkey")
    list_id = contacts.list_id(world, listkey)
    if list_id is None:
        raise envelope.failure(world, call, "2202", "List id is empty or invalid.")
    status = call.params.get("status", "active")
    if status not in COUNTED:
        raise envelope.failure(world, call, "1001", "Pattern doesn't match.")
    if status == "spam":
        query = (
            "SELECT count(*) FROM members m JOIN contacts c ON c.id = m.contact_id"
            " WHERE m.list_id = ? AND c.dnm = 'complaint'"
        )
        (count,) = world.db.execute(query, (list_id,)).fetchone()
    else:
        count = _count(world, list_id, status)
    return envelope.bare(world, call, {"status": "success", "code": 0, "no_of_contacts": count})


def getsegmentdetails(world: World, call: Call) -> Reply:
    """Answer `getsegmentdetails`: the criteria as one text, in the vendor's own notation."""
    listkey, cvid = required(world, call, "listkey", "cvid")
    if contacts.list_id(world, listkey) is None:
        raise envelope.failure(world, call, "2202", "Listkey is empty or invalid.")
    if cvid not in SEGMENTS:
        raise envelope.failure(world, call, "2603", "Error in getting segments details.")
    criteria = (
        f"{{column_value=[{SEGMENTS[cvid]}], exact_column_name=[], logical_operator_count=0, pattern=, "
        f"column_name=[{names.PERMISSION_LABEL}], logical_operator=[], column_comparator=[is]}}"
    )
    return envelope.success(world, call, {"segments_details": criteria})


def getsegmentcontacts(world: World, call: Call) -> Reply:
    """Answer `getsegmentcontacts`, worked out from the contact field at the time of asking."""
    (cvid,) = required(world, call, "cvid")
    if cvid not in SEGMENTS:
        raise envelope.failure(world, call, "2603", "Error in getting segments details.")
    start, count = window(world, call, most=MOST)
    anybody = world.text("campaigns.segment_members") == "all"
    found = world.ranks.page(membership.in_segment(SEGMENTS[cvid], anybody=anybody), start - 1, count)
    if not found:
        raise envelope.failure(world, call, "2604", "There are no contacts in this segments.")
    details = {"range": count, "cvid": int(cvid), "fromindex": start}
    key = world.text("campaigns.segment_rows")
    data = membership.subscribers(world, NEWSLETTER, found)
    return envelope.success(world, call, {"requestdetails": details, key: data})


def topics(world: World, call: Call) -> Reply:
    """Answer `GET topics`: always JSON, paged by `details`, and success is code 200."""
    first = {
        "topicId": names.TOPIC_ID,
        "primaryList": int(names.TOPIC_ID) + 2,
        "topicName": names.TOPIC_NAME,
    }
    made = [
        {"topicId": t["topicId"], "primaryList": int(t["topicId"]) + 2, "topicName": name}
        for name, t in shelf.every(world.db, "campaigns_topic")
    ]
    start, count = _topic_page(call)
    shown = [first, *made][start : start + count]
    body: envelope.Json = {"topicDetails": shown, "code": "200", "message": "Success", "uri": call.path}
    return envelope.bare(world, envelope.as_json(call), body)


def _topic_page(call: Call) -> tuple[int, int]:
    """Return the page that `details` names: its start counts from 0 for some clients, from 1 for others."""
    numbers = dict(re.findall(r'"?(\w+)"?\s*:\s*"?(\d+)"?', call.params.get("details", "")))
    return max(0, int(numbers.get("from_index", 0)) - 1), int(numbers.get("range", TOPICS))


def allfields(world: World, call: Call) -> Reply:
    """Answer `contact/allfields`, which nests under `response` and asks for `type=json`."""
    added = [label for label, _ in shelf.every(world.db, "campaigns_field")]
    labels = ["Contact Email", *contacts.COLUMNS, *added]
    found = misfits.of_campaigns(world, labels)
    return envelope.bare(world, call, {"response": {"fieldnames": {"fieldname": found}}})


def _list_row(world: World, row: tuple[int, str, str, int, int]) -> envelope.Json:
    number, listkey, name, signup_form, created_at = row
    offset = world.number("campaigns.display_offset_min")
    active, unsub, bounce = (_count(world, number, status) for status in ("active", "unsub", "bounce"))
    is_newsletter = listkey == names.LIST_KEY
    return {
        "sno": str(number),
        "listkey": listkey,
        "listname": name,
        "listunino": f"80696000000{44_003 + number}",
        "noofcontacts": str(active),
        "noofunsubcnt": str(unsub),
        "noofbouncecnt": str(bounce),
        "owner": "office",
        "zuid": "857543122",
        "is_public": str(bool(signup_form)).lower(),
        "lockstatus": "false",
        "listtype": "General",
        "issmart": "false",
        "servicetype": "0",
        "date": display(created_at, offset),
        f"{XML_ONLY}created_date": display(created_at, offset).partition(",")[0],
        "created_time": epoch_ms(created_at),
        "created_time_gmt": epoch_ms(created_at),
        "updated_time_gmt": epoch_ms(created_at),
        "list_created_date": display(created_at, offset).partition(",")[0],
        "list_created_time": epoch_ms(created_at),
        "list_campaigns_count": "6" if is_newsletter else "0",
        "sentcnt": "6" if is_newsletter else "0",
        "listdesc": "null",
        "listdgs": "null",
        "listnotifications": "null",
        "otherslist": "false",
        "deletable": "true",
        "editable": "true",
        "zx": "7c",
        "segments": {cvid: f"Permission {value.lower()}" for cvid, value in SEGMENTS.items()}
        if is_newsletter
        else {},
    }


def _list_details(world: World, list_id: int) -> envelope.Json:
    """Return what the XML of subscribers says about their list."""
    name, form = world.db.execute("SELECT name, signup_form FROM lists WHERE id = ?", (list_id,)).fetchone()
    count = world.ranks.size(membership.members(world, list_id, "active"))
    return {"ispublic": str(bool(form)).lower(), "noofcontacts": str(count), "listname": name}


def _count(world: World, list_id: int, status: str) -> int:
    query = "SELECT count(*) FROM members WHERE list_id = ? AND status = ?"
    return int(world.db.execute(query, (list_id, status)).fetchone()[0])


def _direction(sort: str) -> str:
    return "DESC" if sort == "desc" else "ASC"

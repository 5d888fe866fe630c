"""One-to-one mails of CRM: what was sent to a record, what bounced, and lifting the block after a bounce.

A bounce blocks the address and never touches Email_Opt_Out.
"""

from typing import Any

import msgspec

from service.zoho.simulator.clock import iso, parse
from service.zoho.simulator.crm.fields import MODULE_IDS
from service.zoho.simulator.crm.gate import error_item, module_of, problem
from service.zoho.simulator.crm.records import API_USER
from service.zoho.simulator.crm.rows import table, user_objects
from service.zoho.simulator.crm.writes import Item, summary
from service.zoho.simulator.wire import Call, Reply, json_reply
from service.zoho.simulator.world import World

PER_PAGE = 10
EMAIL_FIELDS = ("Email", "Secondary_Email")


def bounce(world: World, module: str, number: int, address: str, category: str) -> None:
    """Send a mail to the record that bounces (`hard` or `soft`); a hard bounce blocks the field."""
    now = world.clock.seconds()
    reason = "550 5.1.1 unknown mailbox" if category == "hard" else "452 4.2.2 mailbox full"
    world.db.execute(
        "INSERT INTO mails (module, record_id, address, subject, sent_at, bounced_at, category, reason)"
        " VALUES (?, ?, ?, 'A word about your order', ?, ?, ?, ?)",
        (module, number, address, now - 60, now, category, reason),
    )
    query = f"SELECT Email, Secondary_Email FROM {table(module)} WHERE id = ?"
    row = world.db.execute(query, (number,)).fetchone()
    for field, value in zip(EMAIL_FIELDS, row, strict=True):
        if category == "hard" and value and value.lower() == address.lower():
            world.db.execute("INSERT OR IGNORE INTO blocked VALUES (?, ?, ?)", (module, number, field))


def get_emails(world: World, call: Call) -> Reply:
    """Answer `GET /{Module}/{id}/Emails`: ten a page by `index`, newest first; 204 when none."""
    module, number = module_of(call), call.slots["record_id"]
    start = int(call.query["index"]) if call.query.get("index", "").isdigit() else 0
    since = parse(call.headers.get("if-modified-since", ""))
    rows = world.db.execute(
        "SELECT id, address, subject, sent_at, bounced_at, category, reason FROM mails WHERE module = ?"
        " AND record_id = ? AND sent_at >= ? ORDER BY sent_at DESC, id DESC LIMIT ? OFFSET ?",
        (module, number, since or 0, PER_PAGE + 1, start),
    ).fetchall()
    if not rows:
        return Reply(status=204 if since is None else 304)
    owner = user_objects(world.db)[API_USER]
    mails = [_mail(module, number, owner, row) for row in rows[:PER_PAGE]]
    more = len(rows) > PER_PAGE
    info = {
        "count": len(mails),
        "next_index": str(start + PER_PAGE) if more else None,
        "prev_index": str(start - PER_PAGE) if start else None,
        "per_page": PER_PAGE,
        "more_records": more,
    }
    return json_reply({"Emails": mails, "info": info})


def send(world: World, call: Call) -> Reply:
    """Answer `POST /{Module}/{id}/actions/send_mail`: 403 NO_PERMISSION for a record that opted out."""
    module, number = module_of(call), call.slots["record_id"]
    given = _body(call).get("data")
    mail = given[0] if isinstance(given, list) and given and isinstance(given[0], dict) else {}
    for name in ("from", "to", "subject"):
        if not mail.get(name):
            details = {"api_name": name, "json_path": f"$.data[0].{name}"}
            raise problem("MANDATORY_NOT_FOUND", "required field not found", details)
    query = f"SELECT Email_Opt_Out, Email FROM {table(module)} WHERE id = ?"
    row = world.db.execute(query, (int(number) if number.isdigit() else -1,)).fetchone()
    if row is None:
        raise problem("INVALID_DATA", "the id given seems to be invalid", {"id": number})
    if row[0]:
        message = "permission denied: the record has chosen Email Opt Out"
        raise problem("NO_PERMISSION", message, {"permissions": ["Email_Opt_Out"]}, status=403)
    sent = world.db.execute(
        "INSERT INTO mails (module, record_id, address, subject, sent_at) VALUES (?, ?, ?, ?, ?)"
        " RETURNING id",
        (module, int(number), row[1] or "", str(mail["subject"]), world.clock.seconds()),
    ).fetchone()
    details = {"message_id": f"m{sent[0]:016x}"}
    item = {"code": "SUCCESS", "details": details, "message": "Your mail has been sent successfully."}
    return json_reply({"data": [{**item, "status": "success"}]})


def send_price(_call: Call) -> int:
    """Return the credits of one mail, by the sample of the price list."""
    return 20


def unblock(world: World, call: Call) -> Reply:
    """Answer `POST /{Module}/{id}/actions/unblock_email` and `POST /{Module}/actions/unblock_email`."""
    module = module_of(call)
    body = _body(call)
    fields = body.get("unblock_fields")
    if not isinstance(fields, list) or not fields or not set(fields) <= set(EMAIL_FIELDS):
        details = {"api_name": "unblock_fields", "json_path": "$.unblock_fields"}
        raise problem("INVALID_DATA", "invalid data", details)
    ids = [call.slots["record_id"]] if "record_id" in call.slots else [str(i) for i in body.get("ids") or []]
    results = [_unblock_one(world, module, number, fields) for number in ids]
    if not results:
        raise problem("MANDATORY_NOT_FOUND", "required field not found", {"api_name": "ids"})
    return summary(world, results, ok=200)


def _unblock_one(world: World, module: str, number: str, fields: list[str]) -> Item:
    query = f"SELECT 1 FROM {table(module)} WHERE id = ?"
    if not number.isdigit() or world.db.execute(query, (int(number),)).fetchone() is None:
        return error_item("INVALID_DATA", "the id given seems to be invalid", {"id": number})
    for field in fields:
        world.db.execute(
            "DELETE FROM blocked WHERE module = ? AND record_id = ? AND field = ?",
            (module, int(number), field),
        )
    return {"code": "SUCCESS", "details": {"id": number}, "message": "email unblocked", "status": "success"}


def _mail(
    module: str,
    number: str,
    owner: Item,
    row: tuple[int, str, str, int, int | None, str | None, str | None],
) -> Item:
    mail_id, address, subject, sent_at, bounced_at, category, reason = row
    status: Item = {"type": "sent"}
    if bounced_at is not None:
        status = {
            "type": "bounced",
            "bounced_time": iso(bounced_at),
            "bounced_reason": reason,
            "category": "permanent" if category == "hard" else "temporary",
            "sub_category": "invalid_mailbox" if category == "hard" else "mailbox_full",
        }
    return {
        "cc": None,
        "summary": None,
        "owner": {"name": owner["name"], "id": owner["id"]},
        "read": True,
        "subject": subject,
        "message_id": f"m{mail_id:016x}",
        "source": "CRM",
        "sent": True,
        "linked_record": {"module": {"api_name": module, "id": MODULE_IDS[module]}, "id": number},
        "emotion": None,
        "from": {"user_name": owner["name"], "email": owner["email"]},
        "to": [{"user_name": address, "email": address}],
        "time": iso(sent_at),
        "status": [status],
    }


def _body(call: Call) -> dict[str, Any]:
    try:
        return msgspec.json.decode(call.body, type=dict[str, Any])
    except msgspec.DecodeError:
        details = {"expected_data_type": "jsonobject"}
        raise problem("INVALID_DATA", "body is not a JSON object", details) from None

"""Transmissions of the Email API: what became of each mail, as webhooks and reports tell it."""

from collections.abc import Mapping
from typing import Any

from service.zoho.simulator import shelf
from service.zoho.simulator.campaigns import contacts, hooks, suppression
from service.zoho.simulator.campaigns.email_gate import body_of, done, refuse
from service.zoho.simulator.wire import Call, Reply
from service.zoho.simulator.world import World

KIND = "transmission_event"
DAY_S = 86_400
DEFAULT_DAYS, LONGEST_DAYS = 7, 90
MOST = 100
TRANSMISSION_ID = "13149090000001440022131"
"""As long as in the vendor's own sample, which no 64-bit number holds."""
REPORTED = {"open": "email_open", "click": "email_click", "bounce": "bounce", "spam": "spam"}
_CODES = {
    "hard bounce": ("550", "5.1.1", "The mailbox does not exist"),
    "soft bounce": ("452", "4.2.2", "The mailbox is full"),
}

Event = dict[str, Any]


def happen(
    world: World, action: str, emails: list[str], *, bounce_type: str = "hard bounce", name: str = "t1"
) -> None:
    """Let one thing happen to a mail of each address: recorded, and posted in one body."""
    if not emails:
        return
    events = [_event(world, action, email, bounce_type) | {"transmission_name": name} for email in emails]
    for event in events:
        key = str(world.next_record_id())
        shelf.put(world.db, KIND, key, {**event, "action": action})
        if action == "bounce" and bounce_type == "hard bounce":
            suppression.add(world, event["contact_email"], {"bounce_code": event["bounce_code"]}, "AUTOMATIC")
        if action in ("unsubscribed", "spam"):
            _stop(world, event["contact_email"], "self" if action == "unsubscribed" else "complaint")
    hooks.post(world, action, events)


def send(world: World, call: Call) -> Reply:
    """Answer `POST /transmission`: who is suppressed or wants no mail is rejected, the others get theirs."""
    body = body_of(world, call)
    content, recipients = body.get("content") or {}, body.get("recipients") or []
    if not body.get("transmission_name") or not (content.get("from") or {}).get("address"):
        raise refuse(world, 400101, "The transmission's name or sender is missing")
    if not content.get("subject") or not (content.get("html") or content.get("text")):
        raise refuse(world, 400102, "The subject or the content is missing")
    emails = [str(one.get("address", "")).strip().lower() for one in recipients]
    if not emails or not all(contacts.is_address(email) for email in emails):
        raise refuse(world, 400103, "A recipient is missing or invalid")
    accepted = [email for email in emails if _takes_mail(world, email)]
    happen(world, "email_delivered", accepted, name=str(body["transmission_name"]))
    return done(
        200101,
        "Transmission accepted",
        transmission_id=TRANSMISSION_ID,
        accepted_recipients=len(accepted),
        rejected_recipients=len(emails) - len(accepted),
    )


def report(world: World, call: Call) -> Reply:
    """Answer `GET /reports/event/{kind}`: the last seven days unless told, ninety at most."""
    action = REPORTED.get(call.slots["kind"])
    if action is None:
        raise refuse(world, 400301, "The report does not exist")
    start, end = _window(world, call)
    found = [
        {key: value for key, value in event.items() if key != "action"}
        for _, event in shelf.every(world.db, KIND)
        if event["action"] == action and start <= event["action_time"] <= end and _matches(call.query, event)
    ]
    first, last = (int(call.query.get(k, d)) for k, d in (("start_index", "1"), ("end_index", str(MOST))))
    if first < 1 or last - first >= MOST:
        raise refuse(world, 400304, "The range is invalid")
    shown = found[first - 1 : last]
    return done(200301, "Reports fetched successfully", start_index=first, end_index=last, data=shown)


def summary(world: World, call: Call) -> Reply:
    """Answer `GET /reports/delivery/summary`: how many mails had which outcome."""
    start, end = _window(world, call)
    counts = dict.fromkeys(hooks.ACTIONS, 0)
    for _, event in shelf.every(world.db, KIND):
        if start <= event["action_time"] <= end:
            counts[event["action"]] += 1
    return done(200302, "Summary fetched successfully", summary=counts)


def _window(world: World, call: Call) -> tuple[int, int]:
    now = int(world.clock.now() * 1000)
    texts = call.query.get("from", str(now - DEFAULT_DAYS * DAY_S * 1000)), call.query.get("to", str(now))
    if not all(text.isdigit() for text in texts):
        raise refuse(world, 400302, "The time is invalid")
    start, end = int(texts[0]), int(texts[1])
    if end - start > LONGEST_DAYS * DAY_S * 1000:
        raise refuse(world, 400303, "The window is longer than 90 days")
    return start, end


def _matches(query: Mapping[str, str], event: Event) -> bool:
    return query.get("email", event["contact_email"]).lower() == event["contact_email"] and query.get(
        "bounce_type", event.get("bounce_type")
    ) == event.get("bounce_type")


def _event(world: World, action: str, email: str, bounce_type: str) -> Event:
    contact = contacts.find(world, email)
    now = int(world.clock.now() * 1000)
    event: Event = {
        "action_time": now,
        "contact_id": 1314909000000000000 + (contact.id if contact else 0),
        "contact_email": email,
        "rcpt_additional_data": {},
        "transmission_name": "t1",
        "injected_time": now - 60_000,
        "transmission_id": TRANSMISSION_ID,
        "zuid": 857543122,
    }
    if action in ("bounce", "spam"):
        event |= {
            "sending_ip": "192.0.2.25",
            "rcpt_domain": email.rpartition("@")[2],
            "from": "news@example.org",
            "subject": "Our news",
            "message_id": f"<{world.next_record_id()}@example.org>",
        }
    if action == "bounce":
        code, extended, reason = _CODES[bounce_type]
        event |= {"bounce_code": code, "bounce_type": bounce_type, "bounce_extended_code": extended}
        event["bounce_reason"] = reason
    if action == "email_click":
        event["click_url"] = "https://www.example.org/news"
    return event


def _takes_mail(world: World, email: str) -> bool:
    contact = contacts.find(world, email)
    kept_out = contact is not None and (contact.dnm is not None or contact.hard_bounced)
    return not kept_out and shelf.get(world.db, suppression.KIND, email) is None


def _stop(world: World, email: str, reason: str) -> None:
    contact = contacts.find(world, email)
    if contact is not None and contact.dnm is None:
        contacts.set_dnm(world, contact.id, reason)
        contacts.set_everywhere(world, contact.id, "unsub")

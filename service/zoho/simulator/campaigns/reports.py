"""Reading what became of campaigns: which were sent, their figures, and their recipients by outcome."""

import msgspec

from service.zoho.simulator.campaigns import envelope
from service.zoho.simulator.campaigns.gate import required, window
from service.zoho.simulator.campaigns.markup import XML_ONLY
from service.zoho.simulator.clock import display, epoch_ms, timeline
from service.zoho.simulator.ranks import Listing
from service.zoho.simulator.wire import Call, Reply
from service.zoho.simulator.world import World

MOST = 500
ACTIONS = (
    "sentcontacts",
    "openedcontacts",
    "unopenedcontacts",
    "clickedcontacts",
    "optoutcontacts",
    "spamcontacts",
    "senthardbounce",
    "sentsoftbounce",
    "unsentcontacts",
)
TIME_KEYS = {"optoutcontacts": "optOutTime", "senthardbounce": "bouncedDate", "sentsoftbounce": "bouncedDate"}
"""Where an outcome's own time stands; the other outcomes have none."""

TIMELINES = {"open_timeline": "openedcontacts", "click_timeline": "clickedcontacts"}
"""The undocumented `type` of recipients, and whose opens or clicks it tells one by one."""

_Campaign = tuple[int, str, str, str, int, str]
_COLUMNS = "id, campaign_key, name, subject, sent_at, kind"


def recentcampaigns(world: World, call: Call) -> Reply:
    """Answer `recentcampaigns`, newest first; children of an A/B test are not among them."""
    start, count = window(world, call, most=MOST)
    status = call.params.get("status", "all")
    sent = {"all", "all campaigns", "sent"} & {part.strip().lower() for part in status.split("|")}
    direction = "ASC" if call.params.get("sort") == "asc" else "DESC"
    rows = world.db.execute(
        f"SELECT {_COLUMNS} FROM campaigns WHERE parent_id IS NULL AND ? ORDER BY sent_at {direction}",
        (bool(sent),),
    ).fetchall()
    page = rows[start - 1 : start - 1 + count]
    if not page:
        raise envelope.failure(world, call, "6101", "No campaign has been sent.")
    body = {
        "requestdetails": f"{{range={count}, status={status}, fromindex={start}}}",
        "total_record_count": str(len(rows)),
        "campaign_count": str(len(page)),
        "recent_campaigns": [_recent(world, row) for row in page],
    }
    return envelope.success(world, call, body)


def recentsentcampaigns(world: World, call: Call) -> Reply:
    """Answer `recentsentcampaigns`: the last `limit` campaigns, under a key of its own."""
    (text,) = required(world, call, "limit")
    limit = int(text) if text.isdigit() else 0
    rows = world.db.execute(
        f"SELECT {_COLUMNS} FROM campaigns WHERE parent_id IS NULL ORDER BY sent_at DESC LIMIT ?", (limit,)
    ).fetchall()
    if not rows:
        raise envelope.failure(world, call, "6101", "No campaign has been sent.")
    return envelope.success(world, call, {"recent_sent_campaigns": [_recent(world, row) for row in rows]})


def getlastcampaignreport(world: World, call: Call) -> Reply:
    """Answer `getlastcampaignreport`: the figures of the newest campaign."""
    row: _Campaign | None = world.db.execute(
        f"SELECT {_COLUMNS} FROM campaigns WHERE parent_id IS NULL ORDER BY sent_at DESC LIMIT 1"
    ).fetchone()
    if row is None:
        raise envelope.failure(world, call, "6002", "No campaign has been sent.")
    body = {"campaign-details": [_details(row)], "campaign-reports": [_figures(world, row)]}
    return envelope.success(world, call, body)


def getcampaigndetails(world: World, call: Call) -> Reply:
    """Answer `getcampaigndetails`; an A/B campaign is shown to `campaigntype=abtesting` alone.

    Its figures are those of the final sending: the test phase's stand under the child keys.
    """
    row = _campaign(world, call)
    if row[5] != call.params.get("campaigntype", "normal"):
        return envelope.success(world, call, {"campaign-details": [], "campaign-reports": []})
    body: envelope.Json = {
        "campaign_status": "Sent",
        "campaign-details": [_details(row)],
        "campaign-reports": [_figures(world, row)],
    }
    if row[5] == "abtesting":
        body["AB-split-details"] = [_split(world, row[0])]
    return envelope.success(world, call, body)


def campaignreports(world: World, call: Call) -> Reply:
    """Answer `campaignreports`: every figure is text, and the locations' key is misspelt."""
    row = _campaign(world, call)
    body = {
        "campaign-details": [_details(row)],
        "campaign-reach": [],
        "campaign-reports": [_figures(world, row)],
        "campaign-by-loaction": "{in=2}",
    }
    return envelope.success(world, call, body)


def getcampaignrecipientsdata(world: World, call: Call) -> Reply:
    """Answer `getcampaignrecipientsdata`: 20 rows unless the undocumented `range` asks for up to 500."""
    campaignkey, action = required(world, call, "campaignkey", "action")
    row = world.db.execute(
        f"SELECT {_COLUMNS} FROM campaigns WHERE campaign_key = ?", (campaignkey,)
    ).fetchone()
    if row is None:
        raise envelope.failure(world, call, "6301", "Invalid campaign key.")
    if action not in ACTIONS:
        raise envelope.failure(world, call, "1001", "Pattern doesn't match.")
    start, count = window(world, call, most=MOST)
    rows = _recipients(world, row[0], action, start, count)
    if not rows:
        raise envelope.failure(world, call, "6303", "There are no contacts in the selected mailing list.")
    body = {
        "requestdetails": {"range": count, "action": action, "fromindex": start},
        "list_of_details": [_recipient(world, call, row[4], found) for found in rows],
    }
    return envelope.success(world, call, body)


_Recipient = tuple[int, str, str | None, str | None, str | None, str | None, int, str]


def _recipients(world: World, campaign_id: int, action: str, start: int, count: int) -> list[_Recipient]:
    stored = "sentcontacts" if action == "unopenedcontacts" else action
    unopened = (
        " AND NOT EXISTS (SELECT 1 FROM outcomes x WHERE x.campaign_id = o.campaign_id AND"
        " x.contact_id = o.contact_id AND x.action IN ('openedcontacts', 'senthardbounce', 'sentsoftbounce'))"
    )
    listing = Listing(
        rows="outcomes o WHERE o.campaign_id = ? AND o.action = ?"
        f"{unopened if action == 'unopenedcontacts' else ''}",
        column="o.contact_id",
        values=(campaign_id, stored),
    )
    query = (
        "SELECT c.id, c.email, c.first_name, c.last_name, c.company, c.phone, o.at,"
        " CASE WHEN c.hard_bounced THEN 'bounced' WHEN c.dnm IS NULL THEN 'active' ELSE 'unsubscribed' END"
        " FROM json_each(?) n JOIN contacts c ON c.id = n.value"
        " JOIN outcomes o ON o.campaign_id = ? AND o.action = ? AND o.contact_id = c.id ORDER BY n.key"
    )
    found = msgspec.json.encode(world.ranks.page(listing, start - 1, count)).decode()
    return world.db.execute(query, (found, campaign_id, stored)).fetchall()


def _recipient(world: World, call: Call, sent_at: int, row: _Recipient) -> envelope.Json:
    number, email, first, last, company, phone, at, status = row
    offset, action = world.number("campaigns.display_offset_min"), call.params["action"]
    prefix = "" if world.on("campaigns.outcome_times") else XML_ONLY
    shown: envelope.Json = {
        "contactemailaddress": email,
        "contactid": str(303_000_014_000_000 + number),
        "contactstatus": status,
        **_names(world, first or "null", last or "null"),
        "companyname": company or "null",
        "phone": phone or "null",
        "timezone": "null",
        "sent_time": epoch_ms(sent_at),
        "sentdate": display(sent_at, offset),
    }
    if action in TIME_KEYS:
        shown[prefix + TIME_KEYS[action]] = display(at, offset)
    if TIMELINES.get(call.params.get("type", "")) == action:
        shown[f"{prefix}reports"] = [{"time": timeline(at, offset)}]
    return shown


def _names(world: World, first: str, last: str) -> envelope.Json:
    """Return the recipient's names under the keys of the wire, of the documentation, or of both."""
    keys = {"wire": ("contactfn", "contactln"), "documented": ("firstname", "lastname")}
    told = world.text("campaigns.recipient_names")
    pairs = keys.values() if told == "both" else [keys[told]]
    return {key: name for pair in pairs for key, name in zip(pair, (first, last), strict=True)}


def _campaign(world: World, call: Call) -> _Campaign:
    (campaignkey,) = required(world, call, "campaignkey")
    row: _Campaign | None = world.db.execute(
        f"SELECT {_COLUMNS} FROM campaigns WHERE campaign_key = ?", (campaignkey,)
    ).fetchone()
    if row is None:
        raise envelope.failure(world, call, "6001", "Invalid campaign key.")
    return row


def _recent(world: World, row: _Campaign) -> envelope.Json:
    _, key, name, subject, sent_at, kind = row
    offset = world.number("campaigns.display_offset_min")
    return {
        "campaign_key": key,
        "campaign_name": name,
        "campaign_status": "Sent",
        "campaign_preview": "null",
        "created_date_string": display(sent_at - 3600, offset),
        "created_time": epoch_ms(sent_at - 3600),
        "sent_date_string": display(sent_at, offset),
        "sent_time": epoch_ms(sent_at),
        "sent_time_gmt": epoch_ms(sent_at),
        "created_time_gmt": epoch_ms(sent_at - 3600),
        "updated_time_gmt": epoch_ms(sent_at),
        "campaigntype": kind,
        "subject": subject,
        "from_email": "news@example.org",
        "reply_to": "news@example.org",
    }


def _details(row: _Campaign) -> envelope.Json:
    _, key, name, subject, sent_at, kind = row
    return {
        "campaign_key": key,
        "campaign_name": name,
        "email_subject": subject,
        "email_from": "news@example.org",
        "reply_to": "news@example.org",
        "email_type": kind,
        "email_options": "null",
        "sent_time": epoch_ms(sent_at),
        "created_time": epoch_ms(sent_at - 3600),
    }


def _split(world: World, parent_id: int) -> envelope.Json:
    children = world.db.execute(
        "SELECT id, campaign_key FROM campaigns WHERE parent_id = ? ORDER BY id", (parent_id,)
    ).fetchall()
    split: envelope.Json = {}
    for action, word in (("openedcontacts", "open"), ("clickedcontacts", "click")):
        for letter, (number, _) in zip("ab", children, strict=True):
            split[f"{letter}_{word}_count"] = str(_count(world, number, action))
    return split | {
        f"{letter}_child_campaignkey": key for letter, (_, key) in zip("ab", children, strict=True)
    }


def _count(world: World, campaign_id: int, action: str) -> int:
    query = "SELECT count(*) FROM outcomes WHERE campaign_id = ? AND action = ?"
    return int(world.db.execute(query, (campaign_id, action)).fetchone()[0])


def _figures(world: World, row: _Campaign) -> envelope.Json:
    counts = {action: _count(world, row[0], action) for action in ACTIONS}
    sent, hard, soft = counts["sentcontacts"], counts["senthardbounce"], counts["sentsoftbounce"]
    delivered, opens = sent - hard - soft, counts["openedcontacts"]
    figures = {
        "delivered": delivered,
        "unopened": delivered - opens,
        "bounce": hard + soft,
        "unsubscribe": counts["optoutcontacts"],
        "spam": counts["spamcontacts"],
        "complaints": counts["spamcontacts"],
        "open": opens,
        "unique_clicked": counts["clickedcontacts"],
        "forward": 0,
        "unsent": 0,
    }
    percents = {f"{name}_percent": f"{100 * number / max(sent, 1):.2f}" for name, number in figures.items()}
    return {
        "campaign_name": row[2],
        "emails_sent_count": str(sent),
        "delivered_count": str(delivered),
        "opens_count": str(opens),
        "unopened": str(delivered - opens),
        "unique_clicks_count": str(counts["clickedcontacts"]),
        "clicksperopenrate": f"{100 * counts['clickedcontacts'] / max(opens, 1):.2f}",
        "bounces_count": str(hard + soft),
        "hardbounce_count": str(hard),
        "softbounce_count": str(soft),
        "unsub_count": str(counts["optoutcontacts"]),
        "spams_count": str(counts["spamcontacts"]),
        "complaints_count": str(counts["spamcontacts"]),
        "forwards_count": "0",
        "autoreply_count": "0",
        "unsent_count": "0",
        **percents,
    }

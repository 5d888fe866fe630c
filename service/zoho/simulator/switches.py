"""What nobody knows about Zoho, or what its own pages contradict: one named switch each.

The default is what the best source says; a test flips a switch through the control plane to show
that a client stands the other variant as well.
"""

from dataclasses import dataclass
from types import MappingProxyType

Value = bool | int | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """One open question: the default answer, the others (none: any of the type), why it is open."""

    default: Value
    others: tuple[Value, ...] = ()
    why: str

    def accepts(self, value: object) -> bool:
        """Return whether `value` is one of the answers that the simulator can give."""
        if type(value) is not type(self.default):
            return False
        return not self.others or value in (self.default, *self.others)


ALL_SCOPES = (
    "ZohoCRM.modules.ALL ZohoCRM.coql.READ ZohoCRM.settings.ALL ZohoCRM.org.READ ZohoCRM.users.READ "
    "ZohoCRM.apis.READ ZohoCRM.bulk.ALL ZohoCRM.notifications.ALL ZohoSearch.securesearch.READ "
    "ZohoFiles.files.ALL ZohoCRM.features.READ ZohoCampaigns.emailapi.ALL "
    "ZohoCampaigns.contact.ALL ZohoCampaigns.campaign.ALL ZohoCampaigns.workflow.CREATE"
)

SWITCHES = MappingProxyType(
    {
        "dc.home": Switch(
            default="eu",
            others=("us", "in", "au", "jp", "cn", "ca", "sa"),
            why="which data centre holds the organisation; tokens and clients of another are refused",
        ),
        "oauth.bearer": Switch(
            default=False, why="some code sends `Bearer`; nobody shows that Zoho takes it"
        ),
        "oauth.consent": Switch(
            default="accepts", others=("refuses",), why="what the person in the browser answers"
        ),
        "oauth.error_status": Switch(
            default=200,
            others=(400,),
            why="HTTP 200 is seen for invalid_code alone; of other errors nobody shows the status",
        ),
        "oauth.legacy_expiry": Switch(
            default=False, why="old answers carry expires_in_sec, and expires_in in milliseconds"
        ),
        "oauth.redirect_uris": Switch(
            default="", why="what the client registered, space separated; empty: anywhere on loopback"
        ),
        "oauth.scope_in_token": Switch(default=True, why="only newer token answers carry `scope`"),
        "oauth.scopes": Switch(
            default=ALL_SCOPES, why="what the refresh token was granted; narrow it to see 401s"
        ),
        "oauth.tokens_per_10_min": Switch(default=10, why="older pages and live notes say 15 or 30"),
        "crm.api_optout_stamps_mode": Switch(
            default=True, why="whether an API write of Email_Opt_Out sets Unsubscribed_Mode is not verified"
        ),
        "crm.basis_spelling": Switch(
            default="waiting",
            others=("awaiting", "short"),
            why="`Consent - Waiting` or `- Awaiting`, or no prefix as in the SDK's samples; ask the picklist",
        ),
        "crm.privacy_settings": Switch(
            default=False, why="whether compliance is on, which adds the basis of processing to each record"
        ),
        "crm.concurrent_calls": Switch(default=20, why="the edition's limit; Enterprise's by two digests"),
        "crm.sub_concurrent_calls": Switch(
            default=10, why="shared by COQL, sorted and view listings, searches and writes of more than ten"
        ),
        "crm.latency_ms": Switch(
            default=0, why="how long each CRM call takes; calls overlap only if it is not 0"
        ),
        "crm.merge_lists": Switch(
            default="recycle",
            others=("permanent", "nothing"),
            why="whether /deleted lists the records that were merged away is not written",
        ),
        "crm.coql_in_limit": Switch(default=50, others=(100,), why="50 values in `in`, newer text says 100"),
        "crm.coql_limit": Switch(
            default=2000, others=(200,), why="the limits page says 2,000, the endpoint page 200"
        ),
        "crm.coql_meta": Switch(
            default="by_name",
            others=("list",),
            why="include_meta is documented, the shape of what it adds is not: by field name, or a list",
        ),
        "crm.conversion_carries_optout": Switch(
            default=False, why="whether a converted lead's Email_Opt_Out reaches the contact is not verified"
        ),
        "crm.credits_per_day": Switch(default=60_000, why="Enterprise with ten users; set low to see 429"),
        "crm.get_errors": Switch(
            default="top_level",
            others=("data",),
            why="the examples are top-level, one schema wraps them in data[]",
        ),
        "crm.read_only_fields": Switch(
            default="refused",
            others=("ignored",),
            why="read-only is documented, the answer to a write is not",
        ),
        "crm.search_email": Switch(
            default="exact", others=("partial",), why="exact by note, partial by the schema"
        ),
        "crm.search_criteria": Switch(
            default=10, others=(15,), why="10 criteria by the page, 15 by the schema"
        ),
        "crm.search_lag_s": Switch(
            default=10, why="new and changed records reach the search index late; how late is not said"
        ),
        "crm.unblock_scope": Switch(
            default="ZohoCRM.settings.emails.CREATE",
            others=("ZohoCRM.send_mail.{module}.CREATE",),
            why="the schema and the page name different scopes for unblock_email",
        ),
        "crm.unsubscribe_links_scope": Switch(
            default="ZohoCRM.settings.unsubscribe.READ",
            others=("ZohoCRM.settings.unsubscribe_links.READ",),
            why="the schema and the page name different scopes",
        ),
        "crm.throttle_body": Switch(
            default="new", others=("old",), why="an older live 429 has another shape"
        ),
        "crm.throttle_code": Switch(
            default="TOO_MANY_REQUESTS",
            others=("RATE_LIMIT_EXCEEDED",),
            why="two official names of one limit",
        ),
        "crm.unknown_id": Switch(default="204", others=("400",), why="204 in the schema, 400 on the page"),
        "bulk.downloads_per_min": Switch(default=10, why="documented; a switch so that it can be reached"),
        "bulk.duration_ms": Switch(default=1500, why="how long a bulk job takes; nobody promises anything"),
        "bulk.early_result": Switch(
            default=False, why="the text says `result` comes with completion, the samples print it always"
        ),
        "bulk.fate": Switch(
            default="completes", others=("fails", "never"), why="a job may fail, or stay in progress for ever"
        ),
        "bulk.id_column": Switch(
            default="Id", others=("id",), why="the case of the id column is not verified"
        ),
        "bulk.omit_column": Switch(default="", why="a column that the file lacks although it was asked for"),
        "bulk.paging": Switch(
            default="both",
            others=("page", "page_token"),
            why="one page demands the token beyond 200,000 rows and still describes the page number",
        ),
        "bulk.read_credits": Switch(default=50, others=(500,), why="50 by the tables, 500 by a note"),
        "bulk.result_url": Switch(
            default="relative", others=("absolute",), why="the result's address has been printed both ways"
        ),
        "bulk.rows_per_page": Switch(default=200_000, why="documented; set low to page with few people"),
        "bulk.runs_workflows": Switch(
            default=False, why="whether bulk write runs workflows is not documented"
        ),
        "bulk.too_large": Switch(default="413", others=("400",), why="FILE_TOO_LARGE or INVALID_DATA"),
        "bulk.write_credits": Switch(default=500, why="by the older tables; ask __apis at run time"),
        "bulk.write_state": Switch(
            default="INPROGRESS", others=("IN PROGRESS",), why="samples and text spell the state differently"
        ),
        "campaigns.bulk_answer": Switch(
            default="documented",
            others=("Z101",),
            why="a user's bulk add took effect and was answered with the code Z101, which no page explains",
        ),
        "campaigns.codes": Switch(
            default="documented",
            others=("number", "string"),
            why="codes come as text or number by endpoint and by day; the other answers force one type",
        ),
        "campaigns.confirmation": Switch(
            default="signup_form",
            others=("always",),
            why="confirmation mail for lists with a sign-up form, says the page; always, say two clients",
        ),
        "campaigns.display_offset_min": Switch(
            default=0, why="display times carry no zone; presumably the account's, minutes east of UTC"
        ),
        "campaigns.dnm_lists": Switch(
            default="unsub", others=("unchanged",), why="whether Do-Not-Mail empties the lists is not written"
        ),
        "campaigns.dnm_unknown": Switch(
            default="2103", others=("added",), why="Do-Not-Mail for an address that Campaigns never saw"
        ),
        "campaigns.error_keys": Switch(
            default="lower",
            others=("capital",),
            why="errors under HTTP 200 have been seen with `Code` and `Message` as well",
        ),
        "campaigns.largest_range": Switch(
            default=650, why="a client in the wild found 650 for lists, 500 was verified for recipients"
        ),
        "campaigns.optout_sets_type": Switch(
            default=False,
            why="whether leaving a list or Do-Not-Mail changes the Subscription Type is an open question",
        ),
        "campaigns.outcome_times": Switch(
            default=True, why="bouncedDate and optOutTime are seen in XML; their JSON twins are not attested"
        ),
        "campaigns.range_over_max": Switch(
            default="clamped", others=("6502",), why="a range above the maximum may be cut or refused"
        ),
        "campaigns.recipient_names": Switch(
            default="wire",
            others=("documented", "both"),
            why="recipients are documented with firstname and lastname; live ones had contactfn, contactln",
        ),
        "campaigns.recent_days": Switch(default=30, why="the window of status=recent is undocumented"),
        "campaigns.segment_members": Switch(
            default="active", others=("all",), why="whether a segment holds those who left the list"
        ),
        "campaigns.segment_rows": Switch(
            default="list_of_details",
            others=("segment_contacts",),
            why="the sister product's JSON says list_of_details, the XML and one client say segment_contacts",
        ),
        "campaigns.subscribe_dnm": Switch(
            default="2006", others=("noop",), why="subscribing a Do-Not-Mail address without donotmail_resub"
        ),
        "campaigns.subscribe_hard_bounced": Switch(
            default="ignored",
            others=("2001",),
            why="re-adds of hard bounces are ignored; the answer is unknown",
        ),
        "campaigns.unsubscribe_unknown": Switch(
            default="2103", others=("2101",), why="the catalogue and the endpoint's page differ"
        ),
        "campaigns.version": Switch(
            default="1.1", others=("1",), why="samples print both versions in the envelope"
        ),
        "campaigns.window_factor": Switch(
            default=1, why="multiplies every call window, for runs that must not wait for the vendor's clock"
        ),
        "campaigns.field_types": Switch(
            default=False,
            why="the published row of allfields names no type and no length; whether real ones do is open",
        ),
        "campaigns.workflow_codes": Switch(
            default="apart",
            others=("9002", "9004", "9006", "9007"),
            why="a trigger's four codes are published without their meaning: told apart, or one for all",
        ),
        "campaigns.workflow_delay_s": Switch(
            default=0, why="how long after the trigger a workflow acts is not promised"
        ),
        "emailapi.auth_header": Switch(
            default="Authorization",
            others=("X-Auth-Token", "auth_token"),
            why="how a webhook's token is transmitted is undocumented",
        ),
        "emailapi.calls_per_min": Switch(
            default=0, why="a rate limit exists, its figure does not; 0 for none"
        ),
        "emailapi.campaign_events": Switch(
            default=False, why="whether campaigns fire the Email API's webhooks is not stated"
        ),
        "emailapi.error_status": Switch(
            default="http",
            others=("200",),
            why="whether errors have an HTTP status of their own is not shown",
        ),
        "emailapi.webhook_count": Switch(
            default="zero", others=("true",), why="the vendor's sample counts 0 above two rows"
        ),
        "throttle.retry_after": Switch(
            default=0,
            why="no page promises Retry-After, a note says it may be there; its seconds, 0 for none",
        ),
        "throttle.style": Switch(
            default="v11_2008",
            others=("gateway_400", "gateway_200", "http_429"),
            why="the body of a locked Campaigns endpoint is unpublished",
        ),
        "bounce.soft_to_hard": Switch(
            default=0,
            others=(3,),
            why="three soft bounces in a row become hard, says one page; 0 leaves them active, as planted",
        ),
        "watch.delay_ms": Switch(default=0, why="how late notifications come is not promised"),
        "watch.duplicate_every": Switch(
            default=0, why="no guarantee of once: every n-th comes twice, 0 none"
        ),
        "watch.longest_days": Switch(default=7, others=(1,), why="one week by v8, one day by older texts"),
        "watch.lose_every": Switch(default=0, why="no guarantee at all: every n-th is lost, 0 none"),
        "watch.mixed_status": Switch(
            default="207", others=("202",), why="207 in examples, 202 in the schema"
        ),
        "watch.reorder": Switch(default=False, why="no guarantee of order: neighbours change places"),
        "watch.retries": Switch(default=0, others=(5,), why="a note without a source lists five retries"),
        "watch.token_length": Switch(default=50, others=(256,), why="50 by the page, 256 by the schema"),
        "sync.immediate_delay_s": Switch(
            default=420, why="new records reach Campaigns in five to ten minutes"
        ),
        "sync.immediate_updates": Switch(
            default=False, why="whether immediate sync also carries changes of existing records is not stated"
        ),
        "sync.removes_departed": Switch(
            default=False, why="whether a record that left the view leaves the list as well is not stated"
        ),
        "sync.unsub_to_crm": Switch(default=False, why="no Zoho page states that unsubscribes reach CRM"),
        "sync.bounce_to_crm": Switch(default=False, why="no Zoho page states that bounces reach CRM"),
    }
)


def defaults() -> dict[str, Value]:
    """Return every switch at its default."""
    return {name: switch.default for name, switch in SWITCHES.items()}

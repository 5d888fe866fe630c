"""What nobody knows about CRM: records, bulk jobs, notifications."""

from types import MappingProxyType

from service.zoho.simulator.switches.switch import Switch

CRM = MappingProxyType(
    {
        "bulk.downloads_per_min": Switch(
            default=10, why="documented; a switch so that it can be reached", facts="zoho-crm 3.1"
        ),
        "bulk.duration_ms": Switch(
            default=1500, why="how long a bulk job takes; nobody promises anything", facts="zoho-crm 3.1"
        ),
        "bulk.early_result": Switch(
            default=False,
            why="the text says `result` comes with completion, the samples print it always",
            facts="zoho-crm 10",
        ),
        "bulk.fate": Switch(
            default="completes",
            others=("fails", "never"),
            why="a job may fail, or stay in progress for ever",
            facts="zoho-crm 3.1",
        ),
        "bulk.id_column": Switch(
            default="Id", others=("id",), why="the case of the id column is not verified", facts="zoho-crm 10"
        ),
        "bulk.media_type": Switch(
            default="application/x-download",
            others=("application/zip",),
            why="two schemas name two content types of a downloaded result",
            facts="zoho-crm 3.1",
        ),
        "bulk.omit_column": Switch(
            default="", why="a column that the file lacks although it was asked for", facts="zoho-crm 3.1"
        ),
        "bulk.paging": Switch(
            default="both",
            others=("page", "page_token"),
            why="one page demands the token beyond 200,000 rows and still describes the page number",
            facts="zoho-crm 3.1",
        ),
        "bulk.read_credits": Switch(
            default=50, others=(500,), why="50 by the tables, 500 by a note", facts="zoho-crm 10"
        ),
        "bulk.result_lasts_s": Switch(
            default=0,
            why="how long a result stays downloadable is not verified: seconds from the start, 0 for ever",
            facts="zoho-crm 3.1",
        ),
        "bulk.result_url": Switch(
            default="relative",
            others=("absolute",),
            why="the result's address has been printed both ways",
            facts="zoho-crm 3.2",
        ),
        "bulk.rows_per_page": Switch(
            default=200_000, why="documented; set low to page with few people", facts="zoho-crm 3.1"
        ),
        "bulk.runs_workflows": Switch(
            default=False, why="whether bulk write runs workflows is not documented", facts="zoho-crm 11"
        ),
        "bulk.too_large": Switch(
            default="413", others=("400",), why="FILE_TOO_LARGE or INVALID_DATA", facts="zoho-crm 10"
        ),
        "bulk.upload_host": Switch(
            default="any",
            others=("apart",),
            why="three hosts are named for uploads; apart: only the host called `localhost` takes them",
            facts="zoho-crm 10",
        ),
        "bulk.write_credits": Switch(
            default=500, why="by the older tables; ask __apis at run time", facts="zoho-crm 6"
        ),
        "bulk.write_state": Switch(
            default="INPROGRESS",
            others=("IN PROGRESS",),
            why="samples and text spell the state differently",
            facts="zoho-crm 10",
        ),
        "crm.api_optout_stamps_mode": Switch(
            default=True,
            why="whether an API write of Email_Opt_Out sets Unsubscribed_Mode is not verified",
            facts="zoho-crm 11",
        ),
        "crm.bad_token": Switch(
            default="INVALID_TOKEN",
            others=("AUTHENTICATION_FAILURE",),
            why="a bad token is occasionally answered like a missing one",
            facts="zoho-crm 1.3",
        ),
        "crm.basis_spelling": Switch(
            default="waiting",
            others=("awaiting", "short"),
            why="`Consent - Waiting` or `- Awaiting`, or no prefix as in the SDK's samples; ask the picklist",
            facts="zoho-crm 2.7",
        ),
        "crm.concurrent_calls": Switch(
            default=20, why="the edition's limit; Enterprise's by two digests", facts="zoho-crm 6"
        ),
        "crm.conversion_carries_optout": Switch(
            default=False,
            why="whether a converted lead's Email_Opt_Out reaches the contact is not verified",
            facts="zoho-crm 11",
        ),
        "crm.coql_in_limit": Switch(
            default=50, others=(100,), why="50 values in `in`, newer text says 100", facts="zoho-crm 2.4"
        ),
        "crm.coql_limit": Switch(
            default=2000,
            others=(200,),
            why="the limits page says 2,000, the endpoint page 200",
            facts="zoho-crm 10",
        ),
        "crm.coql_meta": Switch(
            default="by_name",
            others=("list",),
            why="include_meta is documented, the shape of what it adds is not: by field name, or a list",
            facts="zoho-crm 2.4",
        ),
        "crm.coql_reach": Switch(
            default=100_000,
            others=(10_000,),
            why="LIMIT and OFFSET reach 100,000 rows by the limits page, 10,000 by the endpoint's page",
            facts="zoho-crm 2.4",
        ),
        "crm.credits_per_day": Switch(
            default=60_000, why="Enterprise with ten users; set low to see 429", facts="zoho-crm 6"
        ),
        "crm.denied": Switch(
            default="",
            why="what the API user's profile forbids, as `GET:Contacts PUT:Leads`",
            facts="zoho-crm 7",
        ),
        "crm.denied_as": Switch(
            default="NO_PERMISSION 403",
            others=("AUTHORIZATION_FAILED 400", "AUTHORIZATION_FAILED 403"),
            why="two codes say that a profile forbids it, and the second has two statuses",
            facts="zoho-crm 7",
        ),
        "crm.duplicate_details": Switch(
            default="new",
            others=("old",),
            why="older answers to a duplicate tell its field and id alone",
            facts="zoho-crm 2.5",
        ),
        "crm.get_errors": Switch(
            default="top_level",
            others=("data",),
            why="the examples are top-level, one schema wraps them in data[]",
            facts="zoho-crm 10",
        ),
        "crm.latency_ms": Switch(
            default=0,
            why="how long each CRM call takes; calls overlap only if it is not 0",
            facts="zoho-crm 6",
        ),
        "crm.locked_status": Switch(
            default=400,
            others=(409,),
            why="a locked record is 400 by the schema, 409 by an unverified note",
            facts="zoho-crm 7",
        ),
        "crm.merge_lists": Switch(
            default="recycle",
            others=("permanent", "nothing"),
            why="whether /deleted lists the records that were merged away is not written",
            facts="zoho-crm 2.6",
        ),
        "crm.privacy_settings": Switch(
            default=False,
            why="whether compliance is on, which adds the basis of processing to each record",
            facts="zoho-crm 2.7",
        ),
        "crm.read_only_fields": Switch(
            default="refused",
            others=("ignored",),
            why="read-only is documented, the answer to a write is not",
            facts="zoho-crm 2.2",
        ),
        "crm.scope_mismatch": Switch(
            default="usual",
            others=("unauthorized", "address"),
            why="the message of a missing scope is sometimes `Unauthorized`, its details sometimes the call",
            facts="zoho-crm 1.3",
        ),
        "crm.search_criteria": Switch(
            default=10, others=(15,), why="10 criteria by the page, 15 by the schema", facts="zoho-crm 10"
        ),
        "crm.search_email": Switch(
            default="exact",
            others=("partial",),
            why="exact by note, partial by the schema",
            facts="zoho-crm 10",
        ),
        "crm.search_lag_s": Switch(
            default=10,
            why="new and changed records reach the search index late; how late is not said",
            facts="zoho-crm 2.3",
        ),
        "crm.sub_concurrent_calls": Switch(
            default=10,
            why="shared by COQL, sorted and view listings, searches and writes of more than ten",
            facts="zoho-crm 6",
        ),
        "crm.throttle_body": Switch(
            default="new", others=("old",), why="an older live 429 has another shape", facts="zoho-crm 10"
        ),
        "crm.throttle_code": Switch(
            default="TOO_MANY_REQUESTS",
            others=("RATE_LIMIT_EXCEEDED",),
            why="two official names of one limit",
            facts="zoho-crm 10",
        ),
        "crm.throttle_message": Switch(
            default="too many requests. please try again after some time",
            why="the exact message of a 429 is not verified",
            facts="zoho-crm 11",
        ),
        "crm.timeline_values": Switch(
            default="text",
            others=("boolean",),
            why="whether a timeline shows a checkbox's values as text is not verified",
            facts="zoho-crm 2.6",
        ),
        "crm.unblock_scope": Switch(
            default="ZohoCRM.settings.emails.CREATE",
            others=("ZohoCRM.send_mail.{module}.CREATE",),
            why="the schema and the page name different scopes for unblock_email",
            facts="zoho-crm 10",
        ),
        "crm.unknown_id": Switch(
            default="204", others=("400",), why="204 in the schema, 400 on the page", facts="zoho-crm 10"
        ),
        "crm.unsubscribe_links_scope": Switch(
            default="ZohoCRM.settings.unsubscribe.READ",
            others=("ZohoCRM.settings.unsubscribe_links.READ",),
            why="the schema and the page name different scopes",
            facts="zoho-crm 10",
        ),
        "crm.wrong_method_status": Switch(
            default=400,
            others=(405,),
            why="INVALID_REQUEST_METHOD is 400 in the examples, 405 in the table of statuses",
            facts="zoho-crm 7",
        ),
        "watch.delay_ms": Switch(
            default=0, why="how late notifications come is not promised", facts="zoho-crm 4.2"
        ),
        "watch.details_need_channel": Switch(
            default=False,
            why="channel_id of GET is mandatory by the page's text, and absent from its own sample",
            facts="zoho-crm 4.1",
        ),
        "watch.duplicate_every": Switch(
            default=0, why="no guarantee of once: every n-th comes twice, 0 none", facts="zoho-crm 4.2"
        ),
        "watch.longest_days": Switch(
            default=7, others=(1,), why="one week by v8, one day by older texts", facts="zoho-crm 10"
        ),
        "watch.lose_every": Switch(
            default=0, why="no guarantee at all: every n-th is lost, 0 none", facts="zoho-crm 4.2"
        ),
        "watch.mixed_status": Switch(
            default="207", others=("202",), why="207 in examples, 202 in the schema", facts="zoho-crm 10"
        ),
        "watch.reorder": Switch(
            default=False, why="no guarantee of order: neighbours change places", facts="zoho-crm 4.2"
        ),
        "watch.resource_version": Switch(
            default="v2",
            others=("v8",),
            why="notifications name crm/v2 whatever was called; one comment shows v8",
            facts="zoho-crm 4.2",
        ),
        "watch.retries": Switch(
            default=0, others=(5,), why="a note without a source lists five retries", facts="zoho-crm 4.2"
        ),
        "watch.token_length": Switch(
            default=50, others=(256,), why="50 by the page, 256 by the schema", facts="zoho-crm 10"
        ),
    }
)

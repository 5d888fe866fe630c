"""What nobody knows about Campaigns: its v1.1, its Email API, the sync with CRM."""

from types import MappingProxyType

from service.zoho.simulator.switches.switch import Switch

CAMPAIGNS = MappingProxyType(
    {
        "bounce.soft_to_hard": Switch(
            default=0,
            others=(3,),
            why="three soft bounces in a row become hard, says one page; 0 leaves them active, as planted",
            facts="zoho-campaigns 5",
        ),
        "campaigns.bulk_answer": Switch(
            default="documented",
            others=("Z101",),
            why="a user's bulk add took effect and was answered with the code Z101, which no page explains",
            facts="zoho-campaigns 6",
        ),
        "campaigns.codes": Switch(
            default="documented",
            others=("number", "string"),
            why="codes come as text or number by endpoint and by day; the other answers force one type",
            facts="zoho-campaigns 0",
        ),
        "campaigns.confirmation": Switch(
            default="signup_form",
            others=("always",),
            why="confirmation mail for lists with a sign-up form, says the page; always, say two clients",
            facts="zoho-campaigns 2",
        ),
        "campaigns.deleted_list": Switch(
            default="2501",
            others=("2203", "2206"),
            why="a deleted list is an invalid key, or has one of two codes that mean other things elsewhere",
            facts="zoho-campaigns 1.5",
        ),
        "campaigns.display_offset_min": Switch(
            default=0,
            why="display times carry no zone; presumably the account's, minutes east of UTC",
            facts="zoho-campaigns 1.4",
        ),
        "campaigns.dnm_lists": Switch(
            default="unsub",
            others=("unchanged",),
            why="whether Do-Not-Mail empties the lists is not written",
            facts="zoho-campaigns 10",
        ),
        "campaigns.dnm_unknown": Switch(
            default="2103",
            others=("added",),
            why="Do-Not-Mail for an address that Campaigns never saw",
            facts="zoho-campaigns 9",
        ),
        "campaigns.error_keys": Switch(
            default="lower",
            others=("capital",),
            why="errors under HTTP 200 have been seen with `Code` and `Message` as well",
            facts="zoho-campaigns 0",
        ),
        "campaigns.field_types": Switch(
            default=False,
            why="the published row of allfields names no type and no length; whether real ones do is open",
            facts="zoho-campaigns 2",
        ),
        "campaigns.largest_range": Switch(
            default=650,
            why="a client in the wild found 650 for lists, 500 was verified for recipients",
            facts="zoho-campaigns 10",
        ),
        "campaigns.most_contacts": Switch(
            default=0,
            why="the plan's number of contacts, of which no call tells; one more is 914, 0 for no limit",
            facts="zoho-campaigns 1.5",
        ),
        "campaigns.optout_sets_type": Switch(
            default=False,
            why="whether leaving a list or Do-Not-Mail changes the Subscription Type is an open question",
            facts="zoho-campaigns 10",
        ),
        "campaigns.outcome_times": Switch(
            default=True,
            why="bouncedDate and optOutTime are seen in XML; their JSON twins are not attested",
            facts="zoho-campaigns 3",
        ),
        "campaigns.range_over_max": Switch(
            default="clamped",
            others=("6502",),
            why="a range above the maximum may be cut or refused",
            facts="zoho-campaigns 10",
        ),
        "campaigns.recent_days": Switch(
            default=30, why="the window of status=recent is undocumented", facts="zoho-campaigns 9"
        ),
        "campaigns.recipient_names": Switch(
            default="wire",
            others=("documented", "both"),
            why="recipients are documented with firstname and lastname; live ones had contactfn, contactln",
            facts="zoho-campaigns 0",
        ),
        "campaigns.segment_members": Switch(
            default="active",
            others=("all",),
            why="whether a segment holds those who left the list",
            facts="zoho-campaigns 2",
        ),
        "campaigns.segment_rows": Switch(
            default="list_of_details",
            others=("segment_contacts",),
            why="the sister product's JSON says list_of_details, the XML and one client say segment_contacts",
            facts="zoho-campaigns 2",
        ),
        "campaigns.subscribe_dnm": Switch(
            default="2006",
            others=("noop",),
            why="subscribing a Do-Not-Mail address without donotmail_resub",
            facts="zoho-campaigns 9",
        ),
        "campaigns.subscribe_hard_bounced": Switch(
            default="ignored",
            others=("2001",),
            why="re-adds of hard bounces are ignored; the answer is unknown",
            facts="zoho-campaigns 10",
        ),
        "campaigns.unsubscribe_unknown": Switch(
            default="2103",
            others=("2101",),
            why="the catalogue and the endpoint's page differ",
            facts="zoho-campaigns 9",
        ),
        "campaigns.version": Switch(
            default="1.1",
            others=("1",),
            why="samples print both versions in the envelope",
            facts="zoho-campaigns 1.4",
        ),
        "campaigns.window_factor": Switch(
            default=1,
            why="multiplies every call window, for runs that must not wait for the vendor's clock",
            facts="zoho-campaigns 7",
        ),
        "campaigns.workflow_codes": Switch(
            default="apart",
            others=("9002", "9004", "9006", "9007"),
            why="a trigger's four codes are published without their meaning: told apart, or one for all",
            facts="zoho-campaigns 1.5",
        ),
        "campaigns.workflow_delay_s": Switch(
            default=0,
            why="how long after the trigger a workflow acts is not promised",
            facts="zoho-campaigns 4",
        ),
        "emailapi.auth_header": Switch(
            default="Authorization",
            others=("X-Auth-Token", "auth_token"),
            why="how a webhook's token is transmitted is undocumented",
            facts="zoho-campaigns 4",
        ),
        "emailapi.calls_per_min": Switch(
            default=0, why="a rate limit exists, its figure does not; 0 for none", facts="zoho-campaigns 4"
        ),
        "emailapi.campaign_events": Switch(
            default=False,
            why="whether campaigns fire the Email API's webhooks is not stated",
            facts="zoho-campaigns 4",
        ),
        "emailapi.error_status": Switch(
            default="http",
            others=("200",),
            why="whether errors have an HTTP status of their own is not shown",
            facts="zoho-campaigns 4",
        ),
        "emailapi.transmission_id": Switch(
            default="text",
            others=("number",),
            why="one page calls the id a Long, another a String; the sample's 23 digits fit no Long",
            facts="zoho-campaigns 4",
        ),
        "emailapi.webhook_count": Switch(
            default="zero",
            others=("true",),
            why="the vendor's sample counts 0 above two rows",
            facts="zoho-campaigns 4",
        ),
        "sync.bounce_to_crm": Switch(
            default=False, why="no Zoho page states that bounces reach CRM", facts="zoho-campaigns 6"
        ),
        "sync.immediate_delay_s": Switch(
            default=420, why="new records reach Campaigns in five to ten minutes", facts="zoho-campaigns 6"
        ),
        "sync.immediate_updates": Switch(
            default=False,
            why="whether immediate sync also carries changes of existing records is not stated",
            facts="zoho-campaigns 6",
        ),
        "sync.removes_departed": Switch(
            default=False,
            why="whether a record that left the view leaves the list as well is not stated",
            facts="zoho-campaigns 6",
        ),
        "sync.unsub_to_crm": Switch(
            default=False, why="no Zoho page states that unsubscribes reach CRM", facts="zoho-campaigns 6"
        ),
    }
)

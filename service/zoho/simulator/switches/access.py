"""What nobody knows about getting in: data centres, tokens, refusals for too many calls."""

from types import MappingProxyType

from service.zoho.simulator.switches.switch import Switch

ALL_SCOPES = (
    "ZohoCRM.modules.ALL ZohoCRM.coql.READ ZohoCRM.settings.ALL ZohoCRM.org.READ ZohoCRM.users.READ "
    "ZohoCRM.apis.READ ZohoCRM.bulk.ALL ZohoCRM.notifications.ALL ZohoSearch.securesearch.READ "
    "ZohoFiles.files.ALL ZohoCRM.features.READ ZohoCampaigns.emailapi.ALL "
    "ZohoCampaigns.contact.ALL ZohoCampaigns.campaign.ALL ZohoCampaigns.workflow.CREATE"
)

ACCESS = MappingProxyType(
    {
        "dc.home": Switch(
            default="eu",
            others=("us", "in", "au", "jp", "cn", "ca", "sa"),
            why="which data centre holds the organisation; tokens and clients of another are refused",
            facts="zoho-crm 1.1",
        ),
        "oauth.bearer": Switch(
            default=False,
            why="some code sends `Bearer`; nobody shows that Zoho takes it",
            facts="zoho-crm 11",
        ),
        "oauth.consent": Switch(
            default="accepts",
            others=("refuses",),
            why="what the person in the browser answers",
            facts="zoho-crm 1.2",
        ),
        "oauth.error_status": Switch(
            default=200,
            others=(400,),
            why="HTTP 200 is seen for invalid_code alone; of other errors nobody shows the status",
            facts="zoho-crm 11",
        ),
        "oauth.legacy_expiry": Switch(
            default=False,
            why="old answers carry expires_in_sec, and expires_in in milliseconds",
            facts="zoho-crm 1.2",
        ),
        "oauth.live_tokens": Switch(
            default=0,
            others=(10, 15, 30),
            why="older pages and notes let a refresh token have ten to thirty living access tokens; 0: any",
            facts="zoho-crm 1.2",
        ),
        "oauth.redirect_uris": Switch(
            default="",
            why="what the client registered, space separated; empty: anywhere on loopback",
            facts="zoho-crm 1.2",
        ),
        "oauth.scope_in_token": Switch(
            default=True, why="only newer token answers carry `scope`", facts="zoho-crm 1.2"
        ),
        "oauth.scopes": Switch(
            default=ALL_SCOPES,
            why="what the refresh token was granted; narrow it to see 401s",
            facts="zoho-crm 1.4",
        ),
        "oauth.tokens_per_10_min": Switch(
            default=10, why="older pages and live notes say 15 or 30", facts="zoho-crm 10"
        ),
        "throttle.retry_after": Switch(
            default=0,
            why="no page promises Retry-After, a note says it may be there; its seconds, 0 for none",
            facts="zoho-crm 6",
        ),
        "throttle.style": Switch(
            default="v11_2008",
            others=("gateway_400", "gateway_200", "http_429"),
            why="the body of a locked Campaigns endpoint is unpublished",
            facts="zoho-campaigns 7",
        ),
    }
)

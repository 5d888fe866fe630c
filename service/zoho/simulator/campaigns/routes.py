"""The table of Campaigns calls: address, scope, call windows."""

from collections.abc import Sequence

from litestar.types import Method

from service.zoho.simulator.campaigns import admin, lists, reports, subscribe, tags, workflows
from service.zoho.simulator.meter import D5, DAY_S, Window
from service.zoho.simulator.wire import Endpoint, Handler

_V11 = "/api/v1.1"
_READ, _UPDATE, _CREATE, _DELETE = (
    f"ZohoCampaigns.contact.{word}" for word in ("READ", "UPDATE", "CREATE", "DELETE")
)
_WORKFLOW = "ZohoCampaigns.workflow.CREATE"
_REPORT = "ZohoCampaigns.campaign.READ"

SUBSCRIBE = (
    Window(calls=500, seconds=60, lock_s=1800),
    Window(calls=12_500, seconds=3600, lock_s=1800),
    Window(calls=75_000, seconds=DAY_S, lock_s=1800),
)
CUSTOM = (Window(calls=100, seconds=300, lock_s=1800),)
BULK = (Window(calls=2_000, seconds=60, lock_s=600),)


def _row(
    name: str,
    handle: Handler,
    scope: str = _READ,
    *,
    methods: Sequence[Method] = ("GET", "POST"),
    windows: tuple[Window, ...] = D5,
) -> Endpoint:
    return Endpoint(methods=methods, path=f"{_V11}/{name}", handle=handle, scope=scope, windows=windows)


ENDPOINTS = (
    _row("getmailinglists", lists.getmailinglists),
    _row("getlistsubscribers", lists.getlistsubscribers),
    _row("listsubscriberscount", lists.listsubscriberscount),
    _row("getsegmentdetails", lists.getsegmentdetails),
    _row("getsegmentcontacts", lists.getsegmentcontacts),
    _row("topics", lists.topics, methods=("GET",)),
    _row("contact/allfields", lists.allfields, methods=("GET",)),
    _row("json/listsubscribe", subscribe.listsubscribe, _UPDATE, methods=("POST",), windows=SUBSCRIBE),
    _row("json/listunsubscribe", subscribe.listunsubscribe, _UPDATE, methods=("POST",)),
    _row("json/contactdonotmail", subscribe.contactdonotmail, _UPDATE, methods=("POST",)),
    _row(
        "addlistsubscribersinbulk",
        subscribe.addlistsubscribersinbulk,
        _CREATE,
        methods=("POST",),
        windows=BULK,
    ),
    _row("addlistandcontacts", admin.addlistandcontacts, _CREATE, methods=("POST",)),
    _row("updatelistdetails", admin.updatelistdetails, _UPDATE, methods=("POST",)),
    _row("deletemailinglist", admin.deletemailinglist, _DELETE, methods=("POST",)),
    _row("getlistadvanceddetails", admin.getlistadvanceddetails),
    _row("topics", admin.create_topic, _CREATE, methods=("POST",)),
    _row("custom/add", admin.add_field, _CREATE, windows=CUSTOM),
    _row("workflow/{key:str}/action/trigger", workflows.trigger, _WORKFLOW, methods=("POST",)),
    _row("tag/getalltags", tags.getalltags),
    _row("tag/add", tags.add, _CREATE),
    _row("tag/delete", tags.delete, _DELETE),
    _row("tag/associate", tags.associate, _UPDATE),
    _row("tag/deassociate", tags.deassociate, _UPDATE),
    _row("recentsentcampaigns", reports.recentsentcampaigns, _REPORT),
    _row("getlastcampaignreport", reports.getlastcampaignreport, _REPORT),
    _row("recentcampaigns", reports.recentcampaigns, _REPORT),
    _row("getcampaigndetails", reports.getcampaigndetails, _REPORT),
    _row("campaignreports", reports.campaignreports, _REPORT),
    _row("getcampaignrecipientsdata", reports.getcampaignrecipientsdata, _REPORT),
)

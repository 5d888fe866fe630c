import json
from collections import Counter
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from service.errors import Misconfigured, ZohoDenied, ZohoError
from service.reconciler.port import Member, OutcomeKind
from service.zoho.mapping import connect
from tests.zoho.conftest import settings_for
from tests.zoho.stub import Said

LISTS = "GET /api/v1.1/getmailinglists"
MEMBERS = "GET /api/v1.1/getlistsubscribers"
SEGMENT = "GET /api/v1.1/getsegmentcontacts"
SENT = "GET /api/v1.1/recentcampaigns"
DETAILS = "GET /api/v1.1/getcampaigndetails"
RECIPIENTS = "GET /api/v1.1/getcampaignrecipientsdata"
SUBSCRIBE = "POST /api/v1.1/json/listsubscribe"
UNSUBSCRIBE = "POST /api/v1.1/json/listunsubscribe"
DO_NOT_MAIL = "POST /api/v1.1/json/contactdonotmail"
OK = Said(b'{"status":"success","code":"0","message":"User successfully unsubscribed."}')
LIST_KEY = "3z0a1b2c3d4e5f60718293a4b5c6d7e8f901234567"
ADA = "ada.lovelace@example.com"


def says(**fields) -> Said:
    return Said(json.dumps(fields).encode())


def page(*addresses: str, key: str = "list_of_details") -> Said:
    return says(status="success", code="0", **{key: [{"contact_email": address} for address in addresses]})


def ends(code: str) -> Said:
    return says(status="error", code=code, message="Yet,There are no contacts in this list.")


def queries(stub, line: str) -> list[dict[str, str]]:
    return [{k: v[0] for k, v in parse_qs(urlsplit(c.path).query).items()} for c in stub.calls(line)]


def planted(sim, key: str) -> list[str]:
    return sim.control(f"/_control/truth/{key}")["emails"]


def person(sim, email: str):
    return sim.control("/_control/person", {"email": email})["campaigns"]


@pytest.mark.parametrize("status", list(Member))
def test_members_of_each_status_are_read_to_the_last(sim, zoho, status):
    found = list(zoho.campaigns.members("newsletter", status))
    assert (
        len({member.address for member in found})
        == len(found)
        == sim.control("/_control/state")[status.value]
    )
    assert {member.status for member in found} == {status}
    assert {member.list_name for member in found} == {"newsletter"}


@pytest.mark.parametrize("codes", ["documented", "number", "string"])
def test_codes_may_be_text_or_numbers(sim, zoho, codes):
    sim.control("/_control/switches", {"campaigns.codes": codes})
    assert list(zoho.campaigns.members("newsletter", Member.ACTIVE))


def test_a_short_page_is_not_the_end(stub, told):
    stub.says(MEMBERS, page("a@example.com", "b@example.com"), page("c@example.com"), ends("2502"))
    found = [m.address for m in told.campaigns.members("newsletter", Member.ACTIVE)]
    assert found == ["a@example.com", "b@example.com", "c@example.com"]
    assert [q["fromindex"] for q in queries(stub, MEMBERS)] == ["1", "3", "4"]
    assert {q["range"] for q in queries(stub, MEMBERS)} == {"500"}


def test_an_empty_page_is_the_end_as_well(stub, told):
    stub.says(MEMBERS, page())
    assert list(told.campaigns.members("newsletter", Member.ACTIVE)) == []


def test_a_page_that_comes_again_is_an_error_and_no_endless_loop(stub, told):
    stub.says(MEMBERS, page("a@example.com"))
    with pytest.raises(ZohoError) as caught:
        list(told.campaigns.members("newsletter", Member.ACTIVE))
    assert caught.value.code == "PAGE_REPEATED"
    assert len(stub.calls(MEMBERS)) == 2


def test_a_success_without_any_list_is_not_an_empty_list(stub, told):
    stub.says(MEMBERS, says(status="success", code="0"))
    with pytest.raises(ZohoError):
        list(told.campaigns.members("newsletter", Member.ACTIVE))


def test_a_wrong_list_key_is_an_error_that_names_code_and_endpoint(stub, told):
    stub.says(MEMBERS, says(status="error", code="2501", message="Listkey is empty or invalid."))
    with pytest.raises(ZohoError, match=r"policies/zoho\.toml") as caught:
        list(told.campaigns.members("newsletter", Member.ACTIVE))
    assert (caught.value.code, caught.value.endpoint) == ("2501", "getlistsubscribers")


def test_a_list_that_is_not_mapped_says_where_to_add_it(zoho):
    with pytest.raises(Misconfigured, match=r"\[\[campaigns.lists\]\]"):
        list(zoho.campaigns.members("events", Member.ACTIVE))


def test_the_lists_of_the_organisation_are_told_with_their_counts(sim, zoho):
    newsletter = next(entry for entry in zoho.campaigns.lists() if entry.key == LIST_KEY)
    state = sim.control("/_control/state")
    assert (newsletter.active, newsletter.bounced) == (state["active"], state["bounce"])


def test_the_two_segments_read_the_permission_back(sim, zoho):
    granted, refused = (
        set(zoho.campaigns.permissions(granted=True)),
        set(zoho.campaigns.permissions(granted=False)),
    )
    assert set(planted(sim, "permission_refused_in_campaigns")) <= refused
    assert set(planted(sim, "opted_out_by_hand")) <= granted
    assert not granted & refused


@pytest.mark.parametrize("key", ["list_of_details", "segment_contacts"])
def test_rows_of_a_segment_stand_under_either_name(stub, told, key):
    stub.says(SEGMENT, page("a@example.com", key=key), ends("2706"))
    assert list(told.campaigns.permissions(granted=True)) == ["a@example.com"]


def test_a_segment_that_does_not_exist_is_an_error_and_not_empty(sim, mapping):
    other = msgspec.structs.replace(mapping.campaigns, granted_segment="1")
    with (
        connect(settings_for(sim.url), msgspec.structs.replace(mapping, campaigns=other)) as zoho,
        pytest.raises(ZohoError, match=r"segments in policies/zoho\.toml"),
    ):
        list(zoho.campaigns.permissions(granted=True))


def test_a_segment_that_may_not_be_seen_is_denied_and_not_empty(stub, told):
    stub.says(SEGMENT, says(status="error", code="2706", message="Insufficient privilege"))
    with pytest.raises(ZohoDenied):
        list(told.campaigns.permissions(granted=False))


def test_an_answer_in_xml_is_read_although_json_was_asked_for(stub, told):
    xml = (
        b'<response uri="/api/v1.1/getlistsubscribers" version="1.1"><status>success</status><code>0</code>'
        b'<result_of_subscribers><contact><fl val="contact_email">a@example.com</fl></contact>'
        b"</result_of_subscribers></response>"
    )
    end = b'<response uri="/x" version="1"><status>error</status><code>2502</code></response>'
    stub.says(MEMBERS, Said(xml), Said(end))
    assert [m.address for m in told.campaigns.members("newsletter", Member.ACTIVE)] == ["a@example.com"]


def test_outcomes_hold_everybody_who_left_complained_or_bounced(sim, zoho):
    found = list(zoho.campaigns.outcomes())
    by_kind = {kind: {o.address for o in found if o.kind is kind} for kind in OutcomeKind}
    assert set(planted(sim, "unsubscribed_not_in_crm")) <= by_kind[OutcomeKind.OPTED_OUT]
    assert set(planted(sim, "complaint_not_in_crm")) <= by_kind[OutcomeKind.COMPLAINED]
    assert set(planted(sim, "hard_bounce_not_in_crm")) <= by_kind[OutcomeKind.BOUNCED_HARD]
    soft = Counter(o.address for o in found if o.kind is OutcomeKind.BOUNCED_SOFT)
    assert {soft[email] for email in planted(sim, "repeated_soft_bounce_not_in_crm")} == {3}
    assert {soft[email] for email in planted(sim, "single_soft_bounce")} == {1}


def test_an_outcome_is_told_once_per_campaign_and_with_its_time(zoho):
    found = list(zoho.campaigns.outcomes())
    assert len({(o.campaign_key, o.address, o.kind) for o in found}) == len(found)
    timed = [o for o in found if o.kind is not OutcomeKind.COMPLAINED]
    assert all(o.happened_at is not None and o.sent_at is not None for o in timed)
    assert all(o.happened_at >= o.sent_at - timedelta(minutes=1) for o in timed)


@pytest.mark.parametrize("minutes", [330, -480])
def test_times_mean_the_same_in_every_time_zone_of_the_account(sim, zoho, minutes):
    utc = {(o.address, o.kind, o.happened_at) for o in zoho.campaigns.outcomes()}
    sim.control("/_control/switches", {"campaigns.display_offset_min": minutes})
    assert {(o.address, o.kind, o.happened_at) for o in zoho.campaigns.outcomes()} == utc


def test_where_json_tells_no_times_they_are_taken_from_xml(sim, zoho):
    with_times = {(o.address, o.kind, o.happened_at) for o in zoho.campaigns.outcomes()}
    sim.control("/_control/switches", {"campaigns.outcome_times": False})
    assert {(o.address, o.kind, o.happened_at) for o in zoho.campaigns.outcomes()} == with_times


def test_the_children_of_an_ab_test_are_read_and_count_as_their_campaign(stub, told):
    sent = {"campaign_key": "parent", "campaigntype": "abtesting", "sent_time_gmt": "1786600000000"}
    split = {"a_child_campaignkey": "ka", "b_child_campaignkey": "kb"}
    stub.says(SENT, says(status="success", code="0", recent_campaigns=[sent]), ends("6101"))
    stub.says(
        DETAILS, Said(json.dumps({"code": 0, "status": "success", "AB-split-details": [split]}).encode())
    )
    row = {"contactemailaddress": "a@example.com", "optOutTime": "1786600000001"}
    other = {"contactemailaddress": "A@example.com", "optOutTime": "1786600000002"}
    stub.says(
        RECIPIENTS,
        ends("6303"),
        says(status="success", code="0", list_of_details=[row]),
        ends("6303"),
        says(status="success", code="0", list_of_details=[other]),
        ends("6303"),
    )
    (found,) = told.campaigns.outcomes()
    assert (found.campaign_key, found.address, found.kind) == (
        "parent",
        "a@example.com",
        OutcomeKind.OPTED_OUT,
    )
    assert {q["campaignkey"] for q in queries(stub, RECIPIENTS)} == {"parent", "ka", "kb"}
    assert queries(stub, DETAILS)[0]["campaigntype"] == "abtesting"


def test_an_ab_test_that_hides_its_children_is_an_error(stub, told):
    sent = {"campaign_key": "parent", "campaigntype": "abtesting"}
    stub.says(SENT, says(status="success", code="0", recent_campaigns=[sent]), ends("6101"))
    stub.says(DETAILS, says(status="error", code="6001", message="Invalid campaign key."))
    with pytest.raises(ZohoError):
        list(told.campaigns.outcomes())


def test_no_campaign_ever_sent_is_no_outcome(stub, told):
    stub.says(SENT, ends("6101"))
    assert list(told.campaigns.outcomes()) == []


def test_outcomes_since_leave_out_what_certainly_happened_before(zoho):
    found = list(zoho.campaigns.outcomes())
    middle = sorted(o.happened_at for o in found if o.happened_at)[len(found) // 2]
    later = list(zoho.campaigns.outcomes(middle))
    assert {o for o in found if o.happened_at is None or o.happened_at >= middle} == set(later)
    assert 0 < len(later) < len(found)


def test_campaigns_of_long_ago_are_not_asked_about_again(zoho):
    newest = max(o.sent_at for o in zoho.campaigns.outcomes())
    before = zoho.meter.calls["campaigns"]
    assert list(zoho.campaigns.outcomes(newest + timedelta(days=200))) == []
    assert zoho.meter.calls["campaigns"] == before + 2


def test_a_refusal_is_written_to_field_list_and_do_not_mail(sim, zoho):
    (email, *_) = planted(sim, "opted_out_by_hand")
    results = zoho.campaigns.refuse(email, ["newsletter"], active_on="newsletter")
    assert [r.target for r in results] == [
        "campaigns/permission",
        "campaigns/unsubscribe/newsletter",
        "campaigns/do-not-mail",
    ]
    assert all(r.done and r.code == "0" and len(r.answer_sha256) == 32 for r in results)
    now = person(sim, email)
    assert now["fields"]["Marketing Permission"] == "Refused"
    assert now["lists"][LIST_KEY] == "unsub"
    assert now["dnm"] is True


def test_a_refusal_written_twice_does_no_harm_and_says_already(sim, zoho):
    (email, *_) = planted(sim, "opted_out_by_hand")
    zoho.campaigns.refuse(email, ["newsletter"], active_on="newsletter")
    again = zoho.campaigns.refuse(email, ["newsletter"], active_on=None)
    assert all(r.done for r in again)
    assert "already" in again[-1].reason


def test_somebody_who_left_the_list_is_never_put_back_by_the_permission_field(sim, zoho):
    (email, *_) = planted(sim, "unsubscribed_not_in_crm")
    before = sim.control("/_control/meter")["by_endpoint"].get("POST /api/v1.1/json/listsubscribe", 0)
    zoho.campaigns.refuse(email, ["newsletter"], active_on=None)
    after = sim.control("/_control/meter")["by_endpoint"].get("POST /api/v1.1/json/listsubscribe", 0)
    assert before == after
    assert person(sim, email)["lists"][LIST_KEY] == "unsub"


def test_refusing_somebody_whom_campaigns_does_not_know_is_done(sim, zoho):
    for code in ("2103", "2101"):
        sim.control("/_control/switches", {"campaigns.unsubscribe_unknown": code})
        left, kept_out = zoho.campaigns.refuse("nobody@example.net", ["newsletter"], active_on=None)
        assert (left.done, left.code) == (True, code)
        assert (kept_out.done, kept_out.code) == (True, "2103")


def test_a_contact_in_do_not_mail_cannot_get_the_field_and_that_is_told(sim, zoho):
    (email, *_) = planted(sim, "opted_out_by_hand")
    zoho.campaigns.do_not_mail(email)
    field, *others = zoho.campaigns.refuse(email, ["newsletter"], active_on="newsletter")
    assert (field.done, field.retry, field.code) == (False, False, "2006")
    assert all(r.done for r in others)
    assert person(sim, email)["dnm"] is True


def test_do_not_mail_is_proven_by_campaigns_own_words(sim, zoho):
    (email, *_) = planted(sim, "opted_out_by_hand")
    assert not zoho.campaigns.is_refused(email).done
    assert zoho.campaigns.is_refused(email).done
    assert zoho.meter.calls["campaigns"] == 2


@pytest.mark.parametrize("how", ["drop_before", "drop_after"])
def test_leaving_and_do_not_mail_are_simply_said_again_when_the_answer_was_lost(sim, zoho, how):
    (email, *_) = planted(sim, "opted_out_by_hand")
    for path in ("listunsubscribe", "contactdonotmail"):
        sim.control("/_control/break", {"match": f"POST /api/v1.1/json/{path}", "times": 1, "how": how})
    assert all(r.done for r in zoho.campaigns.refuse(email, ["newsletter"], active_on=None))
    assert person(sim, email)["dnm"] is True


@pytest.mark.parametrize(("how", "field"), [("drop_before", "Granted"), ("drop_after", "Refused")])
def test_a_subscription_whose_answer_was_lost_is_not_repeated_and_stops_no_other_step(sim, zoho, how, field):
    (email, *_) = planted(sim, "opted_out_by_hand")
    sim.control("/_control/break", {"match": "POST /api/v1.1/json/listsubscribe", "times": 1, "how": how})
    first, *others = zoho.campaigns.refuse(email, ["newsletter"], active_on="newsletter")
    assert (first.done, first.retry, first.code) == (False, True, "UNREACHABLE")
    assert all(r.done for r in others)
    now = person(sim, email)
    assert now["fields"]["Marketing Permission"] == field
    assert now["lists"][LIST_KEY] == "unsub"
    assert now["dnm"] is True


def test_subscribing_adds_a_contact_with_fields_by_label(sim, zoho):
    result = zoho.campaigns.subscribe("newsletter", ADA, {"Marketing Permission": "Granted"})
    assert result.done
    now = person(sim, ADA)
    assert now["lists"] == {LIST_KEY: "active"}
    assert now["fields"]["Marketing Permission"] == "Granted"


def test_subscribing_whom_do_not_mail_holds_fails_and_never_asks_to_lift_it(sim, stub, zoho, told):
    (email, *_) = planted(sim, "unsubscribed_not_in_crm")
    result = zoho.campaigns.subscribe("newsletter", email)
    assert (result.done, result.code) == (False, "2006")
    assert person(sim, email)["dnm"] is True
    stub.says(SUBSCRIBE, OK)
    told.campaigns.subscribe("newsletter", ADA)
    assert set(parse_qs(stub.calls(SUBSCRIBE)[0].body.decode())) == {"resfmt", "listkey", "contactinfo"}


@pytest.mark.parametrize(("address", "code"), [("not-an-address", "2004"), ("info@example.com", "2005")])
def test_what_campaigns_does_not_take_is_told_with_its_code(zoho, address, code):
    result = zoho.campaigns.subscribe("newsletter", address)
    assert (result.done, result.retry, result.code) == (False, False, code)


def test_an_html_page_instead_of_an_envelope_leaves_the_outcome_open(stub, told):
    stub.says(UNSUBSCRIBE, Said(b"<html>sign in</html>"))
    result = told.campaigns.unsubscribe("newsletter", ADA)
    assert (result.done, result.retry, result.code) == (False, True, "UNREADABLE")


def test_the_real_address_is_sent_as_json_by_the_mapped_label(stub, told):
    stub.says(DO_NOT_MAIL, OK)
    told.campaigns.do_not_mail('o"brien@example.com')
    form = parse_qs(stub.calls(DO_NOT_MAIL)[0].body.decode())
    assert json.loads(form["contactinfo"][0]) == {"Contact Email": 'o"brien@example.com'}
    assert form["resfmt"] == ["JSON"]


def test_somebody_is_permitted_and_brought_back_from_do_not_mail_only_when_told_to(sim, zoho):
    (email, *_) = planted(sim, "opted_out_both")
    zoho.campaigns.refuse(email, ["newsletter"], active_on=None)
    (kept_out,) = zoho.campaigns.permit(email, ["newsletter"])
    assert not kept_out.done
    assert person(sim, email)["dnm"]
    (result,) = zoho.campaigns.permit(email, ["newsletter"], rejoin=True)
    assert result.done
    there = person(sim, email)
    assert (there["dnm"], list(there["lists"].values())) == (False, ["active"])
    assert there["fields"]["Marketing Permission"] == "Granted"


def test_nothing_but_a_permission_brings_anybody_back_from_do_not_mail(stub, told):
    stub.says(SUBSCRIBE, OK, OK, OK)
    told.campaigns.subscribe("newsletter", ADA)
    told.campaigns.place("newsletter", ADA, granted=False)
    told.campaigns.permit(ADA, ["newsletter"], rejoin=True)
    sent = [b"donotmail_resub=true" in call.body for call in stub.calls(SUBSCRIBE)]
    assert sent == [False, False, True]


def test_a_contact_of_our_own_is_placed_in_either_state(sim, zoho):
    for granted, value in ((True, "Granted"), (False, "Refused")):
        assert zoho.campaigns.place("newsletter", "canary@example.com", granted=granted).done
        there = person(sim, "canary@example.com")
        assert there["fields"]["Marketing Permission"] == value
        assert list(there["lists"].values()) == ["active"]


def test_a_plan_that_holds_no_more_contacts_says_so_and_still_takes_every_refusal(sim, zoho):
    (email, _) = sim.world.db.execute("SELECT email, id FROM contacts ORDER BY id LIMIT 1").fetchone()
    full = sim.world.db.execute("SELECT count(*) FROM contacts").fetchone()[0]
    sim.control("switches", {"campaigns.most_contacts": full})
    added = zoho.campaigns.subscribe("newsletter", "one.more@example.org")
    assert (added.done, added.code, added.retry) == (False, "914", False)
    assert all(result.done for result in zoho.campaigns.refuse(email, ["newsletter"], active_on=None))
    assert sim.world.db.execute("SELECT count(*) FROM contacts").fetchone()[0] == full

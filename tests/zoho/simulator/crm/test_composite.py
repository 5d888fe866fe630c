"""Up to five calls in one: in turn, with each other's answers, all or nothing where that was asked for."""

import pytest

from service.zoho.simulator.crm.references import UnresolvedError, resolve

COMPOSITE = "/crm/v8/__composite_requests"
CONTACTS = "/crm/v8/Contacts"
ADDED = {"method": "POST", "uri": CONTACTS, "body": {"data": [{"Last_Name": "Boyle"}]}}
READ = {"method": "GET", "uri": "/crm/v6/Contacts/@{1:$.data[0].details.id}"}
REFUSED = {"method": "PUT", "uri": CONTACTS, "body": {"data": [{"id": "1", "Email_Opt_Out": True}]}}
ELSEWHERE = {"method": "GET", "uri": "/crm/v8/upload"}


SCOPES = "ZohoCRM.composite_requests.CUSTOM ZohoCRM.coql.READ"


@pytest.fixture
def zoho(sim, sign_in):
    """A client that may send composite requests, which the usual grant does not."""
    sim.control("switches", {"oauth.scopes": f"{SCOPES} ZohoCRM.modules.ALL"})
    return sign_in()


def ask(zoho, *asked, **more):
    return zoho.post(COMPOSITE, json={"__composite_requests": list(asked), **more})


def items(answer):
    return answer.json()["__composite_requests"]


def statuses(answer):
    return [
        one.get("details", {}).get("response", {}).get("status_code", one["code"]) for one in items(answer)
    ]


def test_a_call_uses_what_another_one_answered_for_one_credit(sim, zoho):
    before = sim.control("meter")["credits"]
    change = {"data": [{"Email_Opt_Out": True}]}
    answer = ask(zoho, ADDED, {"method": "PUT", "uri": READ["uri"], "body": change}, READ)
    assert (answer.status_code, statuses(answer)) == (200, [201, 200, 200])
    assert sim.control("meter")["credits"] - before == 1
    read = items(answer)[2]
    assert read["details"]["response"]["body"]["data"][0]["Email_Opt_Out"] is True
    assert (read["code"], read["status"]) == ("SUCCESS", "success")
    assert read["message"] == "composite sub request executed successfully"


@pytest.mark.parametrize(
    ("asked", "status", "told"),
    [
        ([ADDED, REFUSED], 200, [201, 400]),
        ([ADDED, ELSEWHERE], 207, [201, "NOT_SUPPORTED"]),
        ([ELSEWHERE], 400, ["NOT_SUPPORTED"]),
        ([READ, ADDED], 400, ["INVALID_REFERENCE"]),
    ],
)
def test_what_counts_is_whether_the_calls_were_made(zoho, asked, status, told):
    answer = ask(zoho, *(asked if status != 400 else asked[:1]))
    assert (answer.status_code, statuses(answer)) == (status, told)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"uri": None}, "MANDATORY_NOT_FOUND"),
        ({"method": "HEAD"}, "INVALID_DATA"),
        ({"uri": "/crm/Contacts"}, "INVALID_DATA"),
        ({"uri": "/crm/v9/Contacts"}, "NOT_ALLOWED"),
        ({"sub_request_id": "no id"}, "INVALID_DATA"),
        ({"params": []}, "INVALID_DATA"),
        ({"headers": {"X-CRM-ORG": "1"}}, "INVALID_DATA"),
        ({"uri": COMPOSITE}, "NOT_SUPPORTED"),
        ({"uri": "/crm/bulk/v8/read"}, "NOT_SUPPORTED"),
        ({"method": "DELETE", "params": {"ids": "1,2"}}, "NOT_SUPPORTED"),
    ],
)
def test_what_may_not_be_called_so_is_not_called(zoho, changed, code):
    answer = ask(zoho, {**ADDED, **changed})
    assert answer.status_code == 400
    assert [one["code"] for one in items(answer)] == [code]


def test_one_number_names_one_call(zoho):
    answer = ask(zoho, {**READ, "uri": CONTACTS, "sub_request_id": "a"}, {**ADDED, "sub_request_id": "a"})
    assert items(answer)[1]["code"] == "DUPLICATE_DATA"


@pytest.mark.parametrize(
    ("asked", "by"),
    [
        ({"method": "GET", "uri": CONTACTS, "params": {"fields": "Email", "per_page": 26}}, "per_page"),
        (
            {"method": "POST", "uri": CONTACTS, "body": {"data": [{"Last_Name": "A"}, {"Last_Name": "B"}]}},
            "data",
        ),
        ({"method": "POST", "uri": "/crm/v8/coql", "body": {"select_query": "x limit 26"}}, "limit"),
    ],
)
def test_a_call_within_another_one_takes_few_rows(zoho, asked, by):
    (one,) = items(ask(zoho, asked))
    body = one["details"]["response"]["body"]
    assert (body["code"], body["details"]["by"]) == ("LIMIT_EXCEEDED", by)


@pytest.mark.parametrize(
    "asked",
    [
        {"method": "GET", "uri": CONTACTS, "params": {"fields": "Email"}},
        {
            "method": "POST",
            "uri": "/crm/v8/coql",
            "body": {"select_query": "select id from Contacts where id > 0"},
        },
    ],
)
def test_a_reading_call_that_says_nothing_gives_25_rows(zoho, asked):
    (one,) = items(ask(zoho, asked))
    assert len(one["details"]["response"]["body"]["data"]) == 25


def test_a_failure_takes_everything_back_where_that_was_asked_for(sim, zoho):
    count = "SELECT count(*) FROM crm_Contacts"
    before, news = sim.world.db.execute(count).fetchone(), sim.control("meter")["credits"]
    answer = ask(zoho, ADDED, REFUSED, READ, rollback_on_fail=True)
    assert answer.status_code == 400
    assert statuses(answer) == ["ROLLBACK_PERFORMED", 400, "PROCESSING_STOPPED"]
    assert items(answer)[0]["details"] == {"rollbacked_by_sub_request_index": 1}
    assert sim.world.db.execute(count).fetchone() == before
    assert sim.control("meter")["credits"] - news == 1
    assert zoho.get("/crm/v8/Contacts/deleted").status_code == 204


def test_all_or_nothing_costs_two_credits_where_it_is_all(sim, zoho):
    before = sim.control("meter")["credits"]
    answer = ask(zoho, ADDED, READ, rollback_on_fail=True)
    assert (answer.status_code, statuses(answer)) == (200, [201, 200])
    assert sim.control("meter")["credits"] - before == 2


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "MANDATORY_NOT_FOUND"),
        ({"__composite_requests": {}}, "INVALID_DATA"),
        ({"__composite_requests": [ADDED] * 6}, "INVALID_DATA"),
        ({"__composite_requests": [ADDED], "rollback_on_fail": "yes"}, "INVALID_DATA"),
        (
            {"__composite_requests": [ADDED], "rollback_on_fail": True, "parallel_execution": True},
            "AMBIGUITY_DURING_PROCESSING",
        ),
    ],
)
def test_a_composite_request_that_is_none_is_refused_as_a_whole(zoho, body, code):
    answer = zoho.post(COMPOSITE, json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_each_call_needs_its_own_scope(sim, sign_in):
    sim.control("switches", {"oauth.scopes": f"{SCOPES} ZohoCRM.modules.contacts.READ"})
    (one,) = items(ask(sign_in(), ADDED))
    response = one["details"]["response"]
    assert (response["status_code"], response["body"]["code"]) == (401, "OAUTH_SCOPE_MISMATCH")


def test_a_reference_keeps_the_type_of_what_it_is_all_of():
    answered = {"1": {"data": [{"id": 5, "name": "Ann"}]}, "2": None}
    assert resolve({"a": ["@{1:$.data[0].id}", 7]}, answered) == {"a": [5, 7]}
    assert resolve("to @{1:$.data[0].name}!", answered) == "to Ann!"
    for wrong in ("@{2:$.data}", "@{3:$.data}", "@{1:$.data[1].id}", "@{1:$.data..id}"):
        with pytest.raises(UnresolvedError):
            resolve(wrong, answered)

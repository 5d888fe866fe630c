"""COQL: what it understands, what it refuses, and what its rows are."""

from datetime import UTC, datetime

import pytest

from service.zoho.simulator.crm.coql import Condition, Pair, parse
from service.zoho.simulator.crm.lexer import SyntaxProblemError


def ask(client, query):
    return client.post("/crm/v8/coql", json={"select_query": query})


def rows(client, query):
    answer = ask(client, query)
    return [] if answer.status_code == 204 else answer.json()["data"]


def refused(answer):
    assert answer.status_code == 400, answer.text
    return answer.json()["code"]


def test_a_query_is_read_into_its_parts():
    query = parse(
        "SELECT id, Email FROM Contacts WHERE (Email like 'a%' and id > 5) or Email is null "
        "ORDER BY Modified_Time desc, id LIMIT 10, 20"
    )
    assert query.columns == ("id", "Email")
    assert query.where == Pair(
        "or",
        Pair("and", Condition("Email", "like", ("a%",)), Condition("id", ">", (5,))),
        Condition("Email", "is null"),
    )
    assert query.order == (("Modified_Time", "desc"), ("id", "asc"))
    assert (query.limit, query.offset) == (20, 10)


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("id = 5", Condition("id", "=", (5,))),
        ("id <> '5'", Condition("id", "!=", ("5",))),
        ("Last_Name = 'O\\'Connor'", Condition("Last_Name", "=", ("O'Connor",))),
        ("Last_Name = 'O''Connor'", Condition("Last_Name", "=", ("O'Connor",))),
        ("Email in ('a','b')", Condition("Email", "in", ("a", "b"))),
        ("Email not in ('a')", Condition("Email", "not in", ("a",))),
        ("Email not like '%x'", Condition("Email", "not like", ("%x",))),
        ("id between 1 and 2", Condition("id", "between", (1, 2))),
        ("Email is not null", Condition("Email", "is not null")),
    ],
)
def test_every_comparison_is_understood(text, condition):
    assert parse(f"select id from Contacts where {text}").where == condition


@pytest.mark.parametrize(
    "query",
    [
        "select id from Contacts",
        "select id from Contacts limit 10",
        "select id from Contacts where id > 0 and id > 1 and id > 2",
        "select id from Contacts where id > 0 or id > 1 and id > 2",
        "select id from Contacts where (id > 0 and id > 1",
        "select id from Contacts where Email_Opt_Out = true",
        "select id from Contacts where Email in ()",
        "select id from Contacts where id >",
        "select from Contacts where id > 0",
        "select id, from Contacts where id > 0",
        "select id from Contacts where Email = 'a",
        "select id from Contacts where Email ~ 'a'",
        "select id from Contacts where id > 0 limit x",
        "select id from Contacts where id > 0 limit 0",
        "select id from Contacts where id > 0 limit 5, 0",
        "select id from Contacts where id > 0 limit 1 offset",
        "select id from Contacts where id > 0; drop table crm_Contacts",
        "update Contacts",
        "",
    ],
)
def test_what_is_not_coql_is_a_syntax_error_that_says_where(reader, query):
    with pytest.raises(SyntaxProblemError):
        parse(query)
    answer = ask(reader, query)
    assert refused(answer) == "SYNTAX_ERROR"
    assert set(answer.json()["details"]) == {"clause", "line", "column", "near"}


def test_more_than_two_conditions_go_in_pairwise_brackets(reader):
    query = "select id from Contacts where ((id > 0 and Email is not null) and Newsletter = 'true') limit 1"
    assert len(rows(reader, query)) == 1


def test_booleans_are_compared_with_equals_and_quoted_words_only(reader, still):
    yes = rows(reader, "select Email_Opt_Out from Contacts where Email_Opt_Out = 'true' limit 2000")
    (count,) = still.world.db.execute("SELECT count(*) FROM crm_Contacts WHERE Email_Opt_Out").fetchone()
    assert len(yes) == count
    assert all(row["Email_Opt_Out"] is True for row in yes)
    assert refused(ask(reader, "select id from Contacts where Email_Opt_Out != 'true'")) == "INVALID_QUERY"
    assert refused(ask(reader, "select id from Contacts where Email_Opt_Out = 'yes'")) == "INVALID_QUERY"
    assert refused(ask(reader, "select id from Contacts where Email_Opt_Out = 1")) == "INVALID_QUERY"


def test_an_unknown_column_is_named(reader):
    for query in ("select Shoe from Contacts where id > 0", "select id from Contacts where Shoe = '5'"):
        answer = ask(reader, query)
        assert refused(answer) == "INVALID_QUERY"
        assert answer.json()["details"]["column_name"] == "Shoe"


def test_an_unknown_module_is_refused(reader):
    assert refused(ask(reader, "select id from Gnomes where id > 0")) == "INVALID_MODULE"


def test_the_limit_is_two_hundred_unless_said_and_two_thousand_at_most(sim, reader, zoho):
    body = ask(reader, "select Email from Contacts where id > 0").json()
    assert body["info"] == {"count": 200, "more_records": True}
    assert len(body["data"]) == 200
    assert list(body["data"][0]) == ["id", "Email"]
    assert ask(reader, "select id from Contacts where id > 0 limit 2000").json()["info"]["count"] == 2000
    assert refused(ask(reader, "select id from Contacts where id > 0 limit 2001")) == "LIMIT_EXCEEDED"
    sim.control("switches", {"crm.coql_limit": 200})
    assert refused(ask(zoho, "select id from Contacts where id > 0 limit 201")) == "LIMIT_EXCEEDED"


def test_offsets_reach_a_hundred_thousand_rows(reader):
    assert ask(reader, "select id from Contacts where id > 0 limit 2000 offset 98000").status_code == 204
    assert (
        refused(ask(reader, "select id from Contacts where id > 0 limit 2000 offset 98001"))
        == "LIMIT_EXCEEDED"
    )


def test_walking_by_id_sees_every_record_once(reader, still):
    seen, last = [], "0"
    while page := rows(reader, f"select id from Contacts where id > {last} order by id asc limit 700"):
        seen += [row["id"] for row in page]
        last = seen[-1]
    (count,) = still.world.db.execute("SELECT count(*) FROM crm_Contacts").fetchone()
    assert len(seen) == len(set(seen)) == count


def test_in_takes_fifty_values(reader):
    def query(count):
        values = ", ".join(f"'p{number}@example.com'" for number in range(count))
        return f"select id from Contacts where Email in ({values})"

    assert ask(reader, query(50)).status_code == 204
    assert refused(ask(reader, query(51))) == "LIMIT_EXCEEDED"


def test_times_are_compared_by_the_moment_not_by_the_text(reader, still):
    (edge,) = still.world.db.execute("SELECT max(Modified_Time) FROM crm_Contacts").fetchone()
    utc = datetime.fromtimestamp(edge, UTC).isoformat()
    (row,) = rows(reader, f"select Modified_Time from Contacts where Modified_Time >= '{utc}'")
    assert row["Modified_Time"].endswith("+05:30")
    assert rows(reader, f"select id from Contacts where Modified_Time > '{utc}'") == []
    assert (
        refused(ask(reader, "select id from Contacts where Modified_Time > '2026-05-10'")) == "INVALID_QUERY"
    )


def test_texts_compare_without_case(reader):
    (first,) = rows(reader, "select Email from Contacts where Email is not null limit 1")
    again = rows(reader, f"select Email from Contacts where Email = '{first['Email'].upper()}'")
    assert first in again


def test_a_body_without_a_query_says_what_is_missing(reader):
    answer = reader.post("/crm/v8/coql", json={"query": "select"})
    assert refused(answer) == "MANDATORY_NOT_FOUND"
    assert answer.json()["details"] == {"api_name": "select_query"}
    assert refused(reader.post("/crm/v8/coql", content=b"select id")) == "INVALID_DATA"


def test_a_query_follows_look_ups_to_the_users_behind_them(reader):
    found = rows(reader, "select Email, Owner.name, Owner.email, Owner from Contacts where id > 0 limit 3")
    assert len(found) == 3
    for row in found:
        assert list(row) == ["id", "Email", "Owner", "Owner.name", "Owner.email"]
        assert (row["Owner.name"], row["Owner.email"]) == (row["Owner"]["name"], row["Owner"]["email"])
    name = found[0]["Owner.name"]
    query = "select id, Owner.name from Contacts where Owner.name = '{}' order by Owner.email asc limit 5"
    assert {row["Owner.name"] for row in rows(reader, query.format(name))} == {name}
    assert rows(reader, query.format("Nobody At All")) == []
    assert refused(ask(reader, "select Owner.shoe_size from Contacts where id > 0")) == "INVALID_QUERY"
    assert refused(ask(reader, "select Email.name from Contacts where id > 0")) == "INVALID_QUERY"


@pytest.mark.parametrize(
    ("scopes", "body", "status"),
    [
        ("ZohoCRM.coql.READ ZohoCRM.modules.contacts.READ", {}, 200),
        ("ZohoCRM.coql.READ ZohoCRM.modules.leads.READ", {}, 401),
        ("ZohoCRM.coql.READ", {}, 401),
        ("ZohoCRM.modules.ALL", {}, 401),
        ("ZohoCRM.coql.READ ZohoCRM.modules.ALL", {"include_meta": ["fields"]}, 401),
        (
            "ZohoCRM.coql.READ ZohoCRM.modules.ALL ZohoCRM.settings.fields.READ",
            {"include_meta": ["fields"]},
            200,
        ),
    ],
)
def test_a_query_needs_the_scope_of_the_module_and_of_what_it_describes(still, scopes, body, status):
    token = still.world.tokens.issue("test", tuple(scopes.split()), still.world.clock.now())
    answer = still.client.post(
        "/crm/v8/coql",
        json={"select_query": "select id from Contacts where id > 0 limit 1", **body},
        headers={"Authorization": f"Zoho-oauthtoken {token}"},
    )
    assert answer.status_code == status
    assert status == 200 or answer.json()["code"] == "OAUTH_SCOPE_MISMATCH"


def test_a_user_is_followed_to_the_last_name_and_a_column_may_have_an_alias(reader):
    query = "select Owner.last_name as boss, Email from Contacts where id > 0 order by boss asc limit 1"
    ((row),) = rows(reader, query)
    assert list(row) == ["id", "Email", "boss"]
    (plain,) = rows(reader, f"select Owner.name, Owner.first_name from Contacts where id = {row['id']}")
    assert plain["Owner.name"] == f"{plain['Owner.first_name']} {row['boss']}"


@pytest.mark.parametrize(
    ("select", "code"),
    [
        ("id, id", "DUPLICATE_DATA"),
        ("Email as a, Phone as a", "DUPLICATE_ALIAS"),
        ("Email as a.b", "INVALID_ALIAS"),
        ("Email as", "SYNTAX_ERROR"),
    ],
)
def test_columns_and_aliases_that_cannot_be_told_apart_are_refused(reader, select, code):
    assert refused(ask(reader, f"select {select} from Contacts where id > 0")) == code


@pytest.mark.parametrize("shape", ["by_name", "list"])
def test_include_meta_describes_the_selected_fields(sim, zoho, shape):
    sim.control("switches", {"crm.coql_meta": shape})
    query = {"select_query": "select Email, Owner.email from Contacts where id > 0 limit 1"}
    plain = zoho.post("/crm/v8/coql", json=query).json()
    told = zoho.post("/crm/v8/coql", json={**query, "include_meta": ["fields"]}).json()
    fields = told.pop("fields")
    assert told == plain
    items = list(fields.values()) if shape == "by_name" else fields
    assert {item["api_name"]: item["data_type"] for item in items} == {
        "id": "bigint",
        "Email": "email",
        "Owner": "ownerlookup",
    }

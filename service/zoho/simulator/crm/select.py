"""COQL's meaning: a parsed query becomes parameterised SQL over one module's table."""

import re
from collections import Counter
from collections.abc import Mapping

import msgspec

from service.zoho.simulator.clock import parse as parse_time
from service.zoho.simulator.crm import consents, coql
from service.zoho.simulator.crm.fields import Field, Kind
from service.zoho.simulator.crm.gate import problem
from service.zoho.simulator.crm.lexer import SyntaxProblemError
from service.zoho.simulator.crm.metadata import field_item
from service.zoho.simulator.crm.rows import columns, render, select_list, table
from service.zoho.simulator.crm.visible import modules_of, readable
from service.zoho.simulator.wire import AnswerError, Call, Reply, json_reply
from service.zoho.simulator.world import World

DEFAULT_LIMIT = 200
COLUMNS_LIMIT = 50
USER_COLUMNS = {
    "name": "name",
    "email": "email",
    "first_name": "CASE instr(name, ' ') WHEN 0 THEN NULL ELSE substr(name, 1, instr(name, ' ') - 1) END",
    "last_name": "substr(name, instr(name, ' ') + 1)",
}
"""What a query may follow a user look-up to, as SQL; beside the consents the only look-ups there are."""
_ALIAS = re.compile(r"[A-Za-z]\w*")


def run(world: World, call: Call) -> Reply:
    """Answer `POST /coql` with the rows and whether there are more; 204 when there is none."""
    query = _query(world, call)
    limit = DEFAULT_LIMIT if query.limit is None else query.limit
    _check_labels(query)
    fields = readable(world, query.module)
    asked = list(dict.fromkeys(query.columns))
    joined = [name for name in asked if _joined(world, fields, name)]
    names = columns(query.module, (_column(fields, name).api_name for name in asked if name not in joined))
    shown = ", ".join(
        [select_list(query.module, names), *(_expression(world, fields, name) for name in joined)]
    )
    where, values = _condition(world, fields, query.where)
    sql = (
        f"SELECT {shown} FROM {table(query.module)} AS record WHERE {where}"
        f" ORDER BY {_order(world, fields, query)} LIMIT ? OFFSET ?"
    )
    rows = world.db.execute(sql, (*values, limit + 1, query.offset)).fetchall()
    if not rows:
        return Reply(status=204)
    data = render(world.db, query.module, names, [row[: len(names)] for row in rows[:limit]])
    for record, row in zip(data, rows, strict=False):
        joins = zip(joined, row[len(names) :], strict=True)
        record.update({name: consents.shown(name, value) for name, value in joins})
        record.update({alias: record.get(name) for name, alias in query.aliases})
        for name in {name for name, _ in query.aliases} - {"id"}:
            record.pop(name, None)
    info = {"count": len(data), "more_records": len(rows) > limit}
    return json_reply({"data": data, "info": info, **_meta(world, call, query, fields)})


def _meta(world: World, call: Call, query: coql.Query, fields: Mapping[str, Field]) -> dict[str, object]:
    """Return the description of the selected fields where `include_meta` asks for it."""
    if "fields" not in (msgspec.json.decode(call.body).get("include_meta") or ()):
        return {}
    unique = world.unique.get(query.module, [])
    asked = dict.fromkeys(name.partition(".")[0] for name in ("id", *query.columns))
    items = {name: field_item(query.module, fields[name], unique) for name in asked if name in fields}
    return {"fields": items if world.text("crm.coql_meta") == "by_name" else list(items.values())}


def scopes(call: Call) -> str:
    """Return the scopes of the module that is asked about, and of fields where they are to be described."""
    try:
        module = coql.parse(_text(call)).module
        meta = msgspec.json.decode(call.body).get("include_meta") or ()
    except (AnswerError, SyntaxProblemError):
        return ""
    return f"ZohoCRM.modules.{module}.READ" + (" ZohoCRM.settings.fields.READ" if "fields" in meta else "")


def price(call: Call) -> int:
    """Return the credits of a query: 1 up to 200 rows asked for, 2 up to 1,000, 3 above."""
    try:
        limit = coql.limit_of(_text(call))
    except AnswerError:
        return 1
    return 1 + (limit > DEFAULT_LIMIT) + (limit > 1_000)  # noqa: PLR2004 - the price list's own step


def _query(world: World, call: Call) -> coql.Query:
    try:
        query = coql.parse(_text(call))
    except SyntaxProblemError as error:
        details = {"clause": error.clause, "line": 1, "column": error.column, "near": error.near}
        raise problem("SYNTAX_ERROR", "error occurred while parsing the query", details) from None
    if query.module not in modules_of(world):
        raise problem("INVALID_MODULE", "the module name given seems to be invalid", {"module": query.module})
    maximum = world.number("crm.coql_limit")
    if query.limit is not None and query.limit > maximum:
        raise problem("LIMIT_EXCEEDED", "limit exceeded", {"limit": maximum, "clause": "LIMIT"})
    reach = world.number("crm.coql_reach")
    if query.offset + (query.limit or DEFAULT_LIMIT) > reach:
        raise problem("LIMIT_EXCEEDED", "limit exceeded", {"limit": reach, "clause": "OFFSET"})
    if len(query.columns) > COLUMNS_LIMIT:
        raise problem("LIMIT_EXCEEDED", "limit exceeded", {"limit": COLUMNS_LIMIT, "clause": "SELECT"})
    return query


def _text(call: Call) -> str:
    try:
        body = msgspec.json.decode(call.body)
    except msgspec.DecodeError:
        raise problem(
            "INVALID_DATA", "body is not a JSON object", {"expected_data_type": "jsonobject"}
        ) from None
    text = body.get("select_query") if isinstance(body, dict) else None
    if not isinstance(text, str):
        raise problem("MANDATORY_NOT_FOUND", "required field not found", {"api_name": "select_query"})
    return text


def _column(fields: Mapping[str, Field], name: str) -> Field:
    field = fields.get(name.removesuffix(".id"))
    if field is None:
        raise _invalid(name, "column given seems to be invalid")
    return field


def _joined(world: World, fields: Mapping[str, Field], name: str) -> bool:
    """Return whether a column stands beside the record: a user's `Owner.email`, or one of the consent."""
    base, _, inner = name.partition(".")
    is_user = inner in USER_COLUMNS and base in fields and fields[base].kind is Kind.USER
    return is_user or consents.expression(world, name) is not None


def _expression(world: World, fields: Mapping[str, Field], name: str) -> str:
    """Return a column as SQL; one that stands beside the record is asked for there."""
    if not _joined(world, fields, name):
        return _column(fields, name).api_name
    if (consent := consents.expression(world, name)) is not None:
        return consent
    base, _, inner = name.partition(".")
    return f"(SELECT {USER_COLUMNS[inner]} FROM users WHERE users.id = {fields[base].api_name})"


def _order(world: World, fields: Mapping[str, Field], query: coql.Query) -> str:
    """Return the ORDER BY; it may go by an alias."""
    aliased = {alias: name for name, alias in query.aliases}
    parts = [f"{_expression(world, fields, aliased.get(name, name))} {way}" for name, way in query.order]
    return ", ".join(parts) or "id asc"


def _check_labels(query: coql.Query) -> None:
    """Refuse a column that is asked for twice, an alias that is no name, and one that is given twice."""
    aliases = [alias for _, alias in query.aliases]
    for alias in aliases:
        if not _ALIAS.fullmatch(alias):
            raise problem("INVALID_ALIAS", "the alias given seems to be invalid", {"alias": alias})
        if aliases.count(alias) > 1:
            raise problem("DUPLICATE_ALIAS", "duplicate alias", {"alias": alias})
    plain = Counter(query.columns) - Counter(name for name, _ in query.aliases)
    for name, times in plain.items():
        if times > 1:
            raise problem("DUPLICATE_DATA", "duplicate data", {"column_name": name})


def _invalid(column: str, reason: str) -> AnswerError:
    return problem("INVALID_QUERY", "invalid query formed", {"column_name": column, "reason": reason})


def _condition(world: World, fields: Mapping[str, Field], node: coql.Node) -> tuple[str, list[object]]:
    if isinstance(node, coql.Pair):
        left, left_values = _condition(world, fields, node.left)
        right, right_values = _condition(world, fields, node.right)
        return f"({left} {node.joint} {right})", left_values + right_values
    if _joined(world, fields, node.column):
        values = [consents.compared(node.column, value) for value in node.values]
        return _sql(_expression(world, fields, node.column), node.operator, len(values)), values
    field = _column(fields, node.column)
    if not field.stored:
        raise _invalid(node.column, "column does not support filtering")
    _check(world, field, node)
    values = [_value(field, value) for value in node.values]
    return _sql(field.api_name, node.operator, len(values)), values


def _check(world: World, field: Field, node: coql.Condition) -> None:
    if field.kind is Kind.BOOLEAN and node.operator not in ("=", "is null", "is not null"):
        raise _invalid(node.column, "operator is not supported for this data type")
    if node.operator.endswith("like") and field.kind in (Kind.ID, Kind.DATETIME, Kind.USER):
        raise _invalid(node.column, "operator is not supported for this data type")
    limit = world.number("crm.coql_in_limit")
    if node.operator.endswith("in") and len(node.values) > limit:
        raise problem("LIMIT_EXCEEDED", "limit exceeded", {"limit": limit, "column_name": node.column})


def _sql(name: str, operator: str, count: int) -> str:
    match operator:
        case "in" | "not in":
            return f"{name} {operator} ({','.join('?' * count)})"
        case "between" | "not between":
            return f"{name} {operator} ? AND ?"
        case "is null" | "is not null":
            return f"{name} {operator}"
        case "!=" | "not like":
            return f"({name} {operator} ? OR {name} IS NULL)"
        case _:
            return f"{name} {operator} ?"


def _value(field: Field, value: str | int) -> object:
    match field.kind:
        case Kind.BOOLEAN if value in ("true", "false"):
            return int(value == "true")
        case Kind.DATETIME if isinstance(value, str) and (seconds := parse_time(value)) is not None:
            return seconds
        case Kind.ID | Kind.USER if str(value).isdigit():
            return int(value)
        case Kind.BOOLEAN | Kind.DATETIME | Kind.ID | Kind.USER:
            raise _invalid(field.api_name, f"value given is not a {field.kind}")
        case _:
            return str(value)

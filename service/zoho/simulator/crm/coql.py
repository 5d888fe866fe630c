"""COQL's grammar: a query text becomes a `Query`, or a `SyntaxProblemError` that says where it stopped.

query      select column [as alias], ... from module where condition [order by ...] [limit ...]
limit      n [offset m] | m, n
condition  term [and|or term]        two terms at most; more need brackets, pairwise
term       ( condition ) | column operator value
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from service.zoho.simulator.crm.lexer import SyntaxProblemError, Token, tokens


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison; `values` are texts without quotes, or numbers."""

    column: str
    operator: str
    values: tuple[str | int, ...] = ()


@dataclass(frozen=True, slots=True)
class Pair:
    """Two conditions joined by `and` or `or`."""

    joint: str
    left: "Node"
    right: "Node"


Node = Condition | Pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A parsed query; `limit` is None where the text names none."""

    columns: tuple[str, ...]
    aliases: tuple[tuple[str, str], ...] = ()
    """Columns that the answer calls otherwise, each with its alias."""
    module: str
    where: Node
    order: tuple[tuple[str, str], ...] = ()
    limit: int | None = None
    offset: int = 0


def parse(text: str) -> Query:
    """Return the query that `text` says; raise `SyntaxProblemError` where it stops making sense."""
    return _Parser(tokens(text)).query()


def limit_of(text: str) -> int:
    """Return the LIMIT that a query asks for, 200 where it names none: what the price goes by."""
    try:
        return parse(text).limit or 200
    except SyntaxProblemError:
        return 200


class _Parser:
    """Recursive descent over the tokens; `clause` remembers where we are for the error."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.clause = "SELECT"
        self.aliases: list[tuple[str, str]] = []

    def query(self) -> Query:
        self.keyword("select")
        columns = self.list_of_columns()
        self.enter("from")
        module = self.word()
        self.enter("where")
        where = self.condition()
        order = self.order()
        limit, offset = self.limits()
        if self.at < len(self.tokens):
            raise self.problem()
        return Query(
            columns=columns,
            aliases=tuple(self.aliases),
            module=module,
            where=where,
            order=order,
            limit=limit,
            offset=offset,
        )

    def condition(self) -> Node:
        left = self.term()
        joint = self.peek()
        if joint not in ("and", "or"):
            return left
        self.at += 1
        pair = Pair(joint, left, self.term())
        if self.peek() in ("and", "or"):
            raise self.problem()
        return pair

    def term(self) -> Node:
        if self.peek() == "(":
            self.at += 1
            inner = self.condition()
            self.mark(")")
            return inner
        column = self.word()
        return self.comparison(column)

    def comparison(self, column: str) -> Condition:
        operator = self.take().text.lower()
        if operator in ("=", "!=", "<>", ">", ">=", "<", "<=", "like"):
            return Condition(column, "!=" if operator == "<>" else operator, (self.value(),))
        if operator == "is":
            return Condition(column, self.null_test())
        negation = operator == "not"
        if negation:
            operator = self.take().text.lower()
        prefix = "not " if negation else ""
        match operator:
            case "in":
                return Condition(column, prefix + "in", self.value_list())
            case "like":
                return Condition(column, prefix + "like", (self.value(),))
            case "between":
                low = self.value()
                self.keyword("and")
                return Condition(column, prefix + "between", (low, self.value()))
            case _:
                self.at -= 1
                raise self.problem()

    def null_test(self) -> str:
        negation = self.peek() == "not"
        self.at += negation
        self.keyword("null")
        return "is not null" if negation else "is null"

    def value_list(self) -> tuple[str | int, ...]:
        self.mark("(")
        values = [self.value()]
        while self.peek() == ",":
            self.at += 1
            values.append(self.value())
        self.mark(")")
        return tuple(values)

    def value(self) -> str | int:
        token = self.take()
        if token.kind == "text":
            return re.sub(r"\\(.)|''", lambda m: m[1] or "'", token.text[1:-1])
        if token.kind == "number" and "." not in token.text:
            return int(token.text)
        self.at -= 1
        raise self.problem()

    def order(self) -> tuple[tuple[str, str], ...]:
        if self.peek() != "order":
            return ()
        self.enter("order")
        self.keyword("by")
        order = [self.order_item()]
        while self.peek() == ",":
            self.at += 1
            order.append(self.order_item())
        return tuple(order)

    def order_item(self) -> tuple[str, str]:
        column, direction = self.word(), self.peek()
        if direction in ("asc", "desc"):
            self.at += 1
            return column, direction
        return column, "asc"

    def limits(self) -> tuple[int | None, int]:
        if self.peek() != "limit":
            return None, 0
        self.enter("limit")
        first = self.whole_number()
        if self.peek() == ",":
            self.at += 1
            return self.some(self.whole_number()), first
        self.some(first)
        if self.peek() == "offset":
            self.at += 1
            return first, self.whole_number()
        return first, 0

    def some(self, rows: int) -> int:
        """Return a LIMIT, which is one row at least."""
        if rows:
            return rows
        self.at -= 1
        raise self.problem()

    def whole_number(self) -> int:
        token = self.take()
        if token.kind == "number" and token.text.isdigit():
            return int(token.text)
        self.at -= 1
        raise self.problem()

    def list_of_columns(self) -> tuple[str, ...]:
        columns = [self.column()]
        while self.peek() == ",":
            self.at += 1
            columns.append(self.column())
        return tuple(columns)

    def column(self) -> str:
        column = self.word()
        if self.peek() == "as":
            self.at += 1
            self.aliases.append((column, self.word()))
        return column

    def word(self) -> str:
        token = self.take()
        if token.kind == "word":
            return token.text
        self.at -= 1
        raise self.problem()

    def enter(self, clause: str) -> None:
        self.clause = clause.upper()
        self.keyword(clause)

    def keyword(self, word: str) -> None:
        if self.peek() != word:
            raise self.problem()
        self.at += 1

    def mark(self, mark: str) -> None:
        self.keyword(mark)

    def peek(self) -> str:
        return self.tokens[self.at].text.lower() if self.at < len(self.tokens) else ""

    def take(self) -> Token:
        if self.at >= len(self.tokens):
            raise self.problem()
        self.at += 1
        return self.tokens[self.at - 1]

    def problem(self) -> SyntaxProblemError:
        if self.at < len(self.tokens):
            token = self.tokens[self.at]
            return SyntaxProblemError(self.clause, token.text, token.at + 1)
        return SyntaxProblemError(self.clause, "end of query", (self.tokens[-1].at + 1) if self.tokens else 1)

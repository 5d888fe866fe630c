"""COQL's words: a query text becomes tokens that remember where they stood."""

import re
from dataclasses import dataclass

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:\\.|''|[^'\\])*')|(?P<number>-?\d+(?:\.\d+)?)(?![\w.])"
    r"|(?P<word>[A-Za-z_$][\w.$]*)|(?P<mark><=|>=|!=|<>|=|<|>|\(|\)|,|\*))"
)


class SyntaxProblemError(Exception):
    """A text that is not COQL; `clause` and `near` go into Zoho's answer."""

    def __init__(self, clause: str, near: str, column: int) -> None:
        super().__init__(f"{clause} near {near}")
        self.clause, self.near, self.column = clause, near, column


@dataclass(frozen=True, slots=True)
class Token:
    """One word, text, number or mark; `at` is its place in the query."""

    kind: str
    text: str
    at: int


def tokens(text: str) -> list[Token]:
    """Return the words of a query; raise `SyntaxProblemError` at a character that begins none."""
    found, at = list[Token](), 0
    stripped = text.rstrip().removesuffix(";")
    while at < len(stripped.rstrip()):
        match = _TOKEN.match(stripped, at)
        if match is None or match.lastgroup is None:
            raise SyntaxProblemError("SELECT", stripped[at : at + 10].strip(), at + 1)
        found.append(Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
        at = match.end()
    return found

"""Campaigns' XML: each endpoint names its root, its lists and its cells otherwise than its JSON does.

Implements facts `zoho-campaigns` sections 2 and 3; where they are silent (what the rows of lists and of
campaigns are called) the names are ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

XML_ONLY = "xml:"
"""A key with this prefix is an XML matter and never appears in JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How an endpoint's XML differs: its root, its lists by their JSON names, its rows, its cells."""

    root: str = "response"
    lists: Mapping[str, str | None] = field(default_factory=dict)
    row: str = "contact"
    cells: Mapping[str, str] = field(default_factory=dict)


_RECIPIENT = {
    "contactemailaddress": "contact_email",
    "contactfn": "first_name",
    "contactln": "last_name",
    "companyname": "company_name",
    "sentdate": "added_time",
}
_SHAPES = {
    "getmailinglists": Shape(row="list"),
    "getlistsubscribers": Shape(lists={"list_of_details": "result_of_subscribers"}),
    "getsegmentcontacts": Shape(lists={"list_of_details": "segment_contacts"}),
    "recentcampaigns": Shape(row="campaign"),
    "recentsentcampaigns": Shape(
        root="recent-sent-campaigns", lists={"recent_sent_campaigns": None}, row="campaign"
    ),
    "getcampaignrecipientsdata": Shape(lists={"list_of_details": "contacts"}, cells=_RECIPIENT),
}
_SINGULAR = {"reports": "report"}
_CELLED = ("list_details",)
"""Objects whose values stand in `fl` elements, as those of rows do."""


def document(path: str, body: Mapping[str, object]) -> str:
    """Return a body as the XML of the endpoint at `path`; an error has the same root everywhere."""
    shape = _SHAPES.get(path.rpartition("/")[2], Shape())
    root = "response" if body.get("status") == "error" else shape.root
    version = str(body.get("version", "1"))
    inner = "".join(
        _element(shape, key, value) for key, value in body.items() if key not in ("uri", "version")
    )
    return f"<{root} uri={quoteattr(path)} version={quoteattr(version)}>{inner}</{root}>"


def without_xml_keys(value: object) -> object:
    """Return a body as JSON shows it."""
    if isinstance(value, dict):
        return {k: without_xml_keys(v) for k, v in value.items() if not k.startswith(XML_ONLY)}
    return [without_xml_keys(one) for one in value] if isinstance(value, list) else value


def _element(shape: Shape, key: str, value: object) -> str:
    name = key.removeprefix(XML_ONLY)
    if isinstance(value, list):
        rows, tag = "".join(_row(shape, shape.row, row) for row in value), shape.lists.get(name, name)
        return rows if tag is None else f"<{tag}>{rows}</{tag}>"
    if isinstance(value, dict) and name in _CELLED:
        return _row(shape, name, value)
    if isinstance(value, dict):
        return f"<{name}>{''.join(_element(shape, inner, v) for inner, v in value.items())}</{name}>"
    return f"<{name}>{escape(_text(value))}</{name}>"


def _row(shape: Shape, tag: str, row: Mapping[str, object]) -> str:
    inner = "".join(_cell(shape, key.removeprefix(XML_ONLY), cell) for key, cell in row.items())
    return f"<{tag}>{inner}</{tag}>"


def _cell(shape: Shape, name: str, value: object) -> str:
    if isinstance(value, list) and name in _SINGULAR:
        return f"<{name}>{''.join(_row(shape, _SINGULAR[name], one) for one in value)}</{name}>"
    if isinstance(value, dict | list):
        return ""
    return f"<fl val={quoteattr(shape.cells.get(name, name))}>{escape(_text(value))}</fl>"


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)

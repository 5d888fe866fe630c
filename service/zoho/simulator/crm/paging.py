"""Pages by number: which one a call asks for, and how long it is."""

from service.zoho.simulator.crm.gate import read_problem
from service.zoho.simulator.wire import Call
from service.zoho.simulator.world import World

PAGE = 200
"""Rows of a page unless the call asks for fewer; nobody gets more."""


def whole_number(world: World, call: Call, name: str, default: int) -> int:
    """Return a paging parameter, at least 1; `per_page` at most 200."""
    text = call.query.get(name, str(default))
    if not text.isdigit() or int(text) < 1:
        raise read_problem(world, "INVALID_DATA", "invalid data", {"param_name": name})
    if name == "per_page" and int(text) > PAGE:
        raise read_problem(world, "LIMIT_EXCEEDED", "limit exceeded", {"limit": PAGE, "param_name": name})
    return int(text)

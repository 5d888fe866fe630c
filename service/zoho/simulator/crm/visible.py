"""What an admin has left of modules and fields, and what privacy keeps back; the tables hold the rest."""

from collections.abc import Iterable, Mapping
from typing import Any

from service.zoho.simulator import shelf
from service.zoho.simulator.crm.fields import MODULES, Field
from service.zoho.simulator.world import World

RESTRICTED = "restricted"


def modules_of(world: World) -> list[str]:
    """Return the modules that were not removed."""
    return [module for module in MODULES if module not in world.removed]


def fields_of(world: World, module: str) -> dict[str, Field]:
    """Return the fields of a module that were not removed."""
    return {n: field for n, field in MODULES[module].items() if f"{module}.{n}" not in world.removed}


def restricted(world: World, module: str) -> set[str]:
    """Return the fields of a module whose values privacy law keeps out of every answer."""
    kept_back = shelf.get(world.db, RESTRICTED, module) or {"fields": []}
    return set(kept_back["fields"])


def readable(world: World, module: str) -> dict[str, Field]:
    """Return the fields of a module that answers and questions may speak of."""
    secret = restricted(world, module)
    return {name: field for name, field in fields_of(world, module).items() if name not in secret}


def visible(world: World, module: str, names: Iterable[str]) -> list[str]:
    """Return those of `names` that were neither removed nor restricted."""
    secret = restricted(world, module)
    return [name for name in names if f"{module}.{name}" not in world.removed and name not in secret]


def kept(world: World, module: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record without removed fields, which CRM ignores like any name that it does not know."""
    return {name: value for name, value in record.items() if f"{module}.{name}" not in world.removed}


def is_removable(name: str) -> bool:
    """Return whether this is a module, or a field as `Module.Field` that is not its id."""
    module, _, field = name.partition(".")
    return module in MODULES and (not field or (field in MODULES[module] and field != "id"))

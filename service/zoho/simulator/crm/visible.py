"""What an admin has left of modules and fields: the rest is there in the tables and invisible to the API."""

from collections.abc import Iterable, Mapping
from typing import Any

from service.zoho.simulator.crm.fields import MODULES, Field
from service.zoho.simulator.world import World


def modules_of(world: World) -> list[str]:
    """Return the modules that were not removed."""
    return [module for module in MODULES if module not in world.removed]


def fields_of(world: World, module: str) -> dict[str, Field]:
    """Return the fields of a module that were not removed."""
    return {n: field for n, field in MODULES[module].items() if f"{module}.{n}" not in world.removed}


def visible(world: World, module: str, names: Iterable[str]) -> list[str]:
    """Return those of `names` that were not removed."""
    return [name for name in names if f"{module}.{name}" not in world.removed]


def kept(world: World, module: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record without removed fields, which CRM ignores like any name that it does not know."""
    return {name: value for name, value in record.items() if f"{module}.{name}" not in world.removed}


def is_removable(name: str) -> bool:
    """Return whether this is a module, or a field as `Module.Field` that is not its id."""
    module, _, field = name.partition(".")
    return module in MODULES and (not field or (field in MODULES[module] and field != "id"))

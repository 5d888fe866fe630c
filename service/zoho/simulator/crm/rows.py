"""Rows of record tables as CRM's JSON, and the SQL that names their columns."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from sqlite3 import Connection

from service.zoho.simulator.clock import iso
from service.zoho.simulator.crm.fields import MODULES, Kind
from service.zoho.simulator.world import World

Json = dict[str, object]


def table(module: str) -> str:
    """Return the name of a module's table."""
    return f"crm_{module}"


def columns(module: str, wanted: Iterable[str]) -> list[str]:
    """Return those of `wanted` that the module has, `id` first; CRM leaves unknown names out in silence."""
    fields = MODULES[module]
    return list(dict.fromkeys(["id", *(name for name in wanted if name in fields)]))


def select_list(module: str, names: Sequence[str]) -> str:
    """Return the names as SQL columns; a name that CRM works out becomes its expression."""
    return ", ".join(name if MODULES[module][name].stored else _EXPRESSIONS[name] for name in names)


def render(db: Connection, module: str, names: Sequence[str], rows: Iterable[Sequence[object]]) -> list[Json]:
    """Return the rows as record objects whose keys are `names`."""
    users = user_objects(db)
    converters = [_converter(MODULES[module][name].kind, users) for name in names]
    return [
        {name: convert(value) for name, convert, value in zip(names, converters, row, strict=True)}
        for row in rows
    ]


def load(world: World, module: str, record_id: int, names: Sequence[str]) -> Json | None:
    """Return one record with the given fields, None if it does not exist."""
    query = f"SELECT {select_list(module, names)} FROM {table(module)} WHERE id = ?"
    row = world.db.execute(query, (record_id,)).fetchone()
    return None if row is None else render(world.db, module, names, [row])[0]


def converted(world: World, module: str, record_id: int, names: Sequence[str]) -> Json | None:
    """Return a converted lead with the given fields, None if there is none of this number."""
    query = f"SELECT {select_list(module, names)} FROM converted_{module} WHERE id = ?"
    row = world.db.execute(query, (record_id,)).fetchone()
    return None if row is None else {**render(world.db, module, names, [row])[0], "$converted": True}


def user_objects(db: Connection) -> dict[object, Json]:
    """Return every user by number, as CRM shows one inside a record."""
    return {
        number: {"name": name, "id": str(number), "email": email}
        for number, name, email in db.execute("SELECT id, name, email FROM users")
    }


def changed_values(db: Connection, module: str, values: Mapping[str, object]) -> Json:
    """Return stored values as CRM shows them, by field."""
    if not values:
        return {}
    return render(db, module, list(values), [list(values.values())])[0]


_EXPRESSIONS = {"Full_Name": "trim(coalesce(First_Name, '') || ' ' || coalesce(Last_Name, ''))"}


@lru_cache(maxsize=65_536)
def _iso(seconds: int | None) -> str | None:
    return iso(seconds)


def _converter(kind: Kind, users: dict[object, Json]) -> Callable[[object], object]:
    match kind:
        case Kind.ID:
            return str
        case Kind.BOOLEAN:
            return bool
        case Kind.DATETIME:
            return _iso
        case Kind.USER:
            return users.get
        case _:
            return lambda value: value
